"""Where a frame's time goes: the tracker's stages, timed only while somebody asks.

with timed_stages(tracker.device) as clock:
    session.step(frame)
clock.seconds  # {"resize": ..., "encode": ..., ...}
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

RESIZE, ENCODE, ATTEND, DECODE, MEMORY, RESULT = "resize", "encode", "attend", "decode", "memory", "result"
STAGES = (RESIZE, ENCODE, ATTEND, DECODE, MEMORY, RESULT)
"""In the order of a frame: its input size, its features, reading memory, masks, writing memory, masks at video size."""


@dataclass(slots=True)
class StageClock:
    """Seconds by stage, summed over calls.

    Attributes:
        device: is waited for at both ends of each stage, so that its work counts for the stage that asked for it.
        time: a clock in seconds that never goes back.
        seconds: by name of the stage.
    """

    device: torch.device
    time: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def now(self) -> float:
        """Seconds, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.time()


_CLOCK: ContextVar[StageClock | None] = ContextVar("stage_clock", default=None)


@contextmanager
def timed_stages(device: torch.device, time_of: Callable[[], float] = time.perf_counter) -> Iterator[StageClock]:
    """Time what trackers do in this thread within the context.

    Args:
        device: what they compute on.
        time_of: a clock in seconds that never goes back.
    """
    clock = StageClock(device, time_of)
    token = _CLOCK.set(clock)
    try:
        yield clock
    finally:
        _CLOCK.reset(token)


def stage(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function as one of the stages; stages do not call each other."""

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            clock = _CLOCK.get()
            if clock is None:
                return function(*args, **kwargs)
            start = clock.now()
            try:
                return function(*args, **kwargs)
            finally:
                clock.seconds[name] += clock.now() - start

        return run

    return mark
