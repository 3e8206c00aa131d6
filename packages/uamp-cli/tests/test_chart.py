"""Curves over time."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from uamp_cli.chart import Chart, draw_chart, draw_swatch, line_colour

Picture = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def _chart(object_id: int, values: list[float]) -> Picture:
    times = np.arange(len(values), dtype=float)
    chart = Chart("score", times, {object_id: np.array(values)})
    return np.asarray(draw_chart(chart, 400, 150), int)


def _swatch(object_id: int) -> Picture:
    picture = Image.new("RGB", (20, 20), (255, 255, 255))
    draw_swatch(ImageDraw.Draw(picture), 0, 0, object_id)
    return np.asarray(picture, int)


def _pieces(row: Picture, object_id: int) -> int:
    """How many pieces of the object's colour a row of pixels has."""
    coloured = np.abs(row - np.array(line_colour(object_id))).max(axis=1) < 40
    return int((np.diff(coloured.astype(int)) == 1).sum() + coloured[0])


@pytest.mark.parametrize("first", range(1, 9))
def test_objects_of_one_colour_have_other_dashes_and_swatches(first: int) -> None:
    same = (first, first + 8, first + 16)
    assert len({line_colour(i) for i in same}) == 1
    assert [_pieces(_swatch(i)[10], i) for i in same] == [1, 2, 3]
    pictures = [_chart(i, [0.3] * 5) for i in same]
    pieces = [max(_pieces(row, i) for row in picture) for i, picture in zip(same, pictures, strict=True)]
    assert pieces[0] == 1
    assert 10 < pieces[1] < 0.75 * pieces[2]


def test_dashes_follow_the_line() -> None:
    values = [0.1, 0.9, float("nan"), 0.5, float("nan"), 0.9, 0.2, 0.2]
    solid, dashed = (_chart(i, values) < 200 for i in (2, 10))
    around = cv2.dilate(solid.astype(np.uint8), np.ones((3, 3))) > 0
    assert not (dashed & ~around).any()
    assert 0.5 * solid.sum() < dashed.sum() < solid.sum()
    left, right = 45, 385
    lone = round(left + (right - left) * 3 / 7)
    assert np.array_equal(solid[:, lone - 4 : lone + 4], dashed[:, lone - 4 : lone + 4])  # a dot stays one
