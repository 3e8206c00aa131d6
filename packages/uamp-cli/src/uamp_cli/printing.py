"""Consoles that names do not steer, and remarks that end no work."""

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

    def write(self, text: str) -> int:
        stream = _standard_error()
        if stream is not None:
            with suppress(OSError, ValueError):  # ValueError of one that is closed
                stream.write(text)
        return len(text)

    def flush(self) -> None:
        stream = _standard_error()
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()

    def isatty(self) -> bool:
        stream = _standard_error()
        return stream is not None and stream.isatty()


def _standard_error() -> IO[str] | None:
    """The one at present, and not what a bar puts in its place, which would print on the bar's console."""
    return cast("IO[str] | None", getattr(sys.stderr, "rich_proxied_file", sys.stderr))
