"""Counts which boundary pixels of two masks match, eight pixels at a time.

The two masks stand side by side in one picture of bits. The picture is cut into eight strips of R rows which are laid
over each other: byte (y, m, x) holds column x of mask m in the rows y, y+R, …, y+7R, one row per bit. So a move in
either direction is a slice, and one OR of bytes moves eight pixels, without carrying bits from byte to byte.

Shapes: H×W pixels of a mask, R rows of a strip, S columns of a mask in the picture, r the radius of the disk.
Nothing here needs torch.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Bits = NDArray[np.uint8]

STRIPS = 8


@dataclass(frozen=True, slots=True)
class BoundaryPair:
    """The boundaries of two masks, to be matched within a disk.

    Attributes:
        strips: (r+R+r)×2×S bytes; r rows of the neighbouring strips surround each strip, and at least r empty columns
            follow each mask.
        radius: r, pixels.
    """

    strips: Bits
    radius: int

    def count(self) -> tuple[int, int]:
        """Count the boundary pixels of either mask."""
        return _count(self._inner())

    def count_matched(self) -> tuple[int, int]:
        """Count the boundary pixels of either mask that have one of the other within the radius."""
        edges = self._inner()
        return _count(edges & self._dilated().reshape(edges.shape)[:, ::-1])

    def _inner(self) -> Bits:
        return self.strips[self.radius : len(self.strips) - self.radius]

    def _dilated(self) -> Bits:
        """Mark what is within the radius of a boundary pixel: the disk's rows, one after the other."""
        width = self.strips.shape[1] * self.strips.shape[2]
        size = self._inner().size
        runs = self.strips.reshape(-1)
        marked = np.zeros(size, np.uint8)
        # From the disk's top and bottom to its middle the rows only get longer, so each run grows from the last one.
        # Runs grow to the right; `reach` moves them back to their middle.
        for distance, reach, growth in _disk_rows(self.radius):
            for step in growth:
                longer = np.empty_like(runs)
                np.bitwise_or(runs[:-step], runs[step:], longer[:-step])
                runs = longer
            for shift in {-distance, distance}:
                start = (self.radius + shift) * width - reach
                np.bitwise_or(marked, runs[start : start + size], marked)
        return marked


def pair_boundaries(first: Mask, second: Mask, radius: int) -> BoundaryPair:
    """Draw the boundaries of two masks.

    A pixel is marked if it differs from its right, lower or lower-right neighbour. The last row looks only right, the
    last column only down, and the last corner is never marked, as if the frame went on with the same values.

    Args:
        first: H×W bool.
        second: H×W bool.
        radius: Of the disk in which boundaries will match, in pixels; with 0 they match on the same pixel alone.
    """
    height, width = first.shape
    # One row and one column more repeat the last ones; a strip must be as high as the disk reaches into the next.
    rows = max(-(-(height + 1) // STRIPS), radius)
    columns = -(-(width + max(radius, 1)) // 8) * 8  # whole 64-bit words
    canvas = np.zeros((STRIPS * rows, 2, columns), np.uint8)
    canvas[:height, 0, :width] = first
    canvas[:height, 1, :width] = second
    canvas[:height, :, width] = canvas[:height, :, width - 1]
    canvas[height] = canvas[height - 1]
    packed = _pack(canvas)

    size, row = rows * 2 * columns, 2 * columns
    strips = np.empty((rows + 2 * radius, 2, columns), np.uint8)
    inner = strips[radius : radius + rows]
    here, edges = packed[:size], inner.reshape(-1)
    np.bitwise_xor(here, packed[1 : size + 1], edges)
    edges |= here ^ packed[row : size + row]
    edges |= here ^ packed[row + 1 :]
    inner[:, :, width:] = 0
    inner[height % rows] &= 0xFF ^ (1 << height // rows)  # the repeated row looked at the nothing below it
    np.left_shift(inner[rows - radius :], 1, strips[:radius])
    np.right_shift(inner[:radius], 1, strips[radius + rows :])
    return BoundaryPair(strips, radius)


def _pack(canvas: Bits) -> Bits:
    """Lay the eight strips of a canvas of zeros and ones over each other, the first in the lowest bit.

    Below them comes a row with what is under each strip, and one pixel more that nobody looks at but is read.
    """
    strips = canvas.reshape(STRIPS, -1)
    size, row = strips.shape[1], canvas.shape[1] * canvas.shape[2]
    # Products, because numpy's shifts of bytes are several times slower.
    strips[4:] *= 16
    strips[:4] |= strips[4:]
    strips[2:4] *= 4
    strips[:2] |= strips[2:4]
    strips[1] *= 2
    packed = np.empty(size + row + 1, np.uint8)
    np.bitwise_or(strips[0], strips[1], packed[:size])
    np.right_shift(packed[: row + 1], 1, packed[size:])
    return packed


@lru_cache(maxsize=32)
def _disk_rows(radius: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """List a disk's rows from the outermost to the middle.

    Returns:
        Of each row its distance from the middle, its half length, and the steps by which a run of the former row's
        length becomes as long as this row: each at most the length of the run it is added to.
    """
    rows, length = [], 1
    for distance in range(radius, -1, -1):
        reach, growth = math.isqrt(radius**2 - distance**2), []
        while length < 2 * reach + 1:
            growth.append(min(length, 2 * reach + 1 - length))
            length += growth[-1]
        rows.append((distance, reach, tuple(growth)))
    return rows


def _count(bits: Bits) -> tuple[int, int]:
    """Count the ones of rows×2×S bytes for each of the two."""
    first, second = np.bitwise_count(bits.view(np.uint64)).sum(axis=(0, 2))
    return int(first), int(second)
