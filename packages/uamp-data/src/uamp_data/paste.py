"""Objects of one clip put into another: copy and paste (Ghiasi et al., CVPR 2021). Shapes: T frames, H×W pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.augmentation import Array, jitter, recolour, visible_ids

_SMALLEST, _LARGEST = 0.12, 0.5
"""Side of the pasted object, as the root of its box's area, against the picture's shorter side."""
_LARGEST_SCALE = 2.0
"""Enlarged further, a pasted object would be recognisable by its blur."""
_DRIFT = 0.01
"""Standard deviation of its motion beside its own, in shorter sides a frame."""
_MARGIN = 2


def whole_ids(masks: Array) -> list[int]:
    """Objects of the first of T×H×W masks that no frame shows cut by the picture's edge."""
    edges = (masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1])
    cut = {int(found) for edge in edges for found in np.unique(edge)}
    return [int(found) for found in visible_ids(masks[0]) if int(found) not in cut]


def paste(
    frames: Array, masks: Array, others: Array, other_masks: Array, object_id: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Put an object of another clip in front of all that a clip shows.

    It moves as it did, and drifts a little; its size, place and colours are drawn.

    Args:
        frames: T×H×W×3, RGB.
        masks: T×H×W object ids, 0 background, 255 void; at most 253 objects.
        others: T×h×w×3, the other clip.
        other_masks: T×h×w.
        object_id: Which object of it, in view in its first frame.
        rng: The only source of chance.

    Returns:
        The clip anew, T×H×W×3 and T×H×W. The pasted object has the lowest id that is free.
    """
    height, width = masks.shape[1:]
    side = min(height, width)
    found = other_masks == object_id
    top, bottom, left, right = _box(found[0])
    wanted = side * np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST)))
    scale = min(wanted / np.sqrt((bottom - top) * (right - left)), _LARGEST_SCALE)
    start = rng.uniform(0.1, 0.9, 2) * (height, width) - scale * np.array([top + bottom, left + right]) / 2
    drift = rng.normal(0, _DRIFT * side, 2)
    flip, colours = rng.random() < 0.5, jitter(rng)

    frames, masks = frames.copy(), masks.copy()
    new_id = _free_id(masks)
    for t in range(len(masks)):
        if not found[t].any():
            continue
        top, bottom, left, right = _box(found[t], _MARGIN)
        picture = recolour(others[t : t + 1, top:bottom, left:right], colours, grey=False)[0]
        picture, cover = _scaled(picture, found[t, top:bottom, left:right], scale)
        y, x = np.rint(start + t * drift + scale * np.array([top, left])).astype(int)
        if flip:
            picture, cover, x = picture[:, ::-1], cover[:, ::-1], width - x - cover.shape[1]
        _put(frames[t], masks[t], picture, cover, int(y), int(x), new_id)
    return frames, masks


def _scaled(picture: Array, mask: NDArray[np.bool_], scale: float) -> tuple[Array, NDArray[np.float32]]:
    """A cut-out at another size, with how much of each pixel it covers, in [0, 1]."""
    height, width = mask.shape
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cover = cv2.resize(mask.astype(np.float32), size, interpolation=smooth)
    return np.asarray(cv2.resize(picture, size, interpolation=smooth), np.uint8), np.asarray(
        cv2.GaussianBlur(cover, (3, 3), 0), np.float32
    )


def _put(
    frame: Array, mask: Array, picture: Array, cover: NDArray[np.float32], top: int, left: int, object_id: int
) -> None:
    """Draw a cut-out into a frame and its mask, in place; what lies outside is left away."""
    height, width = mask.shape
    rows = slice(max(top, 0), min(top + cover.shape[0], height))
    columns = slice(max(left, 0), min(left + cover.shape[1], width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    alpha = cover[part][..., None]
    frame[rows, columns] = np.rint(alpha * picture[part] + (1 - alpha) * frame[rows, columns]).astype(np.uint8)
    mask[rows, columns][cover[part] > 0.5] = object_id


def _box(mask: NDArray[np.bool_], margin: int = 0) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what is covered, the ends exclusive, with a margin inside the picture."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return (
        max(int(rows[0]) - margin, 0),
        min(int(rows[-1]) + 1 + margin, mask.shape[0]),
        max(int(columns[0]) - margin, 0),
        min(int(columns[-1]) + 1 + margin, mask.shape[1]),
    )


def _free_id(masks: Array) -> int:
    taken = set(np.unique(masks).tolist())
    return next(number for number in range(1, 255) if number not in taken)
