from __future__ import annotations

from pathlib import Path

import pytest
from data_trees import save_frame, save_mask
from uamp_data import DataError, FolderDataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten frames, every other one from the third on with a mask; a second video has one mask."""
    for name in ("long", "short"):
        for index in range(1, 11):
            save_frame(tmp_path / "JPEGImages" / name / f"{index:08d}.jpg")
    for index, ids in ((3, (2,)), (5, (2,)), (7, (1, 2)), (9, (1,))):
        save_mask(tmp_path / "Annotations" / "long" / f"{index:08d}.png", ids)
    save_mask(tmp_path / "Annotations" / "short" / "00000001.png", (1, 2))
    return tmp_path


def test_objects_of_the_first_mask_or_each_where_it_appears(root: Path) -> None:
    long, short = FolderDataset(root / "JPEGImages", root / "Annotations")
    assert long.prompts == {2: (2,)}
    assert long.annotated == (2, 4, 6, 8)
    assert long.listed == tuple(range(10))
    assert short.prompts == {0: (1, 2)}
    (late,) = FolderDataset(root / "JPEGImages", root / "Annotations", ["long"], late_objects=True)
    assert late.prompts == {2: (2,), 6: (1,)}


def test_a_single_video_needs_no_folders(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (only,) = FolderDataset(root / "JPEGImages" / "long", root / "Annotations" / "long")
    assert only.name == "long"
    assert only.annotated == (2, 4, 6, 8)
    monkeypatch.chdir(root / "JPEGImages" / "long")
    assert [sequence.name for sequence in FolderDataset(".", root / "Annotations" / "long")] == ["long"]


def test_videos_without_masks_are_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_frame(root / "JPEGImages" / "more" / "00000.jpg")
    assert [sequence.name for sequence in FolderDataset(root / "JPEGImages", root / "Annotations")] == ["long", "short"]
    assert "the first is more" in caplog.text


def test_masks_without_objects_are_refused(root: Path) -> None:
    save_mask(root / "Annotations/short/00000001.png", ())
    for late in (False, True):
        (sequence,) = FolderDataset(root / "JPEGImages", root / "Annotations", ["short"], late_objects=late)
        with pytest.raises(DataError, match="object"):
            _ = sequence.prompts


def test_folders_must_match(root: Path) -> None:
    frames, masks = root / "JPEGImages", root / "Annotations"
    cases = [
        (frames / "none", masks, "does not exist"),
        (frames, masks / "long" / "00000003.png", "is not a folder"),
        (root, root, "name "),
        (frames, masks / "long", "no folder of masks"),
    ]
    for one, two, words in cases:
        with pytest.raises(DataError, match=words):
            FolderDataset(one, two)
    save_mask(masks / "long" / "00000011.png", (1,))
    with pytest.raises(DataError, match="belongs to no frame"):
        FolderDataset(frames, masks)
    (masks / "extra").mkdir()
    with pytest.raises(DataError, match="extra"):
        FolderDataset(frames, masks, ["extra"])
