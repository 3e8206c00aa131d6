"""`uamp demo` that does not get to its end: Ctrl-C and a full disk, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from agreement import assert_agreement
from uamp_cli.tracking import TrackedFrame, track_forwards
from uamp_cli.writers.group import WriterGroup
from uamp_data.reader import open_video
from uamp_model.errors import InputError

Run = Callable[..., Any]
Make = Callable[..., Path]

# Ctrl-C, or another signal, at an exact place: the real one, sent while something is drawn for the N-th time.
INTERRUPTED = """
import os, signal, sys
from uamp_cli import overlay
from uamp_cli.main import main

draw, calls, stop_at, by = overlay.draw_overlay, [], int(sys.argv.pop(1)), signal.Signals[sys.argv.pop(1)]

def draw_and_interrupt(*arguments):
    calls.append(1)
    if len(calls) == stop_at:
        os.kill(os.getpid(), by)
    return draw(*arguments)

overlay.draw_overlay = draw_and_interrupt
main()
"""

DISK_FULL = """
import resource, sys
from uamp_cli.main import main

sys.dont_write_bytecode = True  # half a file of it would stay
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main()
"""


def _run(code: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=250)


@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM"])
def test_ctrl_c_keeps_what_was_written(make_video: Make, checkpoint: Path, tmp_path: Path, by: str) -> None:
    video = make_video(frames=8)
    demo = ("demo", "--input", video, "--checkpoint", checkpoint, "--box", "12,16,32,32", "--device", "cpu")
    more = ("--save-masks", "masks", "--save-cutout", "cutouts", "--coco", "coco.json", "--csv", "table.csv")
    outputs = ("--json", "report.json", "--output", "o.mp4", "--summary", "s.png", "--cutout-video", "c.webm")
    # each frame is drawn for the video and for the summary
    done = _run(INTERRUPTED, 9, by, *demo, *more, *outputs, folder=tmp_path)
    assert done.returncode == 130, done
    assert "Traceback" not in done.stderr
    with open_video(tmp_path / "o.mp4") as written:
        frames = sum(1 for _ in written)
    assert 5 <= frames <= 8  # the frame at hand is finished, and perhaps those that were tracked already
    assert f"Interrupted: {frames} frames were written to o.mp4." in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["frames"], len(report["per_frame"])) == (frames, frames)
    assert_agreement(tmp_path)
    assert (tmp_path / "s.png").is_file()
    assert (tmp_path / "c.webm").is_file()
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]


def test_ctrl_c_before_the_first_frame_leaves_an_older_video(
    run: Run, make_video: Make, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("uamp_cli.demo_run.track_forwards", interrupt)
    (tmp_path / "o.mp4").write_text("an older result")
    arguments = ("--checkpoint", checkpoint, "--box", "12,16,32,32", "--device", "cpu", "--output", "o.mp4")
    more = ("--save-masks", "m", "--coco", "coco.json", "--summary", "s.png")
    outcome = run("demo", "--input", make_video(frames=2), *arguments, *more)
    assert (outcome.code, outcome.err.splitlines()[-1]) == (130, "Interrupted.")
    assert (tmp_path / "o.mp4").read_text() == "an older result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "o.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize(
    ("limit", "more"),
    [
        (0, ()),
        (3000, ("--save-masks", "m", "--save-cutout", "c", "--cutout-video", "c.mov")),
        (3000, ("--coco", "coco.json", "--csv", "t.csv", "--json", "r.json", "--summary", "s.png")),
    ],
)
def test_full_disk(make_video: Make, checkpoint: Path, tmp_path: Path, limit: int, more: tuple[str, ...]) -> None:
    video = make_video(frames=6, height=120, width=160)
    (tmp_path / "o.mp4").write_text("an older result")
    demo = ("demo", "--input", video, "--checkpoint", checkpoint, "--box", "12,16,90,60", "--device", "cpu")
    done = _run(DISK_FULL, limit, *demo, "--output", "o.mp4", *more, folder=tmp_path)
    assert done.returncode == 2, done
    errors = [line for line in done.stderr.splitlines() if not line.startswith("Tracking")]
    assert len(errors) == 1
    assert errors[0].startswith("Error: ")
    assert (tmp_path / "o.mp4").read_text() == "an older result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "o.mp4"]


def test_a_reader_of_standard_output_that_goes_away_costs_no_file(
    make_video: Make, checkpoint: Path, tmp_path: Path
) -> None:
    demo = ("demo", "--input", make_video(frames=1), "--checkpoint", checkpoint, "--box", "12,16,32,32")
    command = [sys.executable, "-m", "uamp_cli", *map(str, demo), "--device", "cpu", "--csv", "-", "--json", "r.json"]
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does when it has read enough
    done = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1, done
    assert "Error" not in done.stderr
    assert json.loads((tmp_path / "r.json").read_text())["frames"] == 1


def test_what_fails_while_tracking_ends_the_run(
    run: Run, make_video: Make, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[str]] = {"tracks": set(), "writes": set()}

    def fail_after_two(*arguments: Any, **options: Any) -> Iterator[TrackedFrame]:
        for frame in islice(track_forwards(*arguments, **options), 2):
            threads["tracks"].add(threading.current_thread().name)
            yield frame
        raise InputError("The cable was pulled: plug it in again.")

    def write(group: WriterGroup, frame: TrackedFrame) -> None:
        threads["writes"].add(threading.current_thread().name)
        add(group, frame)

    add = WriterGroup.add
    monkeypatch.setattr("uamp_cli.demo_run.track_forwards", fail_after_two)
    monkeypatch.setattr(WriterGroup, "add", write)
    (tmp_path / "o.mp4").write_text("an older result")
    arguments = ("--checkpoint", checkpoint, "--box", "12,16,32,32", "--device", "cpu", "--output", "o.mp4")
    outcome = run("demo", "--input", make_video(frames=8), *arguments, "--save-masks", "m", "--csv", "t.csv")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (2, "Error: The cable was pulled: plug it in again.")
    assert threads["writes"] == {threading.current_thread().name}
    assert threads["tracks"].isdisjoint(threads["writes"])
    assert (tmp_path / "o.mp4").read_text() == "an older result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "o.mp4"]
