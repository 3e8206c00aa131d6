"""`kill` and Ctrl-C."""

import signal
import subprocess
import sys
import threading

import pytest
from uamp_cli.interrupts import kill_is_ctrl_c

WAITS = """
import signal, sys, time
from uamp_cli.interrupts import kill_is_ctrl_c

if sys.argv[1] == "in the background":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells without job control have it
with kill_is_ctrl_c():
    print("waiting", flush=True)
    time.sleep(60)
"""


def test_kill_is_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), kill_is_ctrl_c():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_whoever_handles_it_goes_on_doing_so() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with kill_is_ctrl_c():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_outside_the_main_thread_nothing_changes() -> None:
    seen: list[object] = []

    def look() -> None:
        with kill_is_ctrl_c():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to send")
@pytest.mark.parametrize(("place", "ended_by"), [("in front", signal.SIGINT), ("in the background", signal.SIGTERM)])
def test_what_ignores_ctrl_c_is_killed(place: str, ended_by: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS, place], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        assert ran.stdout.readline() == b"waiting\n"
        ran.terminate()
        assert ran.wait(20) == -ended_by
