"""Boundaries as packed bits, beside whole pictures of bytes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from uamp_eval.boundaries import STRIPS, Mask, pair_boundaries
from uamp_eval.reference import reference_boundary

shapes = array_shapes(min_dims=2, max_dims=2, max_side=40)
radii = st.integers(0, 20)
pairs = shapes.flatmap(lambda shape: arrays(np.bool_, (2, *shape), fill=st.booleans()))


def unpacked(strips: NDArray[np.uint8], radius: int, shape: tuple[int, int]) -> Mask:
    """Both masks' boundaries as 2×H×W bool, from the strips without the rows around them."""
    inner = strips[radius : len(strips) - radius]
    whole = np.concatenate([inner >> bit & 1 for bit in range(STRIPS)])
    assert not whole[shape[0] :].any()
    assert not whole[:, :, shape[1] :].any()
    return np.moveaxis(whole[: shape[0], :, : shape[1]], 1, 0).astype(np.bool_)


@settings(max_examples=150, deadline=None)
@given(pairs, radii)
def test_boundaries_and_matches_equal_those_of_whole_pictures(pair: Mask, radius: int) -> None:
    boundaries = pair_boundaries(pair[0], pair[1], radius)
    first, second = (reference_boundary(mask) for mask in pair)
    np.testing.assert_array_equal(unpacked(boundaries.strips, radius, pair[0].shape), [first, second])
    assert boundaries.count() == (first.sum(), second.sum())

    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (y**2 + x**2 <= radius**2).astype(np.uint8)
    near_first, near_second = (cv2.dilate(edges.astype(np.uint8), disk) > 0 for edges in (first, second))
    assert boundaries.count_matched() == ((first & near_second).sum(), (second & near_first).sum())


@pytest.mark.parametrize("radius", [1, 2, 5, 8, 18, 37, 70])
def test_two_pixels_match_up_to_the_radius(radius: int) -> None:
    side = 2 * radius + 4
    middle = side // 2
    for dy in range(-radius - 1, radius + 2, max(1, radius // 6)):
        for dx in range(-radius - 1, radius + 2, max(1, radius // 6)):
            first, second = np.zeros((2, side, side), bool)
            first[middle, middle] = second[middle + dy, middle + dx] = True
            # The boundary of a pixel is the 2×2 pixels of which it is the last.
            square = [(a, b) for a in (0, 1) for b in (0, 1)]
            near = [any((dy + v - a) ** 2 + (dx + u - b) ** 2 <= radius**2 for v, u in square) for a, b in square]
            assert pair_boundaries(first, second, radius).count_matched() == (sum(near), sum(near))
