"""`uamp bench tracker`. Nothing here is about how long anything takes."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from uamp_cli.bench_tracker import (
    ALL_STAGES,
    OURS,
    READ,
    THEIRS,
    WRITE,
    MemoryCurve,
    TrackerBench,
    measure_memory,
    measure_speed,
    slope,
)
from uamp_cli.bench_tracker_command import parse_counts
from uamp_cli.bench_tracker_report import round_ticks
from uamp_model.errors import InputError

Run = Callable[..., Any]


def test_tables_json_and_plot(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_cli.bench_tracker_command._WARM_UP", 1)
    files = ("--json", "bench.json", "--plot", "bench.svg")
    outcome = run(
        "bench",
        "tracker",
        "--objects",
        "1,2",
        "--frames",
        1,
        "--size",
        "64x48",
        "--memory-frames",
        0,
        "--precision",
        "fp32",
        "--image_size",
        128,
        *files,
    )
    assert outcome.code == 0, outcome
    assert "Frames per second" in outcome.out
    assert "There is no CUDA device in use" in outcome.out
    document = json.loads((tmp_path / "bench.json").read_text())
    assert (document["model"], document["precision"], document["memory_budget"]) == ("nano", "float32", 1.0)
    assert (document["image_size"], document["sam2_compiled"]) == (128, None)
    assert "at 128 px" in outcome.out
    assert list(document["speed"]) == ["1", "2"]
    for numbers in document["speed"].values():
        assert set(numbers["frames_per_second"]) == {OURS, THEIRS}
        assert set(numbers["stages_ms"]) == set(ALL_STAGES)
        assert all(numbers["stages_ms"][stage] > 0 for stage in (READ, WRITE))
        assert numbers["mask_iou"][THEIRS] > 0.99
        assert numbers["differing_pixels"][THEIRS] < 0.01
    assert ElementTree.parse(tmp_path / "bench.svg").getroot().tag.endswith("svg")


def test_what_was_measured_before_an_error_is_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_cli.bench_tracker_command._WARM_UP", 0)

    def measure_one(bench: TrackerBench, weights: dict[str, Tensor], count: int, on_frame: Callable[[], None]) -> Any:
        if count > 1:  # as where the package's predictor needs more than there is
            torch.empty(2**50)
        return measure_speed(bench, weights, count, on_frame)

    monkeypatch.setattr("uamp_cli.bench_tracker.measure_speed", measure_one)
    given = ("--objects", "1,2", "--frames", 1, "--size", "64x48", "--memory-frames", 0, "--precision", "fp32")
    outcome = run("bench", "tracker", *given, "--json", "bench.json")
    assert outcome.code == 2
    assert "Error: Memory ran out on cpu: follow fewer objects" in outcome.err
    assert "Frames per second" in outcome.out
    assert list(json.loads((tmp_path / "bench.json").read_text())["speed"]) == ["1"]


@pytest.mark.slow
def test_memory_in_processes_of_their_own(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_cli.bench_tracker_command._WARM_UP", 0)
    outcome = run(
        "bench",
        "tracker",
        "--objects",
        1,
        "--frames",
        1,
        "--size",
        "64x48",
        "--memory-frames",
        "2,4",
        "--json",
        "b.json",
    )
    assert outcome.code == 0, outcome
    memory = json.loads((tmp_path / "b.json").read_text())["memory"]
    for name in (OURS, THEIRS):
        assert list(memory[name]["peak_mib"]) == ["2", "4"]
        assert all(mib > 0 for mib in memory[name]["peak_mib"].values())


class _Fatal:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os._exit, (9,))


def test_a_process_that_is_killed_is_told_of() -> None:
    bench = TrackerBench(model=_Fatal(), objects=(1,), frames=1, warm_up=0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"tracked 40 frames with sam2 was ended .* smaller --memory-frames"):
        measure_memory(bench, THEIRS, 40, 1)


@pytest.mark.parametrize(("option", "name"), [("--checkpoint", "weights.json"), ("--video", "frames/0.png")])
def test_nothing_that_is_read_is_overwritten(run: Run, tmp_path: Path, option: str, name: str) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / name).write_bytes(b"mine")
    given = ("--checkpoint", "weights.json", "--video", "frames", "--json", name)
    assert f"would overwrite {option} " in run("bench", "tracker", *given).refused()
    assert (tmp_path / name).read_bytes() == b"mine"


def test_the_given_video_is_what_is_read(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_cli.bench_tracker_command._WARM_UP", 0)
    for n in range(2):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.full((48, 64, 3), 90 * n, np.uint8))
    given = ("--objects", 1, "--frames", 1, "--memory-frames", 0, "--precision", "fp32")
    outcome = run("bench", "tracker", "--video", tmp_path, *given, "--json", "b.json")
    assert outcome.code == 0, outcome
    stages = json.loads((tmp_path / "b.json").read_text())["speed"]["1"]["stages_ms"]
    assert stages[READ] > 0
    assert stages[WRITE] > 0


def test_growth_is_that_of_peaks() -> None:
    curves = [MemoryCurve(OURS, frames, [50.0, 100.0 + 2 * frames, 60.0]) for frames in (10, 20, 40)]
    assert slope(curves) == pytest.approx(2)
    assert slope(curves[:1]) is None


@pytest.mark.parametrize("text", ["", "1,", "0", "a", "1,-2", "1.5", "9" * 5000])
def test_wrong_counts(text: str) -> None:
    with pytest.raises(InputError, match="must be numbers from 1 on"):
        parse_counts(text, "--objects", least=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--objects", "many"), "--objects many must be numbers"),
        (("--objects", "1000"), "is too many"),
        (("--plot", "a.png"), "must end in .svg"),
        (("--video", "none.mp4"), "does not exist"),
        (("--precision", "fp8"), "Unknown precision"),
        (("--sam2-compile-mode", "most"), "choose max-autotune, reduce-overhead, default"),
        (("--size", "8x8"), "--size 8x8"),
        (("--model", "nanno"), "nano"),
    ],
)
def test_wrong_options(run: Run, options: tuple[str, ...], sentence: str) -> None:
    outcome = run("bench", "tracker", *options)
    assert sentence in outcome.refused()


@pytest.mark.parametrize("command", [("bench", "tracker"), ("demo",), ("eval", "davis", "--dataset-root", ".")])
@pytest.mark.parametrize("spelling", ["--memory-budget", "--memory_budget"])
def test_no_such_memory_budget(run: Run, command: tuple[str, ...], spelling: str) -> None:
    outcome = run(*command, spelling, "0.1")
    assert outcome.code == 2
    assert "--memory-budget" in outcome.err
    assert "0.2" in outcome.err


@pytest.mark.parametrize("most", [0.0031, 0.3, 1, 4, 6.5, 16, 892.5, 2019])
def test_ticks_are_few_and_round(most: float) -> None:
    ticks = round_ticks(most)
    assert 5 <= len(ticks) <= 11
    assert ticks[0] == 0
    assert most - (ticks[1] - ticks[0]) < ticks[-1] <= most
    assert all(len(f"{tick:g}") <= 6 for tick in ticks)


def test_what_is_counted_has_whole_ticks() -> None:
    assert round_ticks(3, whole=True) == [0, 1, 2, 3]
    assert round_ticks(16, whole=True) == round_ticks(16)
