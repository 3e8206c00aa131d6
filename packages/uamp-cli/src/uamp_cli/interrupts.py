"""What ends a command before its time."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def kill_is_ctrl_c() -> Iterator[None]:
    """Let what ends a program do in the block what Ctrl-C does.

    SIGTERM comes from `kill`, containers and batch systems, SIGHUP from a terminal that is closed. Whoever handles or
    ignores one of them otherwise, as `nohup` does, goes on doing so.
    """
    ours = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [place for place in (1, 2) if os.isatty(place)]
    ended = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        if number != signal.SIGTERM:
            _leave(terminals)
        signal.raise_signal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if ended:
            signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # as shells without job control have it for what they start in the background
        signal.signal(signal.SIGINT, interrupt)
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if before is signal.SIG_IGN:
            signal.signal(signal.SIGINT, before)


def _leave(terminals: list[int]) -> None:
    """Print nothing more to terminals that are gone: that would be an error in the midst of tidying up."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for place in terminals:
        os.dup2(nowhere, place)
    os.close(nowhere)
