"""Work on another thread: what comes next is made ready, and what is done is put away, while the caller computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

AHEAD = 4
"""Items that wait by default: enough to bridge a slow frame, few enough for large ones."""
_END = object()
_PATIENCE = 0.1  # seconds between looks at whether the other side has gone


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def read_ahead(items: Iterable[T], *, most: int = AHEAD) -> Iterator[T]:
    """Iterate over `items` on another thread, at most `most` ahead.

    Order and number stay as they are. What `items` raises is raised here once all before it was given out. When this
    iterator is closed early, so is that of `items`, on its thread.
    """
    if most < 1:
        raise ValueError("at least one item must be read ahead")
    ready: queue.Queue[object] = queue.Queue(most)
    stopped = threading.Event()

    def give(item: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=_PATIENCE)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not give(item):
                    break
            give(_END)
        except BaseException as error:
            give(_Failure(error))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=run, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if item is _END:
                return
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()


class WriteBehind(Generic[T]):
    """Hands items to a function on another thread, in order, while the caller goes on.

    Use it as a context manager. Leaving it waits for what is not done yet; after an error in the block the rest is left
    undone. What the function raises is raised by the next `put`, or on leaving.
    """

    def __init__(self, write: Callable[[T], None], *, most: int = AHEAD) -> None:
        self._write = write
        self._waiting: queue.Queue[object] = queue.Queue(most)
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="write-behind", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stopped.set()
        self._give(_END)
        self._thread.join()
        if kind is None:
            self._raise()

    def put(self, item: T) -> None:
        """Add an item; waits while too many are.

        Raises:
            What the function raised for an earlier item.
        """
        self._give(item)
        self._raise()

    def _give(self, item: object) -> None:
        while self._thread.is_alive():
            try:
                self._waiting.put(item, timeout=_PATIENCE)
                return
            except queue.Full:
                continue

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (item := self._waiting.get()) is not _END:
                if self._stopped.is_set():
                    return
                self._write(item)  # type: ignore[arg-type]
        except BaseException as error:
            self._error = error
