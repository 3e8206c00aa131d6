"""How far a download is: a bar on a terminal, a few plain lines where there is none."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_LINES = 10


class ByteProgress:
    """Counts the bytes of one phase of the work after another."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._what = ""
        self._first: tuple[float, int] | None = None
        self._next = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, what: str) -> None:
        """Start a phase."""
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._bar.add_task(what, total=None)
        self._what, self._first, self._next = what, None, 0

    def update(self, done: int, total: int | None) -> None:
        """`done` bytes of `total` are there, None if nobody knows how many there will be."""
        self._bar.update(self._bar.task_ids[-1], completed=done, total=total)
        if not self._console.is_terminal:
            self._print_line(done, total)

    def _print_line(self, done: int, total: int | None) -> None:
        """A line at every tenth; where the end is not known, at 16, 32, 64 … MB."""
        now = time.monotonic()
        if self._first is None:
            # what an earlier attempt brought says nothing about the rate
            self._first = now, done
            self._next = (1 << 24) if total is None else done + max(1, (total - done) // _LINES)
        if done < self._next and done != total:
            return
        since, before = self._first
        rate = (done - before) / max(now - since, 1e-9)
        text = f"{self._what}: {_megabytes(done)}"
        if total is None:
            self._next *= 2
        else:
            self._next = done + max(1, total // _LINES)
            text += f" of {_megabytes(total)}"
        if rate > 0:
            text += f", {_megabytes(rate)}/s" + (f", {(total - done) / rate:.0f} s left" if total is not None else "")
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"
