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
    from rich.console import Console

    return _widened(Console())


def err_console() -> "Console":
    """Progress and remarks: stderr; nothing with `--quiet`. Errors go there in any case."""
    from rich.console import Console

    return _widened(Console(stderr=True, quiet=_quiet))


def report_console(*, stdout_is_taken: bool = False) -> "Console":
    """What a run whose results are files came to: stdout, or stderr if that is taken; nothing with `--quiet`."""
    from rich.console import Console

    return _widened(Console(stderr=stdout_is_taken, quiet=_quiet))


def _widened(console: "Console") -> "Console":
    import os

    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _WIDE
    return console
