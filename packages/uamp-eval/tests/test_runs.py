"""Whole runs with the bundled model: what is written, what is kept, and what a killed run leaves."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tiny_videos import MANY, TinyVideo, contents, read_mask, write_mask
from uamp_eval.calibration import CALIBRATION
from uamp_eval.distributed import Alone
from uamp_eval.results_store import RECORD
from uamp_eval.runs import run_benchmark
from uamp_eval.scoring import ScoringRule
from uamp_eval.sequences import Ids, Image
from uamp_model import InputError, VideoTracker, load_tracker

pytestmark = pytest.mark.usefixtures("one_thread")
SCRIPT = Path(__file__).with_name("run_tiny.py")


@pytest.fixture(scope="module")
def tracker() -> VideoTracker:
    return load_tracker("nano", memory="sam2", device="cpu", precision="fp32")


class Diary:
    """A progress display that remembers."""

    def __init__(self) -> None:
        self.pages: list[tuple[object, ...]] = []
        self.frames = 0
        self.steps = 0

    def run_started(self, frames: int, steps: int, kept: int) -> None:
        self.pages.append(("run", frames, steps, kept))

    def sequence_started(self, name: str, frames: int) -> None:
        self.pages.append(("start", name, frames))

    def step_done(self) -> None:
        self.steps += 1

    def frame_done(self) -> None:
        self.frames += 1

    def sequence_finished(self, name: str) -> None:
        self.pages.append(("end", name, self.frames))


def test_a_rehearsal_tells_its_steps_and_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[Alone] = []
    monkeypatch.setattr(Alone, "beat", lambda team: beats.append(team))
    small = load_tracker("nano", device="cpu", precision="fp32", image_size=64)
    trackers = {"uamp": small, "taught": small.with_memory("taught", replace(small.settings, rehearse=3))}
    diary, video = Diary(), TinyVideo("a", length=4)
    run_benchmark(trackers, [video], tmp_path, write=write_mask, protocol="tiny", progress=diary)
    assert diary.pages[0] == ("run", 4, 3, 0)
    assert (diary.frames, diary.steps) == (4, 3)
    # For reading the video, once at first, before and for each frame seen before and each step, for each frame.
    assert len(beats) == 1 + 1 + 5 + 4 + 4


def test_listed_frames_are_written_for_every_setting_and_progress_is_told(
    tracker: VideoTracker, tmp_path: Path
) -> None:
    videos = (TinyVideo("a", length=7, listed_every=3, enters={1: 1}, size=(30, 44)), TinyVideo("b", length=2))
    trackers, diary = {"sam2": tracker, "twin": tracker.with_memory("sam2")}, Diary()
    summary = run_benchmark(trackers, videos, tmp_path, write=write_mask, protocol="tiny", progress=diary)
    frames = ["a/00000.png", "a/00001.png", "a/00003.png", "a/00006.png", "b/00000.png", "b/00001.png"]
    assert list(contents(tmp_path)) == [f"{m}/{f}" for m in ("sam2", "twin") for f in (*frames, RECORD)]
    assert read_mask(tmp_path / "sam2/a/00003.png").shape == (30, 44)
    assert not read_mask(tmp_path / "sam2/a/00000.png").any()
    assert np.unique(read_mask(tmp_path / "twin/a/00001.png")).tolist() == [0, 1]
    assert diary.pages == [("run", 9, 0, 0), ("start", "a", 7), ("end", "a", 7), ("start", "b", 2), ("end", "b", 9)]
    assert (summary.sequences, summary.kept, summary.frames, summary.processes) == (2, 0, 9, 1)
    assert summary.folders == {"sam2": tmp_path / "sam2", "twin": tmp_path / "twin"}
    assert summary.frames_per_second > 0


def test_whole_sequences_are_kept_and_others_done_again(tracker: VideoTracker, tmp_path: Path) -> None:
    trackers = {"sam2": tracker, "twin": tracker.with_memory("sam2")}
    run_benchmark(trackers, MANY, tmp_path, write=write_mask, protocol="tiny")
    before = contents(tmp_path)
    kept = (tmp_path / "sam2/bear/00000.png").stat().st_mtime_ns
    (tmp_path / "twin/cows/00002.png").unlink()
    again = []

    def write(path: Path, ids: Ids) -> None:
        again.append(path.name)
        write_mask(path, ids)

    summary = run_benchmark(trackers, MANY, tmp_path, write=write, protocol="tiny")
    assert (summary.sequences, summary.kept, summary.frames) == (1, 2, 6)
    assert len(again) == 6  # one setting lacked the sequence
    assert (tmp_path / "sam2/bear/00000.png").stat().st_mtime_ns == kept
    assert contents(tmp_path) == before
    nothing = run_benchmark(trackers, MANY, tmp_path, write=write, protocol="tiny")
    assert (nothing.sequences, nothing.kept, nothing.frames) == (0, 3, 0)


def test_a_killed_run_goes_on_and_ends_with_the_same_files(tracker: VideoTracker, tmp_path: Path) -> None:
    # cows has 6 frames and is done first, then dogs with 5: the third mask of dogs is the ninth
    killed = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "--kill-at", "9"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = tmp_path / "many" / "sam2"
    hidden, *whole = sorted(path.name for path in left.iterdir())
    assert re.fullmatch(r"\.uamp-\w+\.part", hidden)
    assert whole == ["cows", RECORD]
    assert len(list((left / "cows").iterdir())) == 6
    summary = run_benchmark({"sam2": tracker}, MANY, tmp_path / "many", write=write_mask, protocol="tiny")
    assert (summary.sequences, summary.kept) == (2, 1)
    run_benchmark({"sam2": tracker}, MANY, tmp_path / "whole", write=write_mask, protocol="tiny")
    assert contents(tmp_path / "many") == contents(tmp_path / "whole")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("The disk is full: free some space.")])
def test_an_interrupt_or_a_full_disk_leaves_whole_sequences_only(
    tracker: VideoTracker, tmp_path: Path, error: BaseException
) -> None:
    written = 0

    def write(path: Path, ids: Ids) -> None:
        nonlocal written
        written += 1
        if written == 8:
            raise error
        write_mask(path, ids)

    with pytest.raises(type(error)) as caught:
        run_benchmark({"sam2": tracker}, MANY, tmp_path, write=write, protocol="tiny")
    assert caught.value is error
    assert sorted(path.name for path in (tmp_path / "sam2").iterdir()) == ["cows", RECORD]


def test_results_of_another_run_are_not_taken_for_ones_own(tracker: VideoTracker, tmp_path: Path) -> None:
    run_benchmark({"sam2": tracker}, MANY[:1], tmp_path, write=write_mask, protocol="tiny")
    with pytest.raises(InputError, match=r"the data \(1 sequence then, 2 now\): choose another --output"):
        run_benchmark({"sam2": tracker}, MANY[:2], tmp_path, write=write_mask, protocol="tiny")
    with pytest.raises(InputError, match=r"the protocol \(tiny then, other now\)"):
        run_benchmark({"sam2": tracker}, MANY[:1], tmp_path, write=write_mask, protocol="other")
    summary = run_benchmark({"sam2": tracker}, MANY[:1], tmp_path, write=write_mask, protocol="other", overwrite=True)
    assert (summary.sequences, summary.kept) == (1, 0)


def test_a_refused_run_leaves_no_record(tracker: VideoTracker, tmp_path: Path) -> None:
    both = {"twin": tracker.with_memory("sam2"), "sam2": tracker}
    run_benchmark({"sam2": tracker}, MANY[:1], tmp_path, write=write_mask, protocol="tiny")
    with pytest.raises(InputError, match=r"sam2 were made with other settings"):
        run_benchmark(both, MANY[:1], tmp_path, write=write_mask, protocol="other")
    assert [path.name for path in tmp_path.iterdir()] == ["sam2"]
    assert run_benchmark(both, MANY[:1], tmp_path, write=write_mask, protocol="tiny").sequences == 1


def test_a_run_that_ended_in_its_first_video_stands_in_nobodys_way(tracker: VideoTracker, tmp_path: Path) -> None:
    def fail(path: Path, ids: Ids) -> None:
        raise InputError("The picture is damaged.")

    with pytest.raises(InputError, match="damaged"):
        run_benchmark({"sam2": tracker}, MANY[:1], tmp_path, write=fail, protocol="tiny")
    summary = run_benchmark({"sam2": tracker}, MANY[:1], tmp_path, write=write_mask, protocol="other")
    assert (summary.sequences, summary.kept) == (1, 0)


@dataclass(frozen=True)
class Relabelled(TinyVideo):
    """A video whose annotations after the first lie elsewhere."""

    by: int = 0

    def annotation(self, frame: int) -> Ids:
        return np.roll(super().annotation(frame), self.by if frame else 0, 1)

    def image(self, frame: int) -> Image:
        return TinyVideo(self.name, self.length).image(frame)


def test_doubt_is_measured_against_the_present_truth(
    tracker: VideoTracker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    trackers = {"sam2": tracker, "twin": tracker.with_memory("sam2")}

    def run(output: str, by: int, calibrate: ScoringRule | None = ScoringRule.DAVIS) -> int:
        videos, place = (Relabelled("bear", by=by), TinyVideo("cows")), tmp_path / output
        done = run_benchmark(trackers, videos, place, write=write_mask, protocol="tiny", calibrate=calibrate)
        return done.sequences

    run("out", 0)
    before = contents(tmp_path / "out")
    assert (run("out", 5, calibrate=None), contents(tmp_path / "out")) == (0, before)
    assert not caplog.text
    assert run("out", 5) == 1
    assert "The doubt kept of bear was not measured against the present annotations: tracking again." in caplog.text
    run("fresh", 5)
    assert before != contents(tmp_path / "out") == contents(tmp_path / "fresh")
    caplog.clear()
    assert (run("out", 5), caplog.text) == (0, "")

    measured = tmp_path / "out" / "twin" / "cows" / CALIBRATION  # of a version that did not tell against what
    document = json.loads(measured.read_text())
    measured.write_text(json.dumps({key: value for key, value in document.items() if key != "truth"}))
    assert run("out", 5) == 1
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_video_without_a_frame_that_counts_is_tracked_once(tracker: VideoTracker, tmp_path: Path) -> None:
    video, rule = TinyVideo("late", length=2, enters={1: 1}), ScoringRule.YOUTUBE_VOS
    for expected in (1, 0):
        done = run_benchmark({"sam2": tracker}, [video], tmp_path, write=write_mask, protocol="tiny", calibrate=rule)
        assert done.sequences == expected


@pytest.mark.parametrize(
    ("videos", "sentence"),
    [
        ((), "no sequence to run"),
        ((MANY[0], TinyVideo("bear", length=2)), "bear is named twice"),
        ((TinyVideo("none", length=0),), "none has no frames"),
        *(((TinyVideo(name),), "cannot be the name") for name in ("../up", "", ".", "..", "a/b", "/a", "a\0b")),
        ((TinyVideo("v", enters={}),), "v has no object to track"),
    ],
)
def test_lists_that_cannot_be_run_are_refused_before_anything_is_written(
    tracker: VideoTracker, tmp_path: Path, videos: tuple[TinyVideo, ...], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        run_benchmark({"sam2": tracker}, videos, tmp_path / "out", write=write_mask, protocol="tiny")
    assert not (tmp_path / "out").exists()
