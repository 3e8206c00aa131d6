"""Copy and paste: the object is where its mask is, moves as it did, and covers what is behind."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from data_trees import damage_frames, every_frame, make_davis
from uamp_data.augmentation import Augmentation
from uamp_data.errors import DataError
from uamp_data.paste import paste, whole_ids
from uamp_data.training_clips import TrainingClips
from uamp_data.training_sets import open_training_set

Array = npt.NDArray[np.uint8]
PASTE_ALONE = Augmentation(flip=0, crop=0, affine=0, colour=0, grey=0, paste=1)


def backdrop(frames: int = 4, height: int = 60, width: int = 90) -> tuple[Array, Array]:
    """A dark clip whose left half is object 1, in a column of void."""
    masks = np.zeros((frames, height, width), np.uint8)
    masks[:, :, : width // 2] = 1
    masks[:, :, width // 2] = 255
    return np.full((frames, height, width, 3), 10, np.uint8), masks


def mover(frames: int = 4) -> tuple[Array, Array]:
    """A bright 30×20 block on black, object 7, that moves 5 pixels right in a frame."""
    pictures, masks = np.zeros((frames, 100, 100, 3), np.uint8), np.zeros((frames, 100, 100), np.uint8)
    for t in range(frames):
        part = np.s_[t, 40:70, 20 + 5 * t : 40 + 5 * t]
        pictures[part], masks[part] = 250, 7
    return pictures, masks


def centre(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.asarray(np.argwhere(mask).mean(axis=0))


def test_the_pasted_object_is_where_its_mask_is_and_all_else_stays() -> None:
    frames, masks = backdrop()
    seen = 0
    for seed in range(40):
        pictures, ids = paste(frames, masks, *mover(), 7, np.random.default_rng(seed))
        assert pictures.shape == frames.shape
        bright = pictures[..., 1] > 90
        assert (bright ^ (ids == 2)).mean() < 0.02
        assert (ids[ids != 2] == masks[ids != 2]).all()
        assert (frames == 10).all()  # the clip itself is not written to
        assert set(np.unique(masks)) == {0, 1, 255}
        seen += int((ids[0] == 2).any())
    assert seen >= 38


def test_its_size_and_place_vary_and_it_moves_as_it_did() -> None:
    frames, masks = backdrop()
    sides, places, ways = [], [], []
    for seed in range(60):
        ids = paste(frames, masks, *mover(), 7, np.random.default_rng(seed))[1] == 2
        inside = not any(edge.any() for edge in (ids[:, 0], ids[:, -1], ids[:, :, 0], ids[:, :, -1]))
        if inside:
            sides.append(np.sqrt(ids[0].sum()))
            places.append(centre(ids[0]))
            ways.append((centre(ids[3]) - centre(ids[0])) / sides[-1])
    assert len(sides) > 20
    assert min(sides) < 12
    assert max(sides) > 24
    assert np.ptp(places, axis=0).min() > 20
    # 15 pixels to one side, of an object whose side is 24.5; the drift comes on top
    assert np.median(np.abs(ways)[:, 1]) == pytest.approx(15 / 24.5, abs=0.15)
    assert {bool(way[1] > 0) for way in ways} == {True, False}


def test_what_leaves_its_own_clip_is_not_pasted_there() -> None:
    pictures, others = mover()
    others[2:] = 0
    ids = paste(*backdrop(), pictures, others, 7, np.random.default_rng(3))[1]
    assert (ids[:2] == 2).any((1, 2)).all()
    assert not (ids[2:] == 2).any()


def test_objects_that_an_edge_cuts_are_not_whole() -> None:
    masks = np.zeros((3, 40, 40), np.uint8)
    masks[:, 5:10, 5:10], masks[:, 20:30, 20:30], masks[0, 12:18, 12:18] = 1, 2, 3
    masks[2, 39, 25] = 2
    masks[:, 30:35, 5:10] = 255
    assert whole_ids(masks) == [1, 3]


def test_a_clip_gets_an_object_of_another_sequence_and_the_same_arguments_the_same_bytes(tmp_path: Path) -> None:
    tree = make_davis(tmp_path, {"a": every_frame(2), "b": every_frame(1, 2), "c": every_frame(2)}, split="train")
    source, fresh = (TrainingClips(open_training_set("davis", tree), PASTE_ALONE) for _ in range(2))
    found = set()
    for seed in range(20):
        clip, again = (part.clip(0, np.random.default_rng(seed), 3, 64) for part in (source, fresh))
        np.testing.assert_array_equal(clip.frames, again.frames)
        np.testing.assert_array_equal(clip.masks, again.masks)
        found |= set(np.unique(clip.masks).tolist())
    assert found == {0, 1, 2}  # object 1 of b, which its edge cuts, is never taken


def test_a_sequence_alone_and_one_that_cannot_be_read_leave_the_clip_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = make_davis(tmp_path, {"good": every_frame(2), "bad": every_frame(2)}, split="train")
    damage_frames(tree, "bad")
    sequences = open_training_set("davis", tree)
    for source in (TrainingClips(sequences[:1], PASTE_ALONE), TrainingClips(sequences, PASTE_ALONE)):
        with caplog.at_level(logging.WARNING):
            clip = source.clip(0, np.random.default_rng(0), 3, 64)
        assert set(np.unique(clip.masks)) == {0, 2}
        assert clip.name.startswith("good")
    assert "A clip of bad is replaced" in caplog.text
    strict = TrainingClips(sequences, PASTE_ALONE, max_bad_samples=0)
    with pytest.raises(DataError, match=r"the last because of bad \([^()]*\): mend"):
        strict.clip(0, np.random.default_rng(0), 3, 64)
