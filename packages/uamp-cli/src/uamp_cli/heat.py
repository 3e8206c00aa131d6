"""Draws a map of doubt as heat over a dimmed grey frame, so that it reads the same on light and on dark video."""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from uamp_cli.overlay import DARK, LIGHT, Box, Image, Style, draw_caption, draw_plate, has_room_for_text, plate_size

Map = npt.NDArray[np.uint8]

_DARKEST, _BRIGHTEST = 25, 120
"""Greys of the frame's black and white: dim, so that the heat's bright end stands out against them."""
_OPAQUE_FROM = 0.4
"""Doubt from which nothing of the frame shines through."""


@cache
def _heat_table() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """By value from 0 to 255: the RGB that is added, as 256×1×3, and the share of the frame that stays, 255 for all."""
    values = np.arange(256, dtype=np.uint8)
    colours = cv2.applyColorMap(values[:, None], cv2.COLORMAP_INFERNO)[:, :, ::-1]
    alpha = np.minimum(values / 255 / _OPAQUE_FROM, 1.0)
    return np.rint(colours * alpha[:, None, None]).astype(np.uint8), np.rint(255 * (1 - alpha)).astype(np.uint8)


def draw_heat(image: Image, values: Map) -> Image:
    """The H×W×3 RGB image in dim grey under the heat of an H×W map: 0 shows the frame, 255 is brightest."""
    added, stays = _heat_table()
    contrast = (_BRIGHTEST - _DARKEST) / 255
    grey = cv2.convertScaleAbs(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), alpha=contrast, beta=_DARKEST)
    left = cv2.multiply(grey, cv2.LUT(values, stays), scale=1 / 255)
    out = cv2.add(cv2.cvtColor(left, cv2.COLOR_GRAY2RGB), cv2.applyColorMap(values, added))
    return np.asarray(out, np.uint8)


def draw_legend(image: Image, text: str) -> list[Box]:
    """Write what the heat means and its scale from 0 to 1 into the upper left corner, in place.

    The text is left out where it does not fit, and everything on a very small picture.

    Returns:
        The boxes that labels must not cover.
    """
    if not has_room_for_text(image):
        return []
    style = Style.of(image)
    low, high = "0", "1"
    height = plate_size(low, style)[1]
    bar = 5 * height
    gap = 2 * style.line
    for start in (f"{text}  {low}", low):
        width = plate_size(start, style)[0] + gap
        if style.pad + width + bar + plate_size(high, style)[0] + gap <= image.shape[1]:
            break
    else:
        return draw_caption(image, text)
    x, y = style.pad, style.pad
    draw_plate(image, start, x, y, LIGHT, style)
    _draw_bar(image[y : y + height, x + width - gap : x + width + bar], style.pad)
    draw_plate(image, high, x + width + bar, y, DARK, style)
    return [(0, 0, x + width + bar + plate_size(high, style)[0] + style.pad, height + 2 * style.pad)]


def _draw_bar(view: Image, margin: int) -> None:
    """Fill a part of the picture with a dark plate and the scale on it, as the heat looks on a frame."""
    view[:] = (view * 0.25 + np.array(DARK) * 0.75).astype(np.uint8)
    inner = view[margin:-margin]
    scale = np.linspace(0, 255, inner.shape[1]).astype(np.uint8)
    middle = np.full(inner.shape, 128, np.uint8)
    inner[:] = draw_heat(middle, np.ascontiguousarray(np.broadcast_to(scale, inner.shape[:2])))
