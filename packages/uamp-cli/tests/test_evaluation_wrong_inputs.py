"""Whatever is wrong with what `uamp eval` is given: one sentence, exit code 2, nothing half-written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_trees import FRAMES, SIZE, make_davis, make_video, make_youtube
from PIL import Image as Pictures
from uamp_data.masks import write_mask
from uamp_model.catalog import MODELS
from uamp_model.download import checkpoint_path

Run = Callable[..., Any]
Tracked = Any
PROGRESS = ("Tracking", "Scoring", "2 sequences have results")

# One process for all limits: it starts once. A file that would grow beyond the limit ends as on a full disk.
DISK_FULL = """
import resource, sys
from uamp_cli.main import main

sys.dont_write_bytecode = True  # half a file of it would stay
for limit in sys.argv.pop(1).split(","):
    print("limit", limit, file=sys.stderr, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        main()
    except SystemExit as end:
        print("code", end.code, file=sys.stderr, flush=True)
"""


@pytest.fixture
def evaluate(run: Run) -> Run:
    """Run `uamp eval` on the CPU with one process."""

    def invoke(*arguments: object) -> Any:
        return run("eval", *arguments, "--device", "cpu", "--workers", 1)

    return invoke


@pytest.fixture
def davis(tracked: Tracked, tmp_path: Path) -> Path:
    """A data set to be spoilt."""
    return Path(shutil.copytree(tracked.root, tmp_path / "DAVIS"))


@pytest.fixture
def results(tracked: Tracked, tmp_path: Path) -> Path:
    """Its results, to be spoilt."""
    return Path(shutil.copytree(tracked.output, tmp_path / "results"))


def nothing_new(folder: Path) -> bool:
    """Whether a refused run left nothing but what it was given."""
    return not {path.name for path in folder.iterdir()} - {"DAVIS", "results", "cache"}


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]


# --------------------------------------------------------------------------------------- roots and lists


@pytest.mark.parametrize("command", ["davis", "youtube-vos"])
def test_no_such_root(evaluate: Run, tmp_path: Path, command: str) -> None:
    refused = evaluate(command, "--dataset-root", "gone").refused()
    assert refused == "Error: The data set's root gone does not exist: check the path."
    (tmp_path / "file").write_text("no folder")
    assert "file is not a folder" in evaluate(command, "--dataset-root", "file").refused()
    assert "--dataset-root is missing" in evaluate(command).refused()
    assert not (tmp_path / "runs").exists()


def test_root_of_another_layout(evaluate: Run, run: Run, davis: Path, tmp_path: Path) -> None:
    youtube = make_youtube(tmp_path / "YT", truth=False)
    assert "laid out as YouTube-VOS, not as DAVIS" in evaluate("davis", "--dataset-root", youtube).refused()
    assert "laid out as DAVIS, not as YouTube-VOS" in evaluate("youtube-vos", "--dataset-root", davis).refused()
    assert f"but {tmp_path / 'DAVIS'} is" in evaluate("davis", "--dataset-root", tmp_path).refused()
    inside = evaluate("davis", "--dataset-root", davis / "JPEGImages").refused()
    assert f"name {davis}" in inside
    scored = run("eval", "score", "--results", tmp_path, "--dataset-root", youtube).refused()
    assert "laid out as YouTube-VOS" in scored
    assert not (tmp_path / "runs").exists()


def test_lists_and_names(evaluate: Run, davis: Path, tmp_path: Path) -> None:
    arguments = ("davis", "--dataset-root", davis)
    assert "no split 'vla' of DAVIS 2017: choose from val" in evaluate(*arguments, "--split", "vla").refused()
    assert "no lists of DAVIS 2016, only of 2017" in evaluate(*arguments, "--year", 2016).refused()
    assert "There is no DAVIS of 2018" in evaluate(*arguments, "--year", 2018).refused()
    assert "choose from 480p" in evaluate(*arguments, "--resolution", "720p").refused()
    assert "did you mean camel?" in evaluate(*arguments, "--sequences", "dogs,camels").refused()
    assert "--sequences names no sequence" in evaluate(*arguments, "--sequences", " , ").refused()
    listing = davis / "ImageSets" / "2017" / "val.txt"
    listing.write_text("\n")
    assert f"The list {listing} is empty" in evaluate(*arguments).refused()
    listing.write_text("camel\nfox\n")
    assert "JPEGImages/480p/fox does not exist" in evaluate(*arguments).refused()
    assert nothing_new(tmp_path)


def test_youtube_vos_lists_and_names(evaluate: Run, tmp_path: Path) -> None:
    root = make_youtube(tmp_path / "YT", truth=False)
    arguments = ("youtube-vos", "--dataset-root", root, "--output", "out")
    assert "choose from valid" in evaluate(*arguments, "--split", "test").refused()
    assert "did you mean late?" in evaluate(*arguments, "--sequences", "lat").refused()
    assert "leave it out" in evaluate(*arguments, "--json", "s.json").refused()
    (root / "valid" / "Annotations" / "late" / "00003.png").unlink()
    assert "00003.jpg, in which object 2 enters, has no mask" in evaluate(*arguments).refused()
    write_mask(root / "valid" / "Annotations" / "late" / "00003.png", np.zeros(SIZE, np.uint8))
    assert "No mask of late shows its object 2" in evaluate(*arguments).refused()
    (root / "valid" / "meta.json").write_text('{"videos": {')
    assert "meta.json is damaged" in evaluate(*arguments).refused()
    (root / "valid" / "meta.json").write_text('{"videos": {}}')
    assert "lists no video" in evaluate(*arguments).refused()
    assert not (tmp_path / "out").exists()


def test_wrong_folders(evaluate: Run, tmp_path: Path) -> None:
    make_video(tmp_path / "J" / "fox", tmp_path / "A" / "fox", 1)
    (tmp_path / "empty").mkdir()
    folder = ("folder", "--output", "out", "--frames")
    assert "The folder of frames gone does not exist" in evaluate(*folder, "gone", "--annotations", "A").refused()
    assert "The folder of masks gone does not exist" in evaluate(*folder, "J", "--annotations", "gone").refused()
    assert "empty holds no folder of masks" in evaluate(*folder, "J", "--annotations", "empty").refused()
    assert "empty/fox does not exist" in evaluate(*folder, "empty", "--annotations", "A").refused()
    (tmp_path / "A" / "fox" / "00009.png").write_bytes((tmp_path / "A" / "fox" / "00000.png").read_bytes())
    assert "00009.png belongs to no frame" in evaluate(*folder, "J", "--annotations", "A").refused()
    assert not (tmp_path / "out").exists()


def test_a_video_with_too_little_truth_is_named_before_the_work(evaluate: Run, tmp_path: Path) -> None:
    make_video(tmp_path / "J" / "fox", tmp_path / "A" / "fox", 1)
    make_video(tmp_path / "J" / "owl", tmp_path / "A" / "owl", 1, annotated=[0])
    refused = evaluate("folder", "--frames", "J", "--annotations", "A", "--output", "out").refused()
    assert "owl cannot be scored" in refused
    assert "--sequences" in refused
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------- spoilt data sets


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def spoil_size(path: Path) -> None:
    write_mask(path, np.ones((30, 40), np.uint8))


def spoil_depth(path: Path) -> None:
    Pictures.fromarray(np.ones(SIZE, np.uint16)).save(path)


def spoil_colours(path: Path) -> None:
    Pictures.new("RGB", SIZE[::-1], (128, 0, 0)).save(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


SPOILT = [
    (spoil_size, "40×30 pixels but"),
    (spoil_depth, "has 16 bits"),
    (spoil_colours, "has RGB colours"),
    (cut, "is damaged or cut off"),
    (empty, "is empty"),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILT)
def test_spoilt_first_mask(
    evaluate: Run, davis: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path = davis / "Annotations" / "480p" / "dogs" / "00000.png"
    spoil(path)
    refused = evaluate("davis", "--dataset-root", davis).refused()
    assert words in refused
    assert str(path) in refused
    assert nothing_new(tmp_path)


def test_first_mask_without_object(evaluate: Run, davis: Path, tmp_path: Path) -> None:
    write_mask(davis / "Annotations" / "480p" / "camel" / "00000.png", np.zeros(SIZE, np.uint8))
    assert "shows no object" in evaluate("davis", "--dataset-root", davis).refused()
    assert nothing_new(tmp_path)


@pytest.mark.parametrize(("spoil", "words"), SPOILT)
def test_spoilt_truth_is_named_and_the_tracked_masks_are_kept(
    evaluate: Run, davis: Path, results: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path = davis / "Annotations" / "480p" / "dogs" / "00002.png"
    whole = path.read_bytes()
    spoil(path)
    arguments = ("davis", "--dataset-root", davis, "--output", results, "--json", "s.json")
    refused = evaluate(*arguments).refused(after=PROGRESS)
    assert words in refused
    assert str(path) in refused
    assert not (tmp_path / "s.json").exists()
    path.write_bytes(whole)
    outcome = evaluate(*arguments)
    assert outcome.code == 0, outcome
    assert "tracked by an earlier run: 2 of 2 sequences" in outcome.out


def test_missing_and_double_files(evaluate: Run, davis: Path, tmp_path: Path) -> None:
    masks, frames = davis / "Annotations" / "480p" / "camel", davis / "JPEGImages" / "480p" / "camel"
    (masks / "00003.png").rename(tmp_path / "DAVIS" / "kept.png")
    refused = evaluate("davis", "--dataset-root", davis).refused()
    assert "00003.jpg has no mask" in refused
    (tmp_path / "DAVIS" / "kept.png").rename(masks / "00003.png")
    shutil.copy(frames / "00003.jpg", frames / "3.jpg")
    assert "have the same frame number" in evaluate("davis", "--dataset-root", davis).refused()
    (frames / "3.jpg").unlink()
    (frames / "00002.jpg").unlink()
    assert "00002.png belongs to no frame" in evaluate("davis", "--dataset-root", davis).refused()
    assert nothing_new(tmp_path)


def test_damaged_picture_in_the_middle(evaluate: Run, davis: Path, tmp_path: Path) -> None:
    path = davis / "JPEGImages" / "480p" / "dogs" / "00002.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    arguments = ("davis", "--dataset-root", davis, "--output", "out")
    refused = evaluate(*arguments).refused(after=PROGRESS)
    assert str(path) in refused
    assert sorted(found.name for found in (tmp_path / "out" / "uamp").iterdir()) == ["camel", "run.json"]
    path.write_bytes(whole)
    outcome = evaluate(*arguments)
    assert outcome.code == 0, outcome
    assert "tracked by an earlier run: 1 of 2 sequences" in outcome.out


def test_picture_of_another_size_in_the_middle(evaluate: Run, tmp_path: Path) -> None:
    root = make_davis(tmp_path / "DAVIS", {"fox": 1}, split="test-dev", annotated=[0])
    path = root / "JPEGImages" / "480p" / "fox" / "00003.jpg"
    Pictures.new("RGB", (40, 30)).save(path)
    refused = evaluate("davis", "--dataset-root", root, "--split", "test-dev", "--output", "out").refused(
        after=PROGRESS
    )
    assert "00003" in refused
    assert "40×30" in refused
    assert not leftovers(tmp_path / "out")


# ----------------------------------------------------------------------------------------- spoilt results


@pytest.mark.parametrize(("spoil", "words"), [*SPOILT, (Path.unlink, "is missing")])
def test_spoilt_results(
    run: Run, tracked: Tracked, results: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path = results / "uamp" / "dogs" / "00002.png"
    spoil(path)
    arguments = ("eval", "score", "--results", results, "--dataset-root", tracked.root, "--workers", 1)
    refused = run(*arguments, "--json", "s.json", "--report", "r.html").refused(after=PROGRESS)
    assert words in refused
    assert str(path) in refused
    assert not (tmp_path / "s.json").exists()
    assert not (tmp_path / "r.html").exists()


def test_results_that_are_not_there(run: Run, tracked: Tracked, results: Path, tmp_path: Path) -> None:
    score = ("eval", "score", "--dataset-root", tracked.root, "--workers", 1, "--results")
    assert "results folder gone does not exist" in run(*score, "gone").refused()
    shutil.rmtree(results / "uamp" / "dogs")
    assert "has no folder dogs" in run(*score, results).refused(after=PROGRESS)
    write_mask(results / "uamp" / "camel" / "00002.png", np.full(SIZE, 9, np.uint8))
    arguments = (*score, results, "--sequences", "camel")
    refused = run(*arguments).refused(after=PROGRESS)
    assert f"{results / 'uamp' / 'camel' / '00002.png'} holds id 9" in refused
    assert run(*arguments, "--ignore-extra-ids").code == 0
    assert "use davis or youtube-vos" in run(*score, results, "--dataset", "mose").refused()
    assert (
        "There is no option --dataset-rot; did you mean --dataset-root?"
        in run("eval", "score", "--results", results, "--dataset-rot", tracked.root).refused()
    )


def test_masks_that_others_put_there_are_no_earlier_run(
    evaluate: Run, tracked: Tracked, results: Path, tmp_path: Path
) -> None:
    arguments = ("davis", "--dataset-root", tracked.root, "--output", results)
    (results / "uamp" / "run.json").write_text("{")
    refused = evaluate(*arguments).refused()
    assert "no run.json that says which settings" in refused
    (results / "uamp" / "dogs" / "notes.txt").write_text("mine")
    assert "notes.txt is not a result of uamp" in evaluate(*arguments, "--overwrite").refused()
    assert (results / "uamp" / "dogs" / "notes.txt").read_text() == "mine"


# ----------------------------------------------------------------------------------------------- options


def test_wrong_options(evaluate: Run, run: Run, davis: Path, tmp_path: Path) -> None:
    arguments = ("davis", "--dataset-root", davis)
    twice = evaluate(*arguments, "--memory", "uamp", "--memory", "uamp").refused()
    assert twice == "Error: The --memory uamp is given twice: name each setting once."
    for memories in (["sam3"], ["uamp", "samuri"]):
        options = [part for memory in memories for part in ("--memory", memory)]
        refused = evaluate(*arguments, *options).refused()
        assert memories[-1] in refused
        assert "samurai" in refused
    both = evaluate(*arguments, "--memory", "uamp", "--memory", "sam2", "--submission", "x.zip").refused()
    assert "give --memory once with --submission" in both
    assert "leave out --memory" in evaluate(*arguments, "--ablate", "--memory", "sam2").refused()
    assert "leave out --ablate" in evaluate(*arguments, "--ablate", "--submission", "x.zip").refused()
    assert "'nanno': choose one of nano" in evaluate(*arguments, "--model", "nanno").refused()
    assert "gone.pt" in evaluate(*arguments, "--checkpoint", "gone.pt").refused()
    assert "fp8" in evaluate(*arguments, "--precision", "fp8").refused()
    assert "--workers" in run("eval", *arguments, "--workers", 0).refused()
    assert "unexpected extra argument" in evaluate(*arguments, "more").refused()
    assert nothing_new(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_that_is_not_there(run: Run, davis: Path, tmp_path: Path) -> None:
    assert "CUDA" in run("eval", "davis", "--dataset-root", davis, "--device", "cuda").refused()
    assert nothing_new(tmp_path)


def test_outputs_that_cannot_be_written(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    arguments = ("davis", "--dataset-root", tracked.root)
    for output in ("file", "file/inside", "/proc/nowhere"):
        refused = evaluate(*arguments, "--output", output).refused()
        assert output in refused
        assert "choose another --output" in refused
    for option in ("--json", "--submission"):
        assert f"{option} cannot be written" in evaluate(*arguments, option, "file/x.zip").refused()
        assert f"{option} cannot be written" in evaluate(*arguments, option, "/proc/x.zip").refused()
    assert "--json . is a folder" in evaluate(*arguments, "--json", ".").refused()
    assert "--submission sub.txt must end in .zip" in evaluate(*arguments, "--submission", "sub.txt").refused()
    same = evaluate(*arguments, "--output", "out", "--json", "out/results.json").refused()
    assert "--json out/results.json would overwrite" in same
    assert "would overwrite" in evaluate(*arguments, "--json", "x.zip", "--submission", "x.zip").refused()
    assert (tmp_path / "file").read_text() == "no folder"
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("part", ["ImageSets/2017/val.txt", "Annotations/480p/camel/00001.png"])
def test_no_part_of_the_data_is_overwritten(evaluate: Run, run: Run, tracked: Tracked, davis: Path, part: str) -> None:
    mine = davis / part
    before = mine.read_bytes()
    score = ("eval", "score", "--dataset-root", davis, "--results", tracked.output, "--workers", 1)
    for done in (
        evaluate("davis", "--dataset-root", davis, "--json", mine),
        run(*score, "--json", mine),
        run(*score, "--report", mine),
        run("data", "check", davis, "--json", mine),
    ):
        assert f"{mine} would overwrite a part of the data set: write somewhere else" in done.refused()
    assert mine.read_bytes() == before
    assert run(*score, "--json", davis / "scores.json").code == 0
    assert run(*score, "--json", davis / "scores.json").code == 0


def test_no_weights_and_no_results_are_overwritten(evaluate: Run, run: Run, tracked: Tracked, results: Path) -> None:
    weights = results.with_name("weights.json")
    shutil.copy(checkpoint_path(MODELS["nano"]), weights)
    data = ("davis", "--dataset-root", tracked.root, "--output", results)
    assert "would overwrite --checkpoint" in evaluate(*data, "--checkpoint", weights, "--json", weights).refused()
    record, mask = results / "uamp" / "run.json", results / "uamp" / "camel" / "00001.png"
    before = [path.read_bytes() for path in (weights, record, mask)]
    for mine in (record, mask):
        assert "would overwrite a part of" in evaluate(*data, "--json", mine).refused()
    score = ("eval", "score", "--dataset-root", tracked.root, "--results", results, "--workers", 1)
    assert "would overwrite a part of" in run(*score, "--json", record).refused()
    assert [path.read_bytes() for path in (weights, record, mask)] == before


def test_results_take_no_place_of_data(evaluate: Run, davis: Path, results: Path) -> None:
    refused = evaluate("davis", "--dataset-root", davis, "--output", davis).refused()
    assert f"--output {davis} would put results among the data in {davis}: choose another folder" in refused
    masks = results / "uamp"
    before = sorted(masks.rglob("*"))
    given = ("folder", "--frames", davis / "JPEGImages" / "480p", "--output", results, "--overwrite", "--annotations")
    assert "among the data" in evaluate(*given, masks).refused()
    assert "among the data" in evaluate(*given, shutil.copytree(masks, results / "sam2"), "--ablate").refused()
    assert sorted(masks.rglob("*")) == before


def test_weights_that_are_not_here_are_fetched(
    evaluate: Run, tracked: Tracked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = MODELS["sam2.1-hiera-tiny"]
    monkeypatch.setitem(MODELS, spec.name, replace(spec, url=(tmp_path / "no server").as_uri()))
    arguments = ("davis", "--dataset-root", tracked.root, "--model", spec.name)
    assert "Could not reach" in evaluate(*arguments).refused()
    assert "'sam3'" in evaluate(*arguments, "--memory", "sam3").refused(), "which is said before"


def test_layers_that_no_memory_would_use(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    (tmp_path / "layers.safetensors").write_bytes(b"x")
    arguments = ("davis", "--dataset-root", tracked.root, "--uamp-checkpoint")
    assert "no file gone.pth for --uamp-checkpoint: check" in evaluate(*arguments, "gone.pth").refused()
    refused = evaluate(*arguments, "layers.safetensors", "--memory", "sam2", "--memory", "samurai").refused()
    assert "--uamp-checkpoint is a part of memory uamp" in refused


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_of_others(evaluate: Run, tracked: Tracked, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused = evaluate("davis", "--dataset-root", tracked.root, "--output", "locked").refused()
    assert "permission denied" in refused


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_full_disk(davis: Path, run: Run, tmp_path: Path) -> None:
    given = davis / "Annotations" / "480p" / "camel" / "00000.png"
    write_mask(given, np.random.default_rng(0).integers(0, 2, SIZE, dtype=np.uint8))  # which compresses badly
    run("eval", "davis", "--dataset-root", davis, "--output", "whole", "--workers", 1)
    record = (tmp_path / "whole" / "uamp" / "run.json").stat().st_size
    first_mask = (tmp_path / "whole" / "uamp" / "camel" / "00000.png").stat().st_size
    largest = max(path.stat().st_size for path in (tmp_path / "whole" / "uamp").rglob("*"))
    assert record + 100 < first_mask, "a limit must let the record pass and stop a mask"
    limits = {"out/uamp ": 100, "out/uamp/.uamp-": first_mask - 1, "out/re": largest + 20}
    arguments = ("davis", "--dataset-root", davis, "--output", "out", "--json", "s.json", "--workers", 1)
    (tmp_path / "s.json").write_text("an older result")
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, ",".join(map(str, limits.values())), "eval", *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith(PROGRESS)]
    assert [line.split()[0] for line in lines] == ["limit", "Error:", "code"] * 3, done
    assert [line for line in lines if line.startswith("code")] == ["code 2"] * 3, done
    for place, sentence in zip(limits, lines[1::3], strict=True):
        assert place in sentence
    assert (tmp_path / "s.json").read_text() == "an older result"
    assert not leftovers(tmp_path)
    assert len(list((tmp_path / "out" / "uamp").rglob("*.png"))) == 2 * FRAMES
