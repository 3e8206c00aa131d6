"""Things cut out of scikit-image's photographs along outlines traced by hand: real surfaces with real edges."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.curves import Floats, fit_affine
from uamp_data.synthetic.parts import Creature, Part, Wobble
from uamp_data.synthetic.render import TILE_SPAN
from uamp_data.synthetic.textures import Image, fur_texture, load_photo, make_texture, recolour

# Outlines in pixels of the original photographs: x, y, x, y, ...
_OUTLINES: dict[str, tuple[int, ...]] = {
    "astronaut.png": (
        232, 16, 268, 26, 294, 59, 300, 98, 290, 124, 268, 144, 259, 176, 281, 196, 304, 222, 318, 240,
        345, 268, 360, 325, 392, 345, 440, 352, 485, 400, 506, 460, 504, 511, 20, 511, 18, 440, 35, 360,
        58, 250, 115, 205, 130, 160, 165, 152, 184, 145, 160, 118, 153, 78, 170, 45, 196, 22,
    ),
    "chelsea.png": (
        18, 24, 70, 18, 150, 2, 310, 2, 345, 70, 362, 126, 357, 184, 333, 230, 293, 270, 247, 287,
        172, 276, 126, 247, 86, 195, 58, 126, 34, 70,
    ),
    "coffee.png": (
        77, 222, 87, 168, 130, 125, 173, 104, 173, 92, 191, 49, 237, 21, 292, 15, 352, 24, 395, 52,
        413, 99, 410, 135, 459, 168, 479, 230, 467, 291, 428, 340, 367, 372, 277, 382, 184, 367, 115, 321,
        84, 275,
    ),
    "motorcycle_left.png": (
        95, 320, 110, 265, 142, 242, 110, 227, 104, 204, 151, 189, 142, 170, 189, 166, 302, 193, 350, 170,
        406, 161, 454, 161, 488, 136, 495, 110, 529, 95, 563, 132, 561, 170, 539, 180, 548, 227, 567, 265,
        633, 299, 677, 359, 677, 425, 652, 450, 605, 444, 558, 397, 539, 340, 510, 312, 482, 369, 425, 393,
        340, 391, 335, 425, 321, 431, 321, 387, 265, 369, 236, 403, 180, 406, 123, 387,
    ),
    "camera.png": (
        1, 235, 52, 170, 78, 141, 157, 107, 176, 78, 209, 65, 242, 76, 268, 104, 265, 144, 281, 170,
        313, 170, 320, 196, 307, 209, 303, 268, 274, 303, 248, 311, 202, 294, 183, 327, 144, 379, 146, 510,
        26, 510, 13, 392, 1, 340,
    ),
}  # fmt: skip
_HORSE = "horse.png"


@lru_cache(maxsize=8)
def _outline(name: str) -> NDArray[np.float64] | None:
    """The outline of a cut-out in pixels of its photograph, n×2; None when the photograph is not installed."""
    photo = load_photo(name)
    if photo is None:
        return None
    if name != _HORSE:
        return np.array(_OUTLINES[name], np.float64).reshape(-1, 2)
    dark = (photo[..., 1] < 128).astype(np.uint8)
    contours, _ = cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(contours, key=cv2.contourArea)
    return np.asarray(cv2.approxPolyDP(longest, 1.0, True)[:, 0], np.float64)


def make_cutout(rng: np.random.Generator) -> Creature | None:
    """Draw a cut-out that breathes and bends; None when the photographs are not installed."""
    name = str(rng.choice([*_OUTLINES, _HORSE]))
    outline = _outline(name)
    if outline is None:
        return None
    low, high = outline.min(0), outline.max(0)
    centre, half = (low + high) / 2, float((high - low).max()) / 2
    rest = (outline - centre) / half
    wobble = replace(Wobble.draw(rng, len(rest), 0.12), amount=np.zeros(len(rest)))
    roundness = rng.uniform(0.05, 0.15) if name != _HORSE else rng.uniform(0.15, 0.4)

    def pose(phase: float) -> list[Part]:
        now = wobble.at(rest, phase)
        return [Part((now,), 0, fit_affine(rest, now), roundness)]

    def skin(rng: np.random.Generator, side: int) -> Image:
        if name == _HORSE:
            return fur_texture(rng, side, side) if rng.random() < 0.6 else make_texture(rng, side, side)
        return recolour(rng, _square(name, centre, half, side), rng.uniform(0, 0.5))

    # The cat's head and the cup turn like things; people, the motorcycle and the horse stay upright.
    walks = name in ("motorcycle_left.png", "camera.png", _HORSE)
    free = name in ("chelsea.png", "coffee.png") and rng.random() < 0.5
    return Creature(
        "cutout",
        1,
        pose,
        faces_travel=name in (_HORSE, "motorcycle_left.png", "camera.png"),
        upright=not free,
        walks=walks,
        skin=skin,
    )


def _square(name: str, centre: Floats, half: float, side: int) -> Image:
    """The piece of a photograph that covers a texture tile, so that the outline fits on it."""
    photo = load_photo(name)
    assert photo is not None
    reach = TILE_SPAN * half
    scale = side / (2 * reach)
    place = np.array([[scale, 0, (reach - centre[0]) * scale], [0, scale, (reach - centre[1]) * scale]])
    small = photo
    if scale < 0.6:  # shrink in two steps, so that nothing flickers
        small = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        place[:, :2] /= scale
    return np.asarray(
        cv2.warpAffine(small, place, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
