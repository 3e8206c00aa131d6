"""Names do not steer the terminal, and remarks that nobody can read end no work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from uamp_cli.terminal import err_console, out_console

SYNTH = ("data", "synth", "T", "--clips", "4", "--frames", "2", "--size", "160x120")


def synth(folder: Path, stderr: int) -> "subprocess.Popen[str]":
    """Make a small tree in a process that prints its progress there."""
    command = [sys.executable, "-m", "uamp_cli", *SYNTH]
    environment = {**os.environ, "TERM": "xterm"}
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)


def is_made(process: "subprocess.Popen[str]", folder: Path) -> bool:
    out, _ = process.communicate(timeout=100)
    assert (process.returncode, out) == (0, "4 clips of 2 frames: T\n")
    return len(list((folder / "T" / "JPEGImages" / "480p").iterdir())) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_progress_on_a_full_disk(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full, synth(tmp_path, full.fileno()) as process:
        assert is_made(process, tmp_path)


def test_progress_that_nobody_reads(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with synth(tmp_path, writer) as process:
        os.close(writer)
        assert is_made(process, tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_a_bar_on_a_terminal_that_goes_away(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with synth(tmp_path, theirs) as process:
        os.close(theirs)
        assert os.read(ours, 1)
        os.close(ours)
        assert is_made(process, tmp_path)


def test_closed_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    console = err_console()
    console.print("a remark")
    assert not console.is_terminal


def test_control_characters_are_seen(capsys: pytest.CaptureFixture[str]) -> None:
    out_console().print("bell\a\x1b[31mred", "[bold]x[/bold]\n\ty", highlight=False)
    err_console().print("\x9b2J[bold]", markup=False, highlight=False)
    assert capsys.readouterr() == ("bell\\x07\\x1b[31mred x\n        y\n", "\\x9b2J[bold]\n")
