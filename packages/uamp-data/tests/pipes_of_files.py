"""Named pipes through which a file comes once, as from another program."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TypeVar

import pytest

Result = TypeVar("Result")


@contextmanager
def piped(source: Path) -> Iterator[Path]:
    """A named pipe beside a file that gives what the file holds; at the end, who still waits at it is let go."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    pipe = source.with_name(f"pipe{source.suffix}")
    os.mkfifo(pipe)

    def feed() -> None:
        with suppress(BrokenPipeError):
            pipe.write_bytes(source.read_bytes())

    feeder = Thread(target=feed)
    feeder.start()
    try:
        yield pipe
    finally:
        for side in (os.O_RDONLY, os.O_WRONLY):
            with suppress(OSError):
                os.close(os.open(pipe, side | os.O_NONBLOCK))
        pipe.unlink()
        feeder.join()


def in_time(call: Callable[[], Result]) -> Result:
    """What a call returns; TimeoutError if it waits for what does not come."""
    executor = ThreadPoolExecutor(1)
    try:
        return executor.submit(call).result(timeout=30)
    finally:
        executor.shutdown(wait=False)
