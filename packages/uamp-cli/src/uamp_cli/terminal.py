"""The two places the command prints to, and its exit codes."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130

STDOUT = Path("-")
"""A path that means standard output."""

_WIDE = 200
"""Columns where nobody says how wide the page is: lines in a file or a pipe are better not broken."""

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Whether `--quiet` was given: then nothing but results and errors is printed."""
    global _quiet
    _quiet = quiet


def out_console() -> "Console":
    """Results: stdout."""
    from uamp_cli.printing import NamesConsole

    return _widened(NamesConsole())


def err_console() -> "Console":
    """Progress and remarks: stderr, where it can be written; nothing with `--quiet`. Errors go there in any case."""
    from uamp_cli.printing import NamesConsole, remarks

    return _widened(NamesConsole(file=remarks(), quiet=_quiet))


def report_console(*, stdout_is_taken: bool = False) -> "Console":
    """What a run whose results are files came to: stdout, or stderr if that is taken; nothing with `--quiet`."""
    from uamp_cli.printing import NamesConsole

    return err_console() if stdout_is_taken else _widened(NamesConsole(quiet=_quiet))


def _widened(console: "Console") -> "Console":
    import os

    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _WIDE
    return console
