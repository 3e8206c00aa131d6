"""`uamp bench metrics`. Nothing here is about how long anything takes."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uamp_cli import bench_metrics
from uamp_cli.bench_metrics import OURS, REFERENCE, STAGES, VOS_BENCHMARK, contenders, make_masks

Run = Callable[..., Any]
SMALL = ("--size", "64x48", "--frames", "2")


@pytest.fixture
def without_vos_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vos_benchmark", None)
    monkeypatch.setitem(sys.modules, "vos_benchmark.evaluator", None)


@pytest.mark.usefixtures("without_vos_benchmark")
def test_tables_and_json(run: Run, tmp_path: Path) -> None:
    outcome = run("bench", "metrics", *SMALL, "--objects", 1, "--objects", 9, "--json", "bench.json")
    assert outcome.code == 0, outcome
    assert "All give the same J and F, to 1e-09." in outcome.out
    assert outcome.out.count("vos-benchmark is not installed") == 1
    assert "2 frames of 64×48 pixels" in outcome.out
    document = json.loads((tmp_path / "bench.json").read_text())
    assert (document["width"], document["height"], document["frames"], document["radius"]) == (64, 48, 2, 1)
    assert list(document["objects"]) == ["1", "9"]
    for numbers in document["objects"].values():
        assert set(numbers["milliseconds"]) == {OURS, REFERENCE}
        assert set(numbers["stages"]) == set(STAGES)
        assert numbers["times_faster"][REFERENCE] > 0
        assert numbers["differences"] == {REFERENCE: pytest.approx(0, abs=1e-9)}
        assert 0 < numbers["J-Mean"] < 1


@pytest.mark.usefixtures("without_vos_benchmark")
def test_other_scores_exit_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(prediction: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], ids: Sequence[int]) -> Any:
        return np.zeros(len(ids)), np.zeros(len(ids))

    monkeypatch.setattr(bench_metrics, "reference_score_frame", strict)
    outcome = run("bench", "metrics", *SMALL, "--objects", 2)
    assert outcome.code == 1
    assert "Error: the scores differ by up to" in outcome.err


def test_vos_benchmark_agrees() -> None:
    pytest.importorskip("vos_benchmark")
    scores = contenders()
    for prediction, truth in make_masks(3, 2, (60, 90)):
        ids = [1, 2, 3, 7]
        for name in (REFERENCE, VOS_BENCHMARK):
            np.testing.assert_allclose(scores[name](prediction, truth, ids), scores[OURS](prediction, truth, ids))


def test_masks_are_repeatable_and_show_all_ids() -> None:
    first, second = (list(make_masks(10, 3, (96, 128))) for _ in range(2))
    assert len(first) == 3
    np.testing.assert_array_equal(first, second)
    assert set(np.unique(np.array(first))) == set(range(11))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "854"], "--size 854 must be"),
        (["--size", "20x20"], "from 32 pixels"),
        (["--size", "20000x20000"], "from 32 pixels to 8192"),
        (["--json", "-"], "would make a file called -"),
        (["--objects", "0"], "--objects"),
        (["--frames", "0"], "--frames"),
        (["--json", "."], "--json . is a folder"),
    ],
)
def test_wrong_options(run: Run, arguments: list[str], words: str) -> None:
    assert words in run("bench", "metrics", *arguments).refused()
