"""What the user pointed at: clicks and boxes, by frame and object."""

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from uamp_model.errors import InputError

from uamp_cli.prompts import MAX_OBJECT_ID, Box, ObjectPrompt, Point

Mask = npt.NDArray[np.bool_]
SMALLEST_BOX = 2.0
"""Pixels: corners that are nearer to each other than this are a double click, not a box."""


@dataclass(slots=True)
class Marks:
    """What was pointed at for one object on one frame, in pixels of the video.

    Attributes:
        points: clicks, on the object (1) or beside it (0), in the order they were made.
        box: around the object.
        corner: the first corner of a box whose other corner is still to come.
        tracked: PNG of the mask that tracking had found here before the first click, which the clicks correct; None
            if they describe the object from nothing.
    """

    points: list[Point] = field(default_factory=list)
    box: Box | None = None
    corner: tuple[float, float] | None = None
    tracked: bytes | None = None
    _before: list[tuple[list[Point], Box | None]] = field(default_factory=list, repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether they say nothing yet."""
        return not self.points and self.box is None

    @property
    def corrects(self) -> bool:
        """Whether they correct a tracked mask; a box begins anew."""
        return self.tracked is not None and self.box is None

    def add_point(self, x: float, y: float, label: int) -> None:
        """One click more."""
        self._change([*self.points, (x, y, label)], self.box)

    def add_corner(self, x: float, y: float) -> None:
        """The first or the second corner of a box.

        Raises:
            InputError: if the second is where the first was.
        """
        if self.corner is None:
            self.corner = (x, y)
        else:
            self.set_box(self.corner, (x, y))

    def set_box(self, one: tuple[float, float], other: tuple[float, float]) -> None:
        """A box between two opposite corners, each (x, y); a box there was before is gone.

        Raises:
            InputError: if it has no area.
        """
        left, right = sorted((one[0], other[0]))
        top, bottom = sorted((one[1], other[1]))
        if min(right - left, bottom - top) < SMALLEST_BOX:
            raise InputError("The box has no area: draw it from one corner of the object to the opposite corner.")
        self._change(self.points, (left, top, right, bottom))

    def undo(self) -> None:
        """Take the last click or box back; a box that it replaced is there again."""
        if self.corner is not None:
            self.corner = None
        elif self._before:
            self.points, self.box = self._before.pop()

    def prompt(self, object_id: int, frame: int) -> ObjectPrompt:
        """The same as the tracker takes it, without the tracked mask.

        Raises:
            InputError: if no click is on the object.
        """
        if self.box is None and not self.corrects and not any(label for _, _, label in self.points):
            raise InputError(f"Object {object_id} has only clicks beside it on frame {frame}: click on it as well.")
        return ObjectPrompt(object_id, frame, self.box, tuple(self.points), name=f"object {object_id}")

    def _change(self, points: list[Point], box: Box | None) -> None:
        self._before.append((self.points, self.box))
        self.points, self.box, self.corner = points, box, None


@dataclass(slots=True)
class Drawing:
    """All marks of a video."""

    by_frame: dict[int, dict[int, Marks]] = field(default_factory=dict)

    def at(self, frame: int) -> dict[int, Marks]:
        """The objects with marks that say something on a frame."""
        return {i: marks for i, marks in sorted(self.by_frame.get(frame, {}).items()) if not marks.is_empty}

    def of(self, frame: int, object_id: int) -> Marks:
        """The marks of one object on one frame, empty ones if there were none."""
        return self.by_frame.setdefault(frame, {}).setdefault(object_id, Marks())

    def first_frames(self) -> dict[int, int]:
        """By object, the first frame it is marked on."""
        first: dict[int, int] = {}
        for frame in sorted(self.by_frame):
            for object_id in self.at(frame):
                first.setdefault(object_id, frame)
        return first

    def frames(self) -> list[int]:
        """The frames with marks, in order."""
        return [frame for frame in sorted(self.by_frame) if self.at(frame)]

    def clear(self, frame: int, object_id: int) -> None:
        """Forget the marks of one object on one frame."""
        self.by_frame.get(frame, {}).pop(object_id, None)

    def remove(self, object_id: int) -> None:
        """Forget an object."""
        for frame in self.by_frame:
            self.clear(frame, object_id)


def next_object(taken: list[int]) -> int:
    """The lowest number that no object has.

    Raises:
        InputError: if there are as many as a mask file can hold.
    """
    free = next((number for number in range(1, MAX_OBJECT_ID + 1) if number not in taken), None)
    if free is None:
        raise InputError(f"There can be {MAX_OBJECT_ID} objects at most: remove one first.")
    return free


def pack_mask(mask: Mask) -> bytes:
    """A mask in a few bytes."""
    _, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    return encoded.tobytes()


def unpack_mask(packed: bytes) -> Mask:
    """The mask again."""
    decoded = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_GRAYSCALE)
    if decoded is None:
        raise RuntimeError("a packed mask that cannot be unpacked")
    return np.asarray(decoded > 0)
