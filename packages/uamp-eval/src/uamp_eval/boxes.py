"""Where in a frame the objects are, so that the rest of it need not be looked at. Nothing here needs torch."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice]
"""Rows and columns."""

Labels = NDArray[np.integer[Any]]
"""H×W object ids."""


def box_of(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> Box:
    """Find the box of what is not 0 in an H×W mask, and one pixel more on each side where the frame has one."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return _widened(y, y + height, x, x + width) if width else _EMPTY


def boxes_of(first: Labels, second: Labels, object_ids: Sequence[int]) -> list[Box]:
    """Find the box of each object over two label maps, and one pixel more on each side where the frame has one.

    Whatever the number of objects, the maps are read once: cut into runs along the rows in which neither changes.

    Args:
        first: H×W object ids.
        second: H×W object ids.
        object_ids: Which objects; one that neither map shows has an empty box.
    """
    width = first.shape[1]
    flat_first, flat_second = first.reshape(-1), second.reshape(-1)
    begins = np.empty(first.size, np.bool_)
    np.not_equal(flat_first[1:], flat_first[:-1], begins[1:])
    begins[1:] |= flat_second[1:] != flat_second[:-1]
    begins[::width] = True
    starts = np.flatnonzero(begins)
    rows = starts // width
    left = starts - rows * width
    right = np.append(left[1:], 0)
    right[right == 0] = width  # the next run is on the next row
    ids_first, ids_second = flat_first[starts], flat_second[starts]
    boxes = []
    for object_id in object_ids:
        runs = np.flatnonzero((ids_first == object_id) | (ids_second == object_id))
        if runs.size:
            top, bottom = int(rows[runs[0]]), int(rows[runs[-1]]) + 1
            boxes.append(_widened(top, bottom, int(left[runs].min()), int(right[runs].max())))
        else:
            boxes.append(_EMPTY)
    return boxes


_EMPTY = slice(0, 0), slice(0, 0)


def _widened(top: int, bottom: int, left: int, right: int) -> Box:
    return slice(max(top - 1, 0), bottom + 1), slice(max(left - 1, 0), right + 1)
