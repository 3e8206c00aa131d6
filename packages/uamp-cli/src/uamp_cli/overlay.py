"""Draws tracked objects onto a frame: a tint, a contour and a label each, readable on light and on dark."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

# Okabe and Ito's palette, which people with any colour vision can tell apart, those that stand out against sky, grass
# and concrete first, and a violet that goes with them.
_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
    (0, 158, 115),
    (213, 94, 0),
    (0, 114, 178),
    (120, 94, 240),
)
DARK: Colour = (24, 24, 24)
LIGHT: Colour = (255, 255, 255)
_TINT = 0.45
_SMALLEST_LABELLED_SIDE = 96
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes in pixels that go with a picture's size."""

    line: int
    font: float
    pad: int

    @staticmethod
    def of(image: Image) -> "Style":
        """The sizes for a picture."""
        side = min(image.shape[0], image.shape[1])
        return Style(line=max(1, round(side / 360)), font=max(0.4, side / 720), pad=max(2, round(side / 180)))


def colour_of(object_id: int) -> Colour:
    """RGB of an object, the same in every frame and video."""
    return _COLOURS[(object_id - 1) % len(_COLOURS)]


def round_of(object_id: int) -> int:
    """How often the palette has been used up before that object: objects of one colour differ in it."""
    return (object_id - 1) // len(_COLOURS)


def object_box(mask: npt.NDArray[np.bool_]) -> Box | None:
    """Left, top, right and bottom edge of an H×W mask in pixels, the latter two just outside; None if it is empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (x, y, x + width, y + height) if width and height else None


def largest_part(mask: npt.NDArray[np.bool_]) -> Box | None:
    """The box of the largest connected part of an H×W mask, None if it is empty: stray specks bear no label."""
    box = object_box(mask)
    if box is None:  # OpenCV fails on a picture without pixels
        return None
    left, top, right, bottom = box
    inside = np.ascontiguousarray(mask[top:bottom, left:right]).view(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(inside)
    if count <= 2:  # the background and one part
        return box
    part = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    x, y = left + int(part[cv2.CC_STAT_LEFT]), top + int(part[cv2.CC_STAT_TOP])
    return (x, y, x + int(part[cv2.CC_STAT_WIDTH]), y + int(part[cv2.CC_STAT_HEIGHT]))


def draw_overlay(
    image: Image,
    ids: Ids,
    scores: Mapping[int, float] | None = None,
    caption: str | None = None,
    mark: Callable[[Image], None] | None = None,
) -> Image:
    """A copy of the H×W×3 RGB image with the objects of an H×W id map drawn in.

    Args:
        image: the frame.
        ids: 0 where there is no object.
        scores: by object id, shown beside the id in the label.
        caption: written into the upper left corner, where no label covers it.
        mark: draws more in place, which labels may cover.
    """
    out = image.copy()
    style = Style.of(image)
    boxes: dict[int, Box] = {}
    for object_id in _present(ids):
        mask = ids == object_id
        box = object_box(mask)
        if box is not None:
            boxes[object_id] = largest_part(mask) or box
            _tint(out, mask, box, colour_of(object_id), style)
    if mark is not None:
        mark(out)
    draw_labels(out, boxes, scores or {}, () if caption is None else draw_caption(out, caption))
    return out


def draw_labels(
    image: Image, boxes: Mapping[int, Box], values: Mapping[int, float], reserved: Sequence[Box] = ()
) -> None:
    """Write each object's number, and its value if there is one, at its box, in place, if the picture has room.

    Labels stay clear of the `reserved` boxes.
    """
    if not has_room_for_text(image):
        return
    style = Style.of(image)
    taken = list(reserved)
    for object_id, box in boxes.items():
        value = values.get(object_id)
        text = str(object_id) if value is None else f"{object_id}  {value:.2f}"
        taken.append(_label(image, text, box, colour_of(object_id), style, taken))


def draw_caption(image: Image, text: str) -> list[Box]:
    """Write a caption into the upper left corner, in place, if there is room; returns what labels must not cover."""
    if not has_room_for_text(image):
        return []
    style = Style.of(image)
    draw_plate(image, text, style.pad, style.pad, LIGHT, style)
    width, height = plate_size(text, style)
    return [(0, 0, width + 2 * style.pad, height + 2 * style.pad)]


def has_room_for_text(image: Image) -> bool:
    """Whether text would not cover most of the picture."""
    return bool(min(image.shape[:2]) >= _SMALLEST_LABELLED_SIDE)


def _present(ids: Ids) -> list[int]:
    counts = cv2.calcHist([ids], [0], None, [256], [0, 256])  # several times as fast as numpy's ways
    return [int(value) for value in np.flatnonzero(counts) if value]


def _tint(image: Image, mask: npt.NDArray[np.bool_], box: Box, colour: Colour, style: Style) -> None:
    """Blend an object's colour in and draw its contour, working only inside its box.

    The contour comes from growing and shrinking the mask, so its cost does not depend on how ragged the mask is.
    """
    margin = style.line + 1
    x0, y0 = max(box[0] - margin, 0), max(box[1] - margin, 0)
    view = image[y0 : box[3] + margin, x0 : box[2] + margin]
    inside = np.ascontiguousarray(mask[y0 : box[3] + margin, x0 : box[2] + margin]).view(np.uint8)
    grown = cv2.dilate(inside, _disk(max(1, style.line // 2)))
    core = cv2.erode(inside, _disk(style.line + style.line // 2))
    dimmed = cv2.convertScaleAbs(view, alpha=1 - _TINT)
    canvas = np.ascontiguousarray(view)
    cv2.copyTo(cv2.add(dimmed, np.array([*colour, 0]) * _TINT), core, canvas)
    # A dark rim around the coloured line keeps it visible on backgrounds of its own colour.
    canvas[grown > inside] = DARK
    canvas[inside > core] = colour
    view[:] = canvas


def _disk(radius: int) -> npt.NDArray[np.uint8]:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _label(
    image: Image,
    text: str,
    box: Box,
    colour: Colour,
    style: Style,
    taken: list[Box],
) -> Box:
    """Put a label above its object, or inside it where there is no room, clear of what is taken."""
    width, height = plate_size(text, style)
    y = box[1] - height - style.pad
    if y < 0:
        y = min(box[1] + style.pad, image.shape[0] - height)
    x = min(max(box[0], 0), max(image.shape[1] - width, 0))
    for _ in taken:
        hit = next((t for t in taken if x < t[2] and t[0] < x + width and y < t[3] and t[1] < y + height), None)
        if hit is None or hit[3] + height > image.shape[0]:
            break
        y = hit[3]
    draw_plate(image, text, x, y, colour, style)
    return (x, y, x + width, y + height)


def plate_size(text: str, style: Style) -> tuple[int, int]:
    """Width and height in pixels of a plate with that text."""
    (width, height), baseline = cv2.getTextSize(text, FONT, style.font, style.line)
    return width + 2 * style.pad, height + baseline + 2 * style.pad


def draw_plate(image: Image, text: str, x: int, y: int, colour: Colour, style: Style) -> None:
    """Text of a light colour on a dark plate whose upper left corner is (x, y)."""
    width, height = plate_size(text, style)
    _, baseline = cv2.getTextSize(text, FONT, style.font, style.line)
    view = image[max(y, 0) : y + height, max(x, 0) : x + width]
    view[:] = (view * 0.25 + np.array(DARK) * 0.75).astype(np.uint8)
    cv2.rectangle(image, (x, y), (x + max(style.line, style.pad // 2), y + height - 1), colour, cv2.FILLED)
    cv2.putText(
        image,
        text,
        (x + style.pad + style.line, y + height - style.pad - baseline // 2 - 1),
        FONT,
        style.font,
        LIGHT,
        style.line,
        cv2.LINE_AA,
    )
