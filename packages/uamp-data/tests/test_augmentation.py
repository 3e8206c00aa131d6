"""What augmentation promises: squares as the tracker makes them, frames and masks alike, the object kept, void void."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from uamp_data.augmentation import NO_AUGMENTATION, Augmentation, _crop_window, augment, visible_ids

Array = npt.NDArray[np.uint8]
OFF = {"flip": 0.0, "crop": 0.0, "affine": 0.0, "colour": 0.0, "grey": 0.0}


def clip(frames: int = 3, height: int = 60, width: int = 90) -> tuple[Array, Array]:
    """Grey noise with a red 20×14 block that moves right, in a ring of void."""
    pictures = np.random.default_rng(0).integers(60, 90, (frames, height, width, 1), np.uint8).repeat(3, axis=3)
    masks = np.zeros((frames, height, width), np.uint8)
    for t in range(frames):
        left = 30 + 3 * t
        masks[t, 18:42, left - 2 : left + 16] = 255
        masks[t, 20:40, left : left + 14] = 1
        pictures[t, 20:40, left : left + 14] = (220, 20, 20)
    return pictures, masks


def red(frames: Array) -> npt.NDArray[np.bool_]:
    return (frames[..., 0].astype(int) - frames[..., 1] > 100).astype(np.bool_)


def iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_without_changes_a_clip_is_resized_as_the_tracker_resizes_its_frames() -> None:
    frames, masks = clip()
    out, ids = augment(frames, masks, NO_AUGMENTATION, np.random.default_rng(0), 48)
    for t, frame in enumerate(frames):
        wanted = np.asarray(Image.fromarray(frame).resize((48, 48), Image.Resampling.BICUBIC))
        assert np.abs(out[t].astype(int) - wanted).max() <= 1
    assert out.shape == (3, 48, 48, 3)
    assert set(np.unique(ids)) == {0, 1, 255}


@pytest.mark.parametrize("change", ["flip", "crop", "affine"])
def test_masks_move_with_their_frames(change: str) -> None:
    frames, masks = clip()
    for seed in range(10):
        out, ids = augment(frames, masks, Augmentation(**{**OFF, change: 1}), np.random.default_rng(seed), 128)
        assert iou(red(out), ids == 1) > 0.85


def test_a_crop_keeps_an_object_of_the_first_frame_whole_and_is_no_mere_copy() -> None:
    frames, masks = clip()
    sizes = set()
    for seed in range(20):
        _, ids = augment(frames, masks, Augmentation(**{**OFF, "crop": 1}), np.random.default_rng(seed), 90)
        rows, columns = (np.flatnonzero((ids[0] == 1).any(axis)) for axis in (1, 0))
        assert (ids[0] == 1).sum() == len(rows) * len(columns)  # still a block: none of its edges is cut off
        assert len(columns) >= 14
        sizes.add((len(rows), len(columns)))
    assert len(sizes) > 5


def two_objects(other: int) -> tuple[Array, Array]:
    """A 100×100 object and, in the opposite corner, a square one of `other` pixels a side."""
    masks = np.zeros((1, 480, 854), np.uint8)
    masks[0, 20:120, 20:120] = 1
    masks[0, 460 - other : 460, 830 - other : 830] = 2
    return np.zeros((1, 480, 854, 3), np.uint8), masks


def test_a_crop_shows_an_object_even_beside_one_that_is_too_small() -> None:
    frames, masks = two_objects(1)
    for seed in range(100):
        _, ids = augment(frames, masks, Augmentation(**{**OFF, "crop": 1}), np.random.default_rng(seed), 128)
        assert ids[0].any()


def test_a_crop_holds_one_of_several_objects_whole() -> None:
    _, masks = two_objects(90)
    held = set()
    for seed in range(50):
        top, left, height, width = _crop_window(masks[0], np.random.default_rng(seed))
        part = masks[0, top : top + height, left : left + width]
        whole = {number for number in (1, 2) if (part == number).sum() == (masks[0] == number).sum()}
        assert whole
        held |= whole
    assert held == {1, 2}


def test_all_frames_are_changed_alike() -> None:
    frames, masks = clip(1)
    still, still_masks = frames.repeat(4, axis=0), masks.repeat(4, axis=0)
    for seed in range(5):
        out, ids = augment(still, still_masks, Augmentation(1.0, 1.0, 1.0, 1.0, 0.5), np.random.default_rng(seed), 64)
        assert (out == out[0]).all()
        assert (ids == ids[0]).all()


def test_colour_leaves_shapes_and_grey_leaves_no_colour() -> None:
    frames, masks = clip()
    plain, ids = augment(frames, masks, NO_AUGMENTATION, np.random.default_rng(3), 64)
    coloured, same = augment(frames, masks, Augmentation(**{**OFF, "colour": 1}), np.random.default_rng(3), 64)
    grey, _ = augment(frames, masks, Augmentation(**{**OFF, "grey": 1}), np.random.default_rng(3), 64)
    assert (same == ids).all()
    assert (coloured != plain).mean() > 0.5
    assert (grey[..., 0] == grey[..., 2]).all()
    assert np.abs(grey[..., 0].astype(int) - plain @ [0.299, 0.587, 0.114]).max() < 2


def test_same_chance_same_bytes_and_other_chance_others() -> None:
    frames, masks = clip()
    first, again, other = (augment(frames, masks, Augmentation(), np.random.default_rng(s), 64) for s in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()


def test_the_number_of_threads_changes_nothing() -> None:
    frames, masks = clip(4, 120, 200)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = [augment(frames, masks, Augmentation(1, 1, 1, 1, 0), np.random.default_rng(s), 160) for s in range(3)]
        torch.set_num_threads(4)
        four = [augment(frames, masks, Augmentation(1, 1, 1, 1, 0), np.random.default_rng(s), 160) for s in range(3)]
    finally:
        torch.set_num_threads(before)
    assert all((a == b).all() for x, y in zip(one, four, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_an_object_is_never_moved_out_of_the_first_frame(side: int) -> None:
    frames, masks = clip(2)
    masks[:] = 0
    masks[0, 0:side, 0:side] = 4  # in a corner, from where turning would take it
    for seed in range(30):
        _, ids = augment(frames, masks, Augmentation(**{**OFF, "affine": 1}), np.random.default_rng(seed), 64)
        assert visible_ids(ids[0], 0).tolist() == [4]
