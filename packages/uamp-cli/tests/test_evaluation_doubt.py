"""`uamp eval` says whether doubt tells where masks are wrong: in its files, in its page, and after a stop."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_trees import make_youtube
from uamp_data.masks import read_annotation, write_mask
from uamp_eval.calibration import read_calibration

Run = Callable[..., Any]
Tracked = Any
SOURCES = ["uncertainty", "entropy", "1 - score"]


def calibration_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "results.json").read_text())["uamp"]["calibration"]
    return found


def test_a_run_measures_doubt(tracked: Tracked) -> None:
    found = calibration_of(tracked.output)
    assert list(found) == [*SOURCES, "whole_frame", "wrong", "sequences"]
    for figures in (*(found[source] for source in SOURCES), *found["whole_frame"].values()):
        assert list(figures) == ["AUROC", "AUPRC", "ECE"]
        assert all(0 <= figure <= 1 for figure in figures.values())
    assert 0 < found["wrong"]["frame"] < found["wrong"]["edge"] < 1
    assert found["sequences"] == 2
    assert json.loads(tracked.scores.read_text())["uamp"]["calibration"] == found
    page = (tracked.output / "report.html").read_text(encoding="utf-8")
    assert f"ECE {found['uncertainty']['ECE']:.3f}" in page
    assert f"{found['entropy']['AUROC']:.3f}" in page


def test_a_run_that_goes_on_measures_the_same(run: Run, tracked: Tracked, tmp_path: Path) -> None:
    output = Path(shutil.copytree(tracked.output, tmp_path / "out"))
    shutil.rmtree(output / "uamp" / "camel")
    (output / "results.json").unlink()
    common = ("eval", "davis", "--dataset-root", tracked.root, "--device", "cpu", "--workers", 1, "--output", output)
    assert run(*common).code == 0
    assert calibration_of(output) == calibration_of(tracked.output)
    assert run(*common, "--no-save-results").code == 0  # nothing is tracked again
    assert calibration_of(output) == calibration_of(tracked.output)
    assert sorted(path.name for path in output.iterdir()) == ["per_sequence.csv", "report.html", "results.json"]


def test_a_truth_that_changed_is_measured_anew(run: Run, tracked: Tracked, tmp_path: Path) -> None:
    output = Path(shutil.copytree(tracked.output, tmp_path / "out"))
    root = Path(shutil.copytree(tracked.root, tmp_path / "DAVIS"))
    for path in sorted((root / "Annotations" / "480p" / "camel").iterdir())[1:]:
        write_mask(path, np.roll(read_annotation(path), 9, axis=1))
    common = ("eval", "davis", "--dataset-root", root, "--device", "cpu", "--workers", 1)
    outcome = run(*common, "--output", output)
    assert outcome.code == 0
    assert "tracked by an earlier run: 1 of 2 sequences" in outcome.out
    assert calibration_of(output)["wrong"]["edge"] > calibration_of(tracked.output)["wrong"]["edge"]
    assert run(*common, "--output", tmp_path / "fresh").code == 0
    assert calibration_of(output) == calibration_of(tmp_path / "fresh")


def test_masks_alone_say_nothing_of_doubt(run: Run, tracked: Tracked, tmp_path: Path) -> None:
    scores, page = tmp_path / "s.json", tmp_path / "r.html"
    common = ("eval", "score", "--results", tracked.output, "--dataset-root", tracked.root, "--workers", 1)
    assert run(*common, "--json", scores, "--report", page).code == 0
    assert "calibration" not in json.loads(scores.read_text())
    assert 'id="calibration"' not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("truth", [True, False])
def test_youtube_vos_measures_doubt_where_it_has_the_truth(run: Run, tmp_path: Path, truth: bool) -> None:
    root, output = make_youtube(tmp_path / "YouTubeVOS", truth=truth), tmp_path / "out"
    done = run(
        *("eval", "youtube-vos", "--dataset-root", root, "--device", "cpu", "--workers", 1),
        *("--output", output, "--submission", tmp_path / "s.zip"),
    )
    assert done.code == 0, done
    assert (tmp_path / "s.zip").exists()
    if truth:
        assert calibration_of(output)["sequences"] == 2
    else:
        assert read_calibration(output / "uamp", ["late", "wide"]) is None
        assert not list(output.rglob("calibration.json"))
