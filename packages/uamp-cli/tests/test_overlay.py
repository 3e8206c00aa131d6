"""Drawing."""

import numpy as np
import pytest
from uamp_cli.overlay import colour_of, draw_caption, draw_labels, draw_overlay, largest_part, object_box, round_of


def _ids(height: int = 120, width: int = 160) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    ids = np.zeros((height, width), np.uint8)
    ids[40:80, 20:60] = 1
    ids[30:100, 90:140] = 2
    return ids


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_objects_stand_out_on_any_background(shade: int) -> None:
    image = np.full((120, 160, 3), shade, np.uint8)
    drawn = draw_overlay(image, _ids(), {1: 0.5, 2: 0.75})
    assert (image == shade).all()
    assert drawn.shape == image.shape
    for object_id, (y, x) in {1: (60, 40), 2: (65, 115)}.items():
        tinted = drawn[y, x].astype(int)
        assert np.abs(tinted - shade).max() > 40
        assert (
            np.abs(tinted - np.array(colour_of(object_id))).sum() < np.abs(shade - np.array(colour_of(object_id))).sum()
        )
    assert (drawn[110:, :15] == shade).all()


def test_two_objects_differ_in_colour() -> None:
    drawn = draw_overlay(np.full((120, 160, 3), 90, np.uint8), _ids())
    assert np.abs(drawn[60, 40].astype(int) - drawn[65, 115].astype(int)).max() > 40
    assert len({colour_of(i) for i in range(1, 8)}) == 7


def test_no_object_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    assert np.array_equal(draw_overlay(image, np.zeros((50, 60), np.uint8)), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (96, 97), (17, 400)])
def test_any_size(size: tuple[int, int]) -> None:
    image, ids = np.zeros((*size, 3), np.uint8), np.ones(size, np.uint8)
    ids[: size[0] // 2] = 2
    drawn = draw_overlay(image, ids, {1: 1.0, 2: 0.0})
    draw_caption(drawn, "a caption that is far too long for it")
    assert drawn.shape == image.shape


def test_many_touching_objects_are_all_labelled() -> None:
    ids = np.repeat(np.arange(1, 11, dtype=np.uint8), 12)[None, :].repeat(100, axis=0)
    assert draw_overlay(np.zeros((*ids.shape, 3), np.uint8), ids, dict.fromkeys(range(1, 11), 0.5)).any()


@pytest.mark.parametrize("size", [(120, 200), (480, 854), (1080, 400)])
def test_no_label_lies_under_the_caption(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    reserved = draw_caption(image, "tracked")
    right, bottom = reserved[0][2:]
    captioned = image.copy()
    draw_labels(image, {1: (0, 0, 30, 40), 2: (5, 3, 60, 60)}, {1: 0.5}, reserved)
    drawn = (image != captioned).any(axis=2)
    assert not drawn[:bottom, :right].any()
    assert drawn[bottom : 3 * bottom, :right].any()


def test_a_label_in_the_corner_is_read_beside_the_caption() -> None:
    ids = np.zeros((120, 160), np.uint8)
    ids[:40, :60] = 1
    shown = [draw_overlay(np.zeros((120, 160, 3), np.uint8), i * ids, caption="tracked") for i in (1, 9)]
    assert colour_of(1) == colour_of(9)  # so that the numbers are all that differs
    different = np.abs(np.subtract(*shown, dtype=int)).max(axis=2)
    assert different.max() > 200
    assert not different[:20].any()  # where the caption is


def test_objects_of_one_colour_differ_in_their_round() -> None:
    assert len({(colour_of(i), round_of(i)) for i in range(1, 256)}) == 255


def test_the_label_is_at_the_largest_part() -> None:
    mask = _ids() == 2
    mask[2:5, 3:6] = True
    assert object_box(mask) == (3, 2, 140, 100)
    assert largest_part(mask) == (90, 30, 140, 100)
    assert largest_part(mask & False) is None


def test_object_box_has_open_ends() -> None:
    assert object_box(_ids() == 1) == (20, 40, 60, 80)
    assert object_box(_ids() == 9) is None
