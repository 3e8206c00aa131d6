"""`uamp data synth`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
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
