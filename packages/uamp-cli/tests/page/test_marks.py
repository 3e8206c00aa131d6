import numpy as np
import pytest
from uamp_cli.page.marks import Drawing, Marks, next_object, pack_mask, unpack_mask
from uamp_model.errors import InputError


def test_two_corners_in_any_order_make_a_box() -> None:
    marks = Marks()
    marks.add_corner(30, 5)
    assert marks.is_empty
    marks.add_corner(10, 25)
    assert marks.box == (10, 5, 30, 25)
    assert marks.corner is None


def test_a_box_without_area_is_refused_and_its_first_corner_stays() -> None:
    marks = Marks()
    marks.add_corner(30, 5)
    with pytest.raises(InputError, match="opposite corner"):
        marks.add_corner(30.5, 40)
    assert marks.corner == (30, 5)


def test_undo_goes_back_step_by_step() -> None:
    marks = Marks()
    marks.add_point(1, 2, 1)
    marks.set_box((0, 0), (9, 9))
    marks.add_point(3, 4, 0)
    marks.set_box((0, 0), (5, 5))
    marks.add_corner(5, 5)
    marks.undo()
    assert marks.corner is None
    assert marks.box == (0, 0, 5, 5)
    marks.undo()
    assert marks.box == (0, 0, 9, 9)
    assert len(marks.points) == 2
    marks.undo()
    assert (marks.box, marks.points) == ((0, 0, 9, 9), [(1, 2, 1)])
    marks.undo()
    assert (marks.box, marks.points) == (None, [(1, 2, 1)])
    marks.undo()
    marks.undo()
    assert marks.is_empty


def test_clicks_beside_alone_describe_nothing_but_can_correct() -> None:
    marks = Marks(points=[(1, 2, 0)])
    with pytest.raises(InputError, match="only clicks beside"):
        marks.prompt(1, 7)
    marks.tracked = pack_mask(np.ones((4, 4), bool))
    assert marks.corrects
    assert marks.prompt(1, 7).points == ((1, 2, 0),)
    marks.box = (0, 0, 3, 3)
    assert not marks.corrects


def test_masks_come_out_as_they_went_in() -> None:
    mask = np.random.default_rng(0).random((37, 53)) < 0.5
    np.testing.assert_array_equal(unpack_mask(pack_mask(mask)), mask)


def test_a_drawing_knows_where_objects_begin() -> None:
    drawing = Drawing()
    drawing.of(9, 1).add_point(1, 1, 1)
    drawing.of(4, 2).add_point(1, 1, 1)
    drawing.of(12, 2).add_point(1, 1, 1)
    drawing.of(2, 3)  # looked at, not marked
    assert drawing.first_frames() == {2: 4, 1: 9}
    assert drawing.frames() == [4, 9, 12]
    drawing.remove(2)
    assert drawing.first_frames() == {1: 9}


def test_numbers_of_objects_are_used_again() -> None:
    assert next_object([1, 2, 4]) == 3
    with pytest.raises(InputError, match="254 objects"):
        next_object(list(range(1, 255)))
