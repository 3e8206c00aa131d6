"""Work that takes long, on a thread of its own: it can be watched and cancelled."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from uamp_data.errors import DataError
from uamp_model.errors import UampError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Cancelled(Exception):
    """The work was given up because somebody wished so."""


@dataclass
class Job:
    """One piece of work.

    Attributes:
        what: what is being done now, as people read it: "Tracking".
        total: how many frames that is.
        done: how many are.
        frame: the frame that was finished last, None before the first.
        error: one sentence, once it has failed.
        note: one sentence worth knowing although it succeeded.
        is_cancelled: whether it was given up.
        is_finished: whether it is over, one way or another.
        is_told: whether people were told what it came to.
    """

    what: str
    total: int = 0
    done: int = 0
    frame: int | None = None
    error: str | None = None
    note: str | None = None
    is_cancelled: bool = False
    is_finished: bool = False
    is_told: bool = False
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _news: threading.Condition = field(default_factory=threading.Condition, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    def start(self, work: "Callable[[Job], None]") -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"uamp {self.what}", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask for an end; it comes with the next frame."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end."""
        if self._thread is not None:
            self._thread.join(timeout)

    def wait(self, seen: int, timeout: float) -> None:
        """Wait until more than `seen` frames are done, or all is over, or `timeout` seconds have passed."""
        with self._news:
            self._news.wait_for(lambda: self.is_finished or self.done > seen, timeout)

    def begin(self, what: str, total: int) -> None:
        """Start a phase of the work."""
        with self._news:
            self.what, self.total, self.done = what, total, 0

    def advance(self, frame: int | None = None) -> None:
        """One more frame is done."""
        with self._news:
            self.done += 1
            self.frame = self.frame if frame is None else frame
            self._news.notify_all()

    def check(self) -> None:
        """Raise Cancelled if the work is to end."""
        if self._stop.is_set():
            raise Cancelled

    def watched(self, things: Iterable[T]) -> Iterator[T]:
        """The same things, as long as nobody cancels."""
        for thing in things:
            self.check()
            yield thing

    def _run(self, work: "Callable[[Job], None]") -> None:
        try:
            self.check()
            work(self)
        except Cancelled:
            self.is_cancelled = True
        except Exception as error:  # nobody else would ever hear of it
            self.error = sentence(error)
        finally:
            with self._news:
                self.is_finished = True
                self._news.notify_all()


def sentence(error: Exception) -> str:
    """What went wrong, as people read it; the traceback of what nobody expected goes to the log."""
    if isinstance(error, UampError | DataError):
        return " ".join(str(error).split())
    logger.error("unexpected error", exc_info=error)
    text = " ".join(str(error).split())[:200]
    return f"Something unexpected went wrong ({type(error).__name__}: {text}): the terminal shows more."
