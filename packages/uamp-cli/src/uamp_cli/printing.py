"""A console that names of files cannot steer, and a standard error that cannot end the work."""

import sys
from contextlib import suppress
from typing import IO, Any, cast

from rich.console import Console
from uamp_eval.visible import visible


class NamesConsole(Console):
    """Prints control characters in text so that they are seen: the text may hold names of files, which can be anything.

    What tables hold goes through `visible` before.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """As in the base class."""
        super().print(*(visible(o, keep="\n\t") if isinstance(o, str) else o for o in objects), **options)


def remarks() -> IO[str]:
    """Standard error, for progress and remarks."""
    return cast("IO[str]", _Remarks())


class _Remarks:
    """Standard error. What cannot be written, to a full disk or to whoever went away, is left out: work goes on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_standard_error(), name)  # isatty, fileno, encoding

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError, AttributeError):  # a full disk, one that is closed, none
            _standard_error().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            _standard_error().flush()


def _standard_error() -> Any:
    """The present one; not the proxy that a progress bar puts in its place, which would print on the bar's console."""
    return getattr(sys.stderr, "rich_proxied_file", sys.stderr)
