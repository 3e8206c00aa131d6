"""What the mouse says, without a window."""

import cv2
import numpy as np
import pytest
from uamp_cli.selection import Selection, check_window, draw_selection
from uamp_model.errors import InputError


def _click(selection: Selection, x: int, y: int) -> None:
    selection.on_mouse(cv2.EVENT_LBUTTONDOWN, x, y)
    assert selection.on_mouse(cv2.EVENT_LBUTTONUP, x + 1, y)


def _drag(selection: Selection, start: tuple[int, int], end: tuple[int, int]) -> None:
    selection.on_mouse(cv2.EVENT_LBUTTONDOWN, *start)
    selection.on_mouse(cv2.EVENT_MOUSEMOVE, *end)
    assert selection.on_mouse(cv2.EVENT_LBUTTONUP, *end)


def test_clicks_and_boxes_become_prompts() -> None:
    selection = Selection(frame=3)
    _click(selection, 10, 20)
    selection.on_mouse(cv2.EVENT_RBUTTONUP, 40, 50)
    selection.next_object()
    _drag(selection, (30, 30), (5, 60))
    first, second = selection.prompts()
    assert (first.object_id, first.frame, first.box, first.points) == (1, 3, None, ((10, 20, 1), (40, 50, 0)))
    assert (second.object_id, second.box, second.points) == (2, (5, 30, 30, 60), ())


def test_a_second_box_takes_the_place_of_the_first() -> None:
    selection = Selection(0)
    _drag(selection, (0, 0), (9, 9))
    _drag(selection, (20, 20), (40, 40))
    _click(selection, 30, 30)
    (prompt,) = selection.prompts()
    assert (prompt.box, prompt.points) == ((20, 20, 40, 40), ((30, 30, 1),))


def test_undo_and_objects_without_anything_on_them() -> None:
    selection = Selection(0)
    selection.next_object()
    assert selection.current == 1
    selection.on_mouse(cv2.EVENT_RBUTTONUP, 4, 4)
    assert selection.prompts() == ()  # only beside it
    selection.next_object()
    _click(selection, 9, 9)
    assert [prompt.object_id for prompt in selection.prompts()] == [2]
    selection.undo()
    selection.undo()
    selection.undo()
    assert (selection.current, selection.marks, selection.prompts()) == (1, [], ())


def test_marks_are_drawn() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    selection = Selection(0)
    _click(selection, 60, 150)
    _drag(selection, (100, 60), (200, 160))
    selection.on_mouse(cv2.EVENT_LBUTTONDOWN, 210, 60)
    selection.on_mouse(cv2.EVENT_MOUSEMOVE, 250, 90)
    drawn = draw_selection(image, np.zeros((200, 300), np.uint8), selection)
    for x, y in ((60, 150), (100, 100), (210, 75)):
        assert (drawn[y - 3 : y + 4, x - 3 : x + 4] != 128).any()
    assert (image == 128).all()


def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match="needs a display and there is none"):
        check_window()


@pytest.mark.skipif("GUI:                           NONE" not in cv2.getBuildInformation(), reason="OpenCV has windows")
def test_opencv_without_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(InputError, match="replace opencv-python-headless by opencv-python"):
        check_window()
