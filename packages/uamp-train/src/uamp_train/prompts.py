"""Prompts as a person might give them, drawn from the true masks.

Everything random comes from the generator passed in. Coordinates are pixels of the S×S input, (x, y), where pixel
(i, j) covers [j, j+1)×[i, i+1), so that its centre is (j + 0.5, i + 0.5).
"""

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from uamp_model.types import BACKGROUND, BOX_CORNER_0, BOX_CORNER_1, FOREGROUND

from uamp_train.config import PromptShares

PromptKind = Literal["mask", "box", "point", "points"]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]

BOX_JITTER = 0.1
"""Standard deviation of a box's edges as a share of its sides, as in SAM's training."""
BOX_JITTER_LIMIT = 20 / 1024
"""Largest shift of an edge as a share of the input's side, likewise."""
CENTRE_SHARE = 0.5
"""Share of clicks in the middle of the object, where people click; the others fall anywhere on it."""
MOST_POINTS = 4


def draw_kind(rng: np.random.Generator, shares: PromptShares, *, still: bool) -> PromptKind:
    """Draw the kind of prompt of a step. A still needs a prompt that leaves something to predict: never a mask."""
    kinds: list[PromptKind] = ["mask", "box", "point", "points"]
    weights = np.array([0.0 if still else shares.mask, shares.box, shares.point, shares.points])
    return kinds[rng.choice(4, p=weights / weights.sum())]


def click_count(rng: np.random.Generator, kind: PromptKind) -> int:
    """How many clicks each object gets from a kind of prompt: one for `point`, two to four for `points`."""
    return int(rng.integers(2, MOST_POINTS + 1)) if kind == "points" else 1


def draw_points(
    rng: np.random.Generator, masks: npt.NDArray[np.bool_], kind: PromptKind, clicks: int
) -> tuple[Points, Labels]:
    """Draw point prompts of one kind for N objects.

    Args:
        rng: the source of chance.
        masks: N×S×S, none of them empty.
        kind: `box` (two corners), `point` (one click) or `points` (several).
        clicks: `click_count`, the same for all objects; boxes do without.

    Returns:
        N×P×2 coordinates and N×P labels.
    """
    if kind == "box":
        corners = np.stack([jittered_box(rng, mask) for mask in masks])
        return corners, np.tile(np.array([BOX_CORNER_0, BOX_CORNER_1], np.int32), (len(masks), 1))
    drawn = [_clicks(rng, mask, clicks) for mask in masks]
    return np.stack([xy for xy, _ in drawn]), np.stack([labels for _, labels in drawn])


def jittered_box(rng: np.random.Generator, mask: Mask) -> Points:
    """The box around a mask, its edges moved as a hand would: 2×2 corners within the picture."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
    sides = np.tile(box[2:] - box[:2], 2)
    limit = np.minimum(BOX_JITTER_LIMIT * max(height, width), 0.5 * sides)
    shift = np.clip(rng.normal(0, BOX_JITTER, 4) * sides, -limit, limit)
    moved = np.clip(box + shift, 0, [width, height, width, height])
    return moved.reshape(2, 2).astype(np.float32)


def inner_point(rng: np.random.Generator, mask: Mask) -> npt.NDArray[np.float64]:
    """A click (x, y) on a mask: its middle (deepest inside), or anywhere on it."""
    if rng.random() < CENTRE_SHARE:
        depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        candidates = np.flatnonzero(depth >= 0.8 * depth.max())
    else:
        candidates = np.flatnonzero(mask)
    row, column = divmod(int(rng.choice(candidates)), mask.shape[1])
    return np.array([column, row]) + rng.random(2)


def outer_point(rng: np.random.Generator, mask: Mask) -> npt.NDArray[np.float64] | None:
    """A click (x, y) beside a mask but near it, where it helps to say "not this"; None if the mask fills all."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    margin_y, margin_x = 2 + len(rows) // 4, 2 + len(columns) // 4
    near = np.zeros_like(mask)
    near[
        max(0, rows[0] - margin_y) : rows[-1] + margin_y + 1, max(0, columns[0] - margin_x) : columns[-1] + margin_x + 1
    ] = True
    candidates = np.flatnonzero(near & ~mask)
    if len(candidates) == 0:
        return None
    row, column = divmod(int(rng.choice(candidates)), mask.shape[1])
    return np.array([column, row]) + rng.random(2)


def _clicks(rng: np.random.Generator, mask: Mask, count: int) -> tuple[Points, Labels]:
    """The first click is on the object; each further one is as likely beside it."""
    xy, labels = [inner_point(rng, mask)], [FOREGROUND]
    for _ in range(count - 1):
        beside = outer_point(rng, mask) if rng.random() < 0.5 else None
        xy.append(inner_point(rng, mask) if beside is None else beside)
        labels.append(FOREGROUND if beside is None else BACKGROUND)
    return np.array(xy, np.float32), np.array(labels, np.int32)
