"""Work on another thread: what comes next is made ready while the caller computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

AHEAD = 4
"""Items that wait by default: enough to bridge a slow frame, few enough for large ones."""
_END = object()
_PATIENCE = 0.1  # seconds between looks at whether the other side has gone


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def read_ahead(items: Iterable[T], *, most: int = AHEAD) -> Generator[T]:
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
        iterator: Iterator[T] | None = None
        try:
            iterator = iter(items)
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
