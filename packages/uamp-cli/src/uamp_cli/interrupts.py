"""What ends a command before its time."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kill_is_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, by which `kill`, containers and batch systems end a program, do what Ctrl-C does in the block.

    Whoever handles it otherwise goes on doing so.
    """
    handled = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    # shells without job control have what they start in the background ignore Ctrl-C: `kill` must end that all the same
    ignored = not callable(signal.getsignal(signal.SIGINT))
    if handled or ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
