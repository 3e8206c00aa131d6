"""`uamp eval` from end to end: pictures to masks, scores and files, runs that were stopped, several processes."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_trees import FRAMES, SIZE, make_davis, make_video, make_youtube
from PIL import Image as Pictures
from uamp_data.masks import read_annotation, write_mask
from uamp_model.catalog import find_model
from uamp_model.devices import choose_dtype

Run = Callable[..., Any]
Tracked = Any
FIGURES = ["J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"]

# kill -9 at an exact place: before the N-th mask is written.
KILLED = """
import os, signal, sys
from uamp_cli import evaluation_run
from uamp_cli.main import main

write, calls, stop_at = evaluation_run.write_mask, [], int(sys.argv.pop(1))

def write_or_die(*arguments):
    calls.append(1)
    if len(calls) == stop_at:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*arguments)

evaluation_run.write_mask = write_or_die
main()
"""


@pytest.fixture
def evaluate(run: Run) -> Run:
    """Run `uamp eval` on the CPU with one process."""

    def invoke(*arguments: object) -> Any:
        return run("eval", *arguments, "--device", "cpu", "--workers", 1)

    return invoke


@pytest.fixture
def copied(tracked: Tracked, tmp_path: Path) -> Path:
    """The tracked results, to be changed."""
    return Path(shutil.copytree(tracked.output, tmp_path / "out"))


def scores_of(path: Path, setting: str | None = "uamp") -> dict[str, Any]:
    """The figures of a --json, which do not depend on how often a run was stopped."""
    document = json.loads(path.read_text())
    return {key: (document[setting] if setting else document)[key] for key in ("global", "objects", "sequences")}


def masks_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


# ------------------------------------------------------------------------------------------------ DAVIS


def test_davis_ends_with_a_table(tracked: Tracked) -> None:
    outcome = tracked.outcome
    assert outcome.code == 0, outcome
    assert "2 sequences, 3 objects; percent, mean over objects" in outcome.out
    document = json.loads(tracked.scores.read_text())
    rows = {line.split()[0]: line.split()[1:] for line in outcome.out.splitlines() if line.split()}
    for figure, value in document["uamp"]["global"].items():
        assert float(rows[figure][0]) == pytest.approx(100 * value, abs=0.051)
    assert rows["dogs"][0] == "2"
    for words in ("10 frames at", f"masks of uamp: {tracked.output / 'uamp'}", "report: ", "scores: "):
        assert words in outcome.out
    assert "Tracking: 10 of 10 frames" in outcome.err or "Tracking: 9 of 10 frames" in outcome.err
    assert "Scoring uamp: 2 of 2 sequences" in outcome.err


def test_files_of_a_run(tracked: Tracked) -> None:
    document = json.loads(tracked.scores.read_text())
    assert list(document) == ["uamp"]
    assert list(document["uamp"]["global"]) == FIGURES
    assert list(document["uamp"]["objects"]) == ["camel_1", "dogs_1", "dogs_2"]
    for figures in document["uamp"]["objects"].values():
        assert list(figures) == FIGURES
    for figure in FIGURES[1:]:
        values = [figures[figure] for figures in document["uamp"]["objects"].values()]
        assert document["uamp"]["global"][figure] == pytest.approx(np.mean(values), abs=1e-12)

    everything = json.loads((tracked.output / "results.json").read_text())["uamp"]
    assert everything["global"] == document["uamp"]["global"]
    assert everything["frames"]["dogs_2"]["frames"] == ["00001", "00002", "00003"]
    assert everything["fingerprint"]["model"] == "nano"
    with (tracked.output / "per_sequence.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["sequence"], row["object"]) for row in rows] == [("camel", "1"), ("dogs", "1"), ("dogs", "2")]
    assert [float(row["J-Mean"]) for row in rows] == [
        figures["J-Mean"] for figures in document["uamp"]["objects"].values()
    ]
    assert "dogs" in (tracked.output / "report.html").read_text(encoding="utf-8")

    names = [f"{name}/{frame:05d}.png" for name in ("camel", "dogs") for frame in range(FRAMES)]
    assert list(masks_in(tracked.output / "uamp")) == names
    for name in names:
        with Pictures.open(tracked.output / "uamp" / name) as picture:
            assert (picture.mode, picture.size) == ("P", SIZE[::-1])
    # The mask that was given comes back, within the network's own resolution.
    given = read_annotation(tracked.root / "Annotations" / "480p" / "dogs" / "00000.png")
    assert np.mean(read_annotation(tracked.output / "uamp" / "dogs" / "00000.png") == given) > 0.95


def test_score_of_the_saved_masks_is_the_same(run: Run, tracked: Tracked, tmp_path: Path) -> None:
    for results in (tracked.output, tracked.output / "uamp"):
        outcome = run(
            *("eval", "score", "--results", results, "--dataset_root", tracked.root, "--workers", 1),
            *("--json", "new/s.json", "--report", "r.html"),
        )
        assert outcome.code == 0, outcome
        assert "J&F-Mean" in outcome.out
        assert scores_of(tmp_path / "new" / "s.json", None) == scores_of(tracked.scores)
        assert (tmp_path / "r.html").stat().st_size > 1000


def test_sequences_by_name_in_the_default_folder(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    outcome = evaluate("davis", "--dataset-root", tracked.root, "--sequences", "camel")
    assert outcome.code == 0, outcome
    folder = tmp_path / "runs" / "eval" / "davis-2017-val-nano"
    assert masks_in(folder / "uamp" / "camel") == masks_in(tracked.output / "uamp" / "camel")
    assert sorted(path.name for path in (folder / "uamp").iterdir()) == ["camel", "run.json"]
    assert list(json.loads((folder / "results.json").read_text())["uamp"]["objects"]) == ["camel_1"]


def test_edition_2016_takes_all_ids_as_one_object(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    root = Path(shutil.copytree(tracked.root, tmp_path / "DAVIS"))
    shutil.copytree(root / "ImageSets" / "2017", root / "ImageSets" / "2016")
    outcome = evaluate(
        "davis", "--dataset-root", root, "--year", 2016, "--sequences", "dogs", "--output", "out", "--json", "s.json"
    )
    assert outcome.code == 0, outcome
    assert list(json.loads((tmp_path / "s.json").read_text())["uamp"]["objects"]) == ["dogs_1"]
    assert "1 sequence, 1 object;" in outcome.out


def test_masks_need_not_be_saved(evaluate: Run, tracked: Tracked, copied: Path, tmp_path: Path) -> None:
    (copied / "uamp" / "mine.txt").write_text("not a mask")
    outcome = evaluate(
        *("davis", "--dataset-root", tracked.root, "--output", copied, "--json", "s.json", "--no-save-results")
    )
    assert outcome.code == 0, outcome
    assert scores_of(tmp_path / "s.json") == scores_of(tracked.scores)
    assert "masks of" not in outcome.out
    left = sorted(str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file())
    assert left == ["per_sequence.csv", "report.html", "results.json", "uamp/mine.txt"]


def test_two_settings_side_by_side_are_two_runs(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    both = evaluate(
        *("davis", "--dataset-root", tracked.root, "--output", "both", "--json", "both.json"),
        *("--memory", "uamp", "--memory", "samurai"),
    )
    alone = evaluate(
        "davis", "--dataset-root", tracked.root, "--output", "one", "--json", "one.json", "--memory", "samurai"
    )
    assert (both.code, alone.code) == (0, 0), (both, alone)
    assert list(json.loads((tmp_path / "both.json").read_text())) == ["uamp", "samurai"]
    assert scores_of(tmp_path / "both.json", "uamp") == scores_of(tracked.scores)
    assert scores_of(tmp_path / "both.json", "samurai") == scores_of(tmp_path / "one.json", "samurai")
    assert masks_in(tmp_path / "both" / "uamp") == masks_in(tracked.output / "uamp")
    assert masks_in(tmp_path / "both" / "samurai") == masks_in(tmp_path / "one" / "samurai")
    heading = next(line for line in both.out.splitlines() if "uamp" in line)
    assert heading.split() == ["uamp", "samurai"]
    assert "10 frames at" in both.out


def test_an_ablation_compares_every_part(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    arguments = ("davis", "--dataset-root", tracked.root, "--output", "parts", "--ablate", "--image-size", 224)
    outcome = evaluate(*arguments, "--json", "parts.json")
    assert outcome.code == 0, outcome.err
    document = json.loads((tmp_path / "parts.json").read_text())
    parts = ["+choose", "+select", "+write", "+keep", "+read", "+anchor", "+outline", "+focus"]
    assert list(document) == ["sam2", *parts, "all"]
    alone = (*arguments[:3], "--output", "plain", "--memory", "sam2", "--image-size", 224)
    plain = evaluate(*alone, "--json", "sam2.json")
    assert plain.code == 0, plain.err
    assert scores_of(tmp_path / "parts.json", "sam2") == scores_of(tmp_path / "sam2.json", "sam2")
    assert scores_of(tmp_path / "parts.json", "sam2") != scores_of(tracked.scores)
    assert "frames/s" in outcome.out
    assert all(entry["settings"]["frames_per_second"] > 0 for entry in document.values())
    evaluate(*arguments, "--memory", "uamp", "--memory", "samurai").refused()


def test_a_second_setting_joins_the_first(evaluate: Run, tracked: Tracked, copied: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (copied / "uamp").rglob("*")}
    shutil.rmtree(copied / "uamp" / "dogs")
    outcome = evaluate(
        *("davis", "--dataset-root", tracked.root, "--output", copied, "--json", "s.json"),
        *("--memory", "sam2", "--memory", "uamp"),
    )
    assert outcome.code == 0, outcome
    assert list(json.loads((tmp_path / "s.json").read_text())) == ["sam2", "uamp"]
    assert scores_of(tmp_path / "s.json") == scores_of(tracked.scores)
    kept = {path: path.stat().st_mtime_ns for path in (copied / "uamp" / "camel").iterdir()}
    assert kept.items() <= before.items()


def test_test_split_is_tracked_and_zipped(evaluate: Run, tmp_path: Path) -> None:
    root = make_davis(tmp_path / "DAVIS", {"fox": 2}, split="test-dev", annotated=[0])
    arguments = ("davis", "--dataset-root", root, "--split", "test-dev", "--output", "out")
    assert "leave it out" in evaluate(*arguments, "--json", "s.json").refused()
    assert not (tmp_path / "out").exists()
    outcome = evaluate(*arguments, "--submission", "new/fox.zip", "--no-save-results")
    assert outcome.code == 0, outcome
    assert "nothing was scored" in outcome.out
    assert "submission: new/fox.zip" in outcome.out
    with zipfile.ZipFile(tmp_path / "new" / "fox.zip") as archive:
        assert archive.namelist() == [f"fox/{frame:05d}.png" for frame in range(FRAMES)]
    # there is nothing else of this run, so its masks stay whatever was said
    assert len(masks_in(tmp_path / "out" / "uamp")) == FRAMES


# ------------------------------------------------------------------------------ stopped and changed runs


def test_what_is_missing_is_tracked_again(evaluate: Run, tracked: Tracked, copied: Path, tmp_path: Path) -> None:
    shutil.rmtree(copied / "uamp" / "dogs")
    before = {path: path.stat().st_mtime_ns for path in (copied / "uamp" / "camel").iterdir()}
    outcome = evaluate("davis", "--dataset-root", tracked.root, "--output", copied, "--json", "s.json")
    assert outcome.code == 0, outcome
    assert "1 sequence has results from an earlier run" in outcome.err
    assert "tracked by an earlier run: 1 of 2 sequences" in outcome.out
    assert f"{FRAMES} frames at" in outcome.out
    assert scores_of(tmp_path / "s.json") == scores_of(tracked.scores)
    assert masks_in(copied / "uamp") == masks_in(tracked.output / "uamp")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_killed_run_goes_on(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    arguments = ("davis", "--dataset-root", tracked.root, "--output", tmp_path / "out", "--json", "s.json")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(FRAMES + 3), "eval", *map(str, arguments), "--device", "cpu"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done
    assert len(masks_in(tmp_path / "out" / "uamp" / "camel")) == FRAMES
    assert not (tmp_path / "out" / "uamp" / "dogs").exists()
    outcome = evaluate(*arguments)
    assert outcome.code == 0, outcome
    assert f"{FRAMES} frames at" in outcome.out
    assert scores_of(tmp_path / "s.json") == scores_of(tracked.scores)
    assert sorted(path.name for path in (tmp_path / "out" / "uamp").iterdir()) == ["camel", "dogs", "run.json"]


def test_interrupted_run_goes_on(
    evaluate: Run, tracked: Tracked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def write_and_interrupt(*arguments: Any) -> None:
        calls.append(1)
        write_mask(*arguments)
        if len(calls) == FRAMES + 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("uamp_cli.evaluation_run.write_mask", write_and_interrupt)
    arguments = ("davis", "--dataset-root", tracked.root, "--output", "out", "--json", "s.json")
    outcome = evaluate(*arguments)
    assert outcome.code == 130, outcome
    assert outcome.err.splitlines()[-2:] == [
        "Sequences that are finished stay in out: run the same command to go on.",
        "Interrupted.",
    ]
    assert sorted(path.name for path in (tmp_path / "out" / "uamp").iterdir()) == ["camel", "run.json"]
    assert not (tmp_path / "s.json").exists()
    assert evaluate(*arguments).code == 0
    assert scores_of(tmp_path / "s.json") == scores_of(tracked.scores)


def test_results_of_other_settings_are_refused_and_replaced(
    evaluate: Run, tracked: Tracked, copied: Path, checkpoint: Path, tmp_path: Path
) -> None:
    before = masks_in(copied)
    arguments = ("davis", "--dataset-root", tracked.root, "--output", copied)
    fewer = evaluate(*arguments, "--sequences", "dogs").refused()
    assert "the data (2 sequences then, 1 now)" in fewer
    assert "--overwrite" in fewer
    assert "the weights" in evaluate(*arguments, "--checkpoint", checkpoint).refused()
    assert "the model's input size" in evaluate(*arguments, "--image-size", 256).refused()
    usual = str(choose_dtype("auto", torch.device("cpu"), image_size=find_model("nano").image_size)).removeprefix(
        "torch."
    )
    other, option = ("bfloat16", "bf16") if usual == "float32" else ("float32", "fp32")
    assert f"the precision ({usual} then, {other} now)" in evaluate(*arguments, "--precision", option).refused()
    dark = Path(shutil.copytree(tracked.root, tmp_path / "DAVIS"))
    for path in (dark / "JPEGImages" / "480p" / "dogs").iterdir():
        Pictures.new("RGB", SIZE[::-1]).save(path)
    assert "the data (dogs)" in evaluate("davis", "--dataset-root", dark, "--output", copied).refused()
    assert masks_in(copied) == before
    outcome = evaluate("davis", "--dataset-root", dark, "--output", copied, "--overwrite")
    assert outcome.code == 0, outcome
    after = masks_in(copied / "uamp")
    assert masks_in(copied / "uamp" / "dogs") != masks_in(tracked.output / "uamp" / "dogs")
    assert list(after) == list(masks_in(tracked.output / "uamp"))


# ------------------------------------------------------------------------------------------ YouTube-VOS

LISTED = ["late/00000", "late/00003", "late/00006", "wide/00001", "wide/00004"]


def test_youtube_vos_submission(evaluate: Run, tmp_path: Path) -> None:
    root = make_youtube(tmp_path / "data", truth=False)
    masks = root / "valid" / "Annotations" / "late"
    shutil.copy(masks / "00000.png", masks / "00001.png")  # of a frame that is not listed, so no truth to score by
    outcome = evaluate("youtube-vos", "--dataset_root", root, "--output", "out", "--submission", "nano.zip")
    assert outcome.code == 0, outcome
    assert "12 frames at" in outcome.out
    assert "nothing was scored" in outcome.out
    shown: dict[str, set[int]] = {}
    with zipfile.ZipFile(tmp_path / "nano.zip") as archive:
        assert archive.namelist() == [f"Annotations/{name}.png" for name in LISTED]
        for name in LISTED:
            with archive.open(f"Annotations/{name}.png") as file, Pictures.open(file) as picture:
                assert picture.mode == "P"
                assert picture.size == (SIZE[::-1] if name.startswith("late") else (80, 40))
                shown[name] = set(np.unique(np.asarray(picture)).tolist()) - {0}
    assert shown["late/00000"] == {1}
    assert 2 in shown["late/00003"]
    assert shown["late/00003"] | shown["late/00006"] <= {1, 2}
    assert shown["wide/00001"] == {1}
    assert set(masks_in(tmp_path / "out" / "uamp")) == {f"{name}.png" for name in LISTED}


def test_youtube_vos_scores_where_truth_is_at_hand(evaluate: Run, run: Run, tmp_path: Path) -> None:
    root = make_youtube(tmp_path / "data", truth=True)
    outcome = evaluate("youtube-vos", "--dataset-root", root, "--output", "out", "--json", "s.json")
    assert outcome.code == 0, outcome
    document = json.loads((tmp_path / "s.json").read_text())["uamp"]
    frames = json.loads((tmp_path / "out" / "results.json").read_text())["uamp"]["frames"]
    assert {name: value["frames"] for name, value in frames.items()} == {
        "late_1": ["00003", "00006"],
        "late_2": ["00006"],
        "wide_1": ["00004"],
    }
    objects = document["objects"]
    unseen = {m: (objects["late_2"][f"{m}-Mean"] + objects["wide_1"][f"{m}-Mean"]) / 2 for m in "JF"}
    parts = document["youtube_vos"]
    assert (parts["J-Seen"], parts["F-Seen"]) == (objects["late_1"]["J-Mean"], objects["late_1"]["F-Mean"])
    assert (parts["J-Unseen"], parts["F-Unseen"]) == pytest.approx((unseen["J"], unseen["F"]), abs=1e-12)
    total = sum(objects["late_1"][f"{m}-Mean"] + unseen[m] for m in "JF")
    assert parts["G"] == pytest.approx(total / 4, abs=1e-12)
    assert f"{100 * parts['G']:.1f}" in next(line for line in outcome.out.splitlines() if line.startswith("G "))
    again = run(
        *("eval", "score", "--dataset", "youtube-vos", "--results", "out", "--dataset-root", root, "--workers", 1),
        *("--json", "again.json"),
    )
    assert again.code == 0, again
    assert scores_of(tmp_path / "again.json", None) == scores_of(tmp_path / "s.json")
    assert json.loads((tmp_path / "again.json").read_text())["youtube_vos"] == parts


# ---------------------------------------------------------------------------------------------- folders


def test_folder_with_first_masks_alone_is_tracked(evaluate: Run, tmp_path: Path) -> None:
    make_video(tmp_path / "J" / "fox", tmp_path / "A" / "fox", 2, annotated=[0])
    arguments = ("folder", "--frames", "J", "--annotations", "A", "--output", "out")
    outcome = evaluate(*arguments, "--submission", "mose.zip")
    assert outcome.code == 0, outcome
    assert "there is no truth beyond the masks given, so nothing was scored" in outcome.out
    assert f"masks of uamp: {Path('out') / 'uamp'}" in outcome.out
    assert len(masks_in(tmp_path / "out" / "uamp" / "fox")) == FRAMES
    assert not (tmp_path / "out" / "results.json").exists()
    with zipfile.ZipFile(tmp_path / "mose.zip") as archive:
        assert archive.namelist() == [f"fox/{frame:05d}.png" for frame in range(FRAMES)]


def test_folder_with_truth_is_scored_by_either_rule(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    make_video(tmp_path / "J" / "fox", tmp_path / "A" / "fox", 3)
    arguments = ("folder", "--frames", "J", "--annotations", "A", "--json", "s.json")
    outcome = evaluate(*arguments, "--output", "first")
    assert outcome.code == 0, outcome
    assert list(json.loads((tmp_path / "s.json").read_text())["uamp"]["objects"]) == ["fox_1", "fox_2"]
    outcome = evaluate(*arguments, "--output", "late", "--late-objects")
    assert outcome.code == 0, outcome
    assert list(json.loads((tmp_path / "s.json").read_text())["uamp"]["objects"]) == ["fox_1", "fox_2", "fox_3"]
    frames = json.loads((tmp_path / "late" / "results.json").read_text())["uamp"]["frames"]
    assert frames["fox_1"]["frames"] == ["00001", "00002", "00003", "00004"]
    assert frames["fox_3"]["frames"] == ["00003", "00004"]
    assert 3 in read_annotation(tmp_path / "late" / "uamp" / "fox" / "00002.png")
    refused = evaluate(*arguments, "--output", "late").refused()
    assert "the protocol (folder, late objects then, folder now)" in refused


def test_folder_tree_of_a_benchmark_gives_its_scores(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    outcome = evaluate(
        *("folder", "--frames", tracked.root / "JPEGImages" / "480p", "--json", "s.json", "--output", "out"),
        *("--annotations", tracked.root / "Annotations" / "480p"),
    )
    assert outcome.code == 0, outcome
    assert scores_of(tmp_path / "s.json") == scores_of(tracked.scores)


# ------------------------------------------------------------------------------------ several processes


@pytest.mark.slow
def test_two_processes_do_what_one_does(tracked: Tracked, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
        *("--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "--local_addr", "localhost"),
        *("-m", "uamp_cli", "eval", "davis", "--dataset-root", str(tracked.root), "--device", "cpu", "--workers", "1"),
        *("--output", "out", "--json", "s.json"),
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done
    assert "10 frames at" in done.stdout
    assert "by 2 processes" in done.stdout
    assert done.stdout.count("J&F-Mean") == 2  # the heading of each table
    assert scores_of(tmp_path / "s.json") == scores_of(tracked.scores)
    assert masks_in(tmp_path / "out" / "uamp") == masks_in(tracked.output / "uamp")
