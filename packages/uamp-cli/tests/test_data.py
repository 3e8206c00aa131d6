"""`uamp data synth`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from uamp_data import synthetic
from uamp_data.masks import read_mask

Run = Callable[..., Any]

SMALL = ("--clips", 2, "--frames", 3, "--size", "64x48", "--objects", 2)


def test_synth_writes_a_davis_like_tree(run: Run, tmp_path: Path) -> None:
    outcome = run("data", "synth", "tree", *SMALL, "--seed", 5)
    assert outcome.code == 0, outcome
    names = (tmp_path / "tree" / "ImageSets" / "2017" / "val.txt").read_text().split()
    assert len(names) == 2
    for name in names:
        masks = sorted((tmp_path / "tree" / "Annotations" / "480p" / name).iterdir())
        pictures = sorted((tmp_path / "tree" / "JPEGImages" / "480p" / name).iterdir())
        assert [path.name for path in masks] == ["00000.png", "00001.png", "00002.png"]
        assert [path.stem for path in pictures] == [path.stem for path in masks]
        with Image.open(pictures[0]) as picture:
            assert picture.size == (64, 48)
        assert {1, 2} & set(np.unique(read_mask(masks[0])))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "64"], "--size 64"),
        (["--size", "8x8"], "from 32 pixels"),
        (["--family", "occlusions"], "did you mean occlusion?"),
        (["--clips", "0"], "--clips"),
    ],
)
def test_wrong_options(run: Run, arguments: list[str], words: str) -> None:
    assert words in run("data", "synth", "tree", *arguments).refused()


def test_a_folder_with_something_in_it_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    assert "not empty" in run("data", "synth", tmp_path, *SMALL).refused()
    assert "note.txt" in run("data", "synth", tmp_path / "note.txt", *SMALL).refused()


@pytest.mark.parametrize("there_before", [False, True])
def test_ctrl_c_leaves_nothing_and_the_same_command_works_then(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_before: bool
) -> None:
    tree = tmp_path / "deep" / "tree"
    if there_before:
        tree.mkdir(parents=True)
    make = synthetic.generate_clip

    def interrupted(seed: int, **settings: Any) -> synthetic.SyntheticClip:
        if seed == 1:
            raise KeyboardInterrupt
        return make(seed, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "generate_clip", interrupted)
        assert run("data", "synth", tree, *SMALL).code == 130
    assert sorted(tmp_path.rglob("*")) == ([tree.parent, tree] if there_before else [])
    assert run("data", "synth", tree, *SMALL).code == 0
    assert sorted(path.name for path in tree.iterdir()) == ["Annotations", "ImageSets", "JPEGImages"]
    assert run("data", "check", tree).code == 0


def test_check_of_a_generated_tree(run: Run, tmp_path: Path) -> None:
    assert run("data", "synth", "tree", *SMALL).code == 0
    outcome = run("data", "check", "tree", "--json", "report.json")
    assert outcome.code == 0, outcome
    assert outcome.out.splitlines() == ["tree (DAVIS): 2 videos, 6 frames, 6 masks, no problems."]
    assert json.loads((tmp_path / "report.json").read_text())["problems"] == []


def test_check_lists_problems_each_on_a_line(run: Run, tmp_path: Path) -> None:
    run("data", "synth", "tree", *SMALL)
    (tmp_path / "tree" / "ImageSets" / "2017" / "val.txt").write_text("[bold]\x1b[31mgone\n")
    for path in sorted((tmp_path / "tree" / "Annotations").rglob("00001.png")):
        path.write_bytes(path.read_bytes()[:-5])
    outcome = run("data", "check", "tree", "--json", "report.json")
    assert outcome.code == 2
    header, *lines, summary = outcome.out.splitlines()
    assert header.split() == ["path", "problem", "what", "to", "do"]
    assert r"[bold]\x1b[31mgone" in lines[0]
    assert "\x1b" not in outcome.out
    assert [line for line in lines if "00001.png" in line and "is damaged or cut off" in line] == lines[1:]
    assert summary == "tree (DAVIS): 2 videos, 6 frames, 6 masks, 3 problems."
    report = json.loads((tmp_path / "report.json").read_text())
    assert [problem["what_to_do"] for problem in report["problems"][1:]] == ["replace it", "replace it"]


def test_check_of_what_is_no_data_set(run: Run, tmp_path: Path) -> None:
    assert "does not exist" in run("data", "check", "nothing").refused()
    assert "no data set" in run("data", "check", tmp_path).refused()
    assert "--json" in run("data", "check", tmp_path, "--json", tmp_path).refused()
