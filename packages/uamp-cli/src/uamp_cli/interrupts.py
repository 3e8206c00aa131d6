"""Ctrl-C and the signals that end a command early."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_TIDYING = 20.0
"""Seconds after a Ctrl-C in which a further one is ignored: longer than a stream that does not answer is waited for."""
_PATIENCE = b"Finishing what was begun, which takes 15 seconds at most.\n"


@contextmanager
def kill_is_ctrl_c() -> Iterator[None]:
    """Within the block, let SIGTERM and SIGHUP do what Ctrl-C does, and let a second Ctrl-C do nothing.

    SIGTERM comes from `kill`, containers and batch systems, SIGHUP from a terminal that is closed. One that is handled
    or ignored already, as under `nohup`, stays so. A second Ctrl-C, which would break off the tidying up after the
    first, is answered by a request for patience.
    """
    ours = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [place for place in (1, 2) if os.isatty(place)]
    before = signal.getsignal(signal.SIGINT)
    ended, interrupted = False, -_TIDYING

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        if number != signal.SIGTERM:
            _leave(terminals)
        signal.raise_signal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if before is signal.SIG_IGN and not ended:
            return  # as shells without job control have it for what they start in the background
        if time.monotonic() - interrupted < _TIDYING:
            with suppress(OSError):  # nobody may be there to read it
                os.write(2, _PATIENCE)
            return
        interrupted = time.monotonic()
        signal.default_int_handler(number, frame)

    usual = before in (signal.SIG_IGN, signal.default_int_handler)
    if usual:
        signal.signal(signal.SIGINT, interrupt)
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if usual:
            signal.signal(signal.SIGINT, before)


def _leave(terminals: list[int]) -> None:
    """Print nothing more to terminals that are gone: that would be an error in the midst of tidying up."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for place in terminals:
        os.dup2(nowhere, place)
    os.close(nowhere)
