"""Objects picked with the mouse in a window, each shown with its mask at once."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
from uamp_model.errors import InputError

from uamp_cli.overlay import DARK, LIGHT, Ids, Image, Style, colour_of, draw_caption, draw_overlay, plate_size
from uamp_cli.prompts import Box, ObjectPrompt, Plan, Point
from uamp_cli.terminal import err_console

if TYPE_CHECKING:
    from uamp_model import VideoTracker

_WINDOW = "UAMP: pick objects"
_HELP = (
    "click: on the object   right click: beside it   drag: box   N: next object   U: undo   Enter: track   Esc: leave"
)
_CLICK = 4
"""Pixels that the mouse may move during a click."""
_ENTER, _ESCAPE = (10, 13), 27
_POLL = 20  # milliseconds
_LARGEST = (1280, 800)
"""Width and height that the window has at most when it opens; it can be made larger."""


def check_window() -> None:
    """Make sure that a window can be opened.

    Raises:
        InputError: if there is no display or OpenCV came without windows.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError("--select needs a display and there is none: point with --box or --point, or leave it out.")
    if re.search(r"^\s*GUI:\s*NONE", cv2.getBuildInformation(), re.MULTILINE):
        raise InputError(
            "--select needs windows, which the installed OpenCV lacks: replace opencv-python-headless by "
            "opencv-python, or point with --box or --point."
        )


@dataclass(slots=True)
class Selection:
    """What the mouse has said so far. Marks are made on the current object; numbers count from 1.

    Attributes:
        frame: number of the frame.
        marks: in order; object, and a box or a point.
        current: the object that the next mark is for.
        drag: the box being dragged, or None.
    """

    frame: int
    marks: list[tuple[int, Box | Point]] = field(default_factory=list)
    current: int = 1
    drag: tuple[int, int, int, int] | None = None

    def on_mouse(self, event: int, x: int, y: int) -> bool:
        """Take one of OpenCV's mouse events; returns whether a mark was made."""
        if event == cv2.EVENT_LBUTTONDOWN:
            self.drag = (x, y, x, y)
        elif event == cv2.EVENT_MOUSEMOVE and self.drag is not None:
            self.drag = (*self.drag[:2], x, y)
        elif event == cv2.EVENT_RBUTTONUP:
            self.marks.append((self.current, (float(x), float(y), 0)))
            return True
        elif event == cv2.EVENT_LBUTTONUP and self.drag is not None:
            x0, y0 = self.drag[:2]
            self.drag = None
            box = (float(min(x0, x)), float(min(y0, y)), float(max(x0, x)), float(max(y0, y)))
            if min(box[2] - box[0], box[3] - box[1]) > _CLICK:
                self._replace_box(box)
            else:
                self.marks.append((self.current, (float(x0), float(y0), 1)))
            return True
        return False

    def next_object(self) -> None:
        """Later marks are for another object, if the current one has any."""
        if any(number == self.current for number, _ in self.marks):
            self.current = max(number for number, _ in self.marks) + 1

    def undo(self) -> None:
        """Take the last mark back and go on with its object."""
        if self.marks:
            self.current = self.marks.pop()[0]

    def prompts(self) -> tuple[ObjectPrompt, ...]:
        """The prompts of all objects that have a box or a point on them."""
        found = []
        for number in sorted({number for number, _ in self.marks}):
            mine = [mark for owner, mark in self.marks if owner == number]
            box = next((mark for mark in mine if len(mark) == 4), None)
            points = tuple(mark for mark in mine if len(mark) == 3)
            if box is not None or any(label for _, _, label in points):
                name = f"the selected object {number}"
                found.append(ObjectPrompt(number, self.frame, box=box, points=points, name=name))
        return tuple(found)

    def _replace_box(self, box: Box) -> None:
        """An object has one box, the last."""
        self.marks = [mark for mark in self.marks if not (mark[0] == self.current and len(mark[1]) == 4)]
        self.marks.append((self.current, box))


def select_objects(tracker: "VideoTracker", image: Image, frame: int) -> Plan:
    """Let the user pick objects on a frame.

    Raises:
        KeyboardInterrupt: if they leave without.
        InputError: if no window can be opened.
    """
    selection = Selection(frame)
    err_console().print(f"In the window: {_HELP}", highlight=False, markup=False, soft_wrap=True)
    try:
        _run_window(selection, image, lambda prompts: _masks(tracker, image, prompts))
    except cv2.error as error:
        raise InputError(
            f"No window can be opened for --select ({error.err}): point with --box or --point instead."
        ) from error
    return Plan(selection.prompts(), frame)


def _masks(tracker: "VideoTracker", image: Image, prompts: tuple[ObjectPrompt, ...]) -> Ids:
    """H×W id map of what the tracker makes of the prompts."""
    from uamp_cli.tracking import merge_masks

    if not prompts:
        return np.zeros(image.shape[:2], np.uint8)
    result = tracker.start().step(image, {prompt.object_id: prompt.to_model() for prompt in prompts})
    logits = {i: result.logits[row].float().cpu().numpy() for row, i in enumerate(result.object_ids)}
    return merge_masks(logits, image.shape[:2])


def _run_window(selection: Selection, image: Image, masks: Callable[[tuple[ObjectPrompt, ...]], Ids]) -> None:
    ids, changed = masks(()), False

    def on_mouse(event: int, x: int, y: int, *_: object) -> None:
        nonlocal changed
        height, width = image.shape[:2]
        changed |= selection.on_mouse(event, min(max(x, 0), width - 1), min(max(y, 0), height - 1))

    cv2.namedWindow(_WINDOW, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    try:
        scale = min(1.0, _LARGEST[0] / image.shape[1], _LARGEST[1] / image.shape[0])
        cv2.resizeWindow(_WINDOW, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        cv2.setMouseCallback(_WINDOW, on_mouse)
        while True:
            if changed:
                ids, changed = masks(selection.prompts()), False
            cv2.imshow(_WINDOW, draw_selection(image, ids, selection)[:, :, ::-1])
            key = cv2.waitKey(_POLL) & 0xFF
            if key in _ENTER and selection.prompts():
                return
            if key == _ESCAPE or cv2.getWindowProperty(_WINDOW, cv2.WND_PROP_VISIBLE) < 1:
                raise KeyboardInterrupt
            if key in (ord("n"), ord("N")):
                selection.next_object()
            elif key in (ord("u"), ord("U")):
                selection.undo()
                changed = True
    finally:
        cv2.destroyAllWindows()


def draw_selection(image: Image, ids: Ids, selection: Selection) -> Image:
    """The frame with masks, marks and a line of help."""
    out = draw_overlay(image, ids)
    style = Style.of(image)
    for number, mark in selection.marks:
        if len(mark) == 4:
            corners = [round(edge) for edge in mark]
            cv2.rectangle(out, corners[:2], corners[2:], colour_of(number), style.line + 1)
        else:
            centre = (round(mark[0]), round(mark[1]))
            cv2.circle(out, centre, 3 * style.line + 2, DARK if mark[2] else LIGHT, cv2.FILLED, cv2.LINE_AA)
            cv2.circle(out, centre, 3 * style.line, colour_of(number) if mark[2] else DARK, cv2.FILLED, cv2.LINE_AA)
    if selection.drag is not None:
        cv2.rectangle(out, selection.drag[:2], selection.drag[2:], colour_of(selection.current), style.line)
    caption = f"object {selection.current}   {_HELP}"
    fits = plate_size(caption, style)[0] <= image.shape[1]
    draw_caption(out, caption if fits else f"object {selection.current}")
    return out
