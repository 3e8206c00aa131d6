"""The boxes of masks and of objects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from uamp_eval.boxes import Box, box_of, boxes_of

Ids = NDArray[np.uint8]

shapes = array_shapes(min_dims=2, max_dims=2, max_side=12)
maps = shapes.flatmap(lambda shape: arrays(np.uint8, (2, *shape), elements=st.integers(0, 4), fill=st.just(0)))


def by_indices(mask: NDArray[np.bool_]) -> Box:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return (
        slice(max(int(rows.min()) - 1, 0), int(rows.max()) + 2),
        slice(max(int(columns.min()) - 1, 0), int(columns.max()) + 2),
    )


def test_box_of() -> None:
    mask = np.zeros((6, 9), bool)
    assert mask[box_of(mask)].size == 0
    mask[2, 3] = mask[3, 5] = True
    assert box_of(mask) == (slice(1, 5), slice(2, 7))
    assert mask[box_of(mask.astype(np.uint8) * 7)].shape == (4, 5)
    mask[0, 0] = mask[5, 8] = True
    assert mask[box_of(mask)].shape == mask.shape
    for other in (np.asfortranarray(mask), np.flip(mask), mask[::2, 1:]):
        assert other[box_of(other)].shape == np.ascontiguousarray(other)[box_of(np.ascontiguousarray(other))].shape


@pytest.mark.parametrize("value", [1, 2, 100, 128, 254, 255])
def test_box_of_finds_any_value_anywhere(value: int) -> None:
    for place in [(0, 0), (0, 149), (1, 2), (70, 75), (99, 0), (99, 149)]:
        picture = np.zeros((100, 150), np.uint8)
        picture[place] = value
        assert box_of(picture) == by_indices(picture > 0)


@settings(max_examples=200, deadline=None)
@given(maps, st.lists(st.integers(1, 6), max_size=6))
def test_boxes_of_objects_equal_those_of_their_masks(pair: Ids, ids: list[int]) -> None:
    first, second = pair
    assert boxes_of(first, second, ids) == [by_indices((first == i) | (second == i)) for i in ids]
    for i in ids:
        assert box_of(first == i) == by_indices(first == i)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64])
def test_boxes_of_takes_any_integers_and_layouts(kind: type) -> None:
    first, second = np.random.default_rng(0).integers(0, 4, (2, 9, 7)).astype(kind)
    expected = [by_indices((first == i) | (second == i)) for i in (3, 1)]
    assert boxes_of(np.asfortranarray(first), second[::-1][::-1], [3, 1]) == expected
