from __future__ import annotations

import signal
import threading

import pytest
from uamp_data.interrupts import interrupts_deferred


def test_ctrl_c_comes_after_the_block() -> None:
    steps = []

    def work() -> None:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            steps.append("done")
        steps.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_works_without_it() -> None:
    steps = []

    def work() -> None:
        with interrupts_deferred():
            steps.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert steps == ["done"]
