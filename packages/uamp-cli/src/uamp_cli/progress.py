"""How far the work is: a bar on a terminal, a few plain lines where there is none."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class FrameProgress(Protocol):
    """Counts frames of one phase of the work after another."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, what: str, total: int | None, unit: str = "frames") -> None:
        """Start a phase of `total` frames or other things, None if nobody knows how many."""

    def advance(self) -> None:
        """One more frame is done."""


def frame_progress(console: Console) -> FrameProgress:
    """The progress display that suits the console."""
    return BarProgress(console) if console.is_terminal else LineProgress(console)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {task.fields['unit']}/s")


class BarProgress:
    """A bar with frames, frames per second and time left."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int | None, unit: str = "frames") -> None:
        """Start a phase of `total` frames or other things, None if nobody knows how many."""
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._bar.add_task(what, total=total, unit=unit)

    def advance(self) -> None:
        """One more frame is done."""
        self._bar.advance(self._bar.task_ids[-1])


class LineProgress:
    """A line at every quarter; where the end is not known, at 100, 200, 400 … frames."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._what = ""
        self._unit = "frames"
        self._total: int | None = None
        self._done = 0
        self._next = 0
        self._started = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def begin(self, what: str, total: int | None, unit: str = "frames") -> None:
        """Start a phase of `total` frames or other things, None if nobody knows how many."""
        self._what, self._total, self._unit = what, total, unit
        self._done, self._started = 0, time.monotonic()
        self._next = 100 if total is None else max(1, -(-total // 4))

    def advance(self) -> None:
        """One more frame is done."""
        self._done += 1
        if self._done < self._next:
            return
        rate = self._done / max(time.monotonic() - self._started, 1e-9)
        if self._total is None:
            self._next *= 2
            text = f"{self._what}: {self._done} {self._unit}, {rate:.1f} {self._unit}/s"
        else:
            self._next += max(1, -(-self._total // 4))
            left = max(self._total - self._done, 0) / rate
            done = f"{self._done} of {self._total} {self._unit}"
            text = f"{self._what}: {done}, {rate:.1f} {self._unit}/s, {left:.0f} s left"
        self._console.print(text, highlight=False, soft_wrap=True)
