"""`kill` and Ctrl-C."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from uamp_cli.interrupts import kill_is_ctrl_c

WAITS = """
import signal, sys, time
from uamp_cli.interrupts import kill_is_ctrl_c

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # whatever the tests were started by
if sys.argv[1] == "in the background":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells without job control have it
with kill_is_ctrl_c():
    try:
        print("waiting", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("tidied up")
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


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with kill_is_ctrl_c():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="these signals cannot be sent")
@pytest.mark.parametrize("place", ["in front", "in the background"])
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_what_is_ended_tidies_up(place: str, number: str) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS, place], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        assert ran.stdout.readline() == b"waiting\n"
        ran.send_signal(signal.Signals[number])
        assert ran.communicate(timeout=20) == (b"tidied up\n", b"")
        assert ran.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="these signals cannot be sent")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_impatient_second_one_lets_what_tidies_up_do_so(number: str) -> None:
    tidies = 'print("tidying", flush=True); sys.stdin.readline(); print("tidied up")'
    command = [sys.executable, "-c", WAITS.replace('print("tidied up")', tidies), "in front"]
    pipe = subprocess.PIPE
    # it tidies up until it is given a line, which comes after the second signal
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as ran:
        assert ran.stdout is not None
        for said in (b"waiting\n", b"tidying\n"):
            assert ran.stdout.readline() == said
            ran.send_signal(signal.Signals[number])
        out, error = ran.communicate(b"\n", timeout=20)
        assert (out, ran.returncode) == (b"tidied up\n", 0)
        assert error == b"Finishing what was begun, which takes 15 seconds at most.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_what_is_printed_after_its_terminal_was_closed_is_no_error() -> None:
    ours, theirs = os.openpty()
    program = WAITS.replace('print("tidied up")', 'print("tidied up"); open(sys.argv[2], "w").write("here")')
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told")
        with subprocess.Popen([sys.executable, "-c", program, "in front", told], stdout=theirs, stderr=theirs) as ran:
            written = b""
            while not written.endswith(b"\n"):  # a terminal may give a line in two parts
                written += os.read(ours, 100)
            assert written.strip() == b"waiting"
            os.close(theirs)
            os.close(ours)
            ran.send_signal(signal.SIGHUP)
            assert ran.wait(20) == 0
        assert told.read_text() == "here"
