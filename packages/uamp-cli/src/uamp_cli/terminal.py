"""The two places the command prints to, and its exit codes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def out_console() -> "Console":
    """Results: stdout."""
    from rich.console import Console

    return Console()


def err_console() -> "Console":
    """Progress and errors: stderr."""
    from rich.console import Console

    return Console(stderr=True)
