"""What things are made of: grounds, walls and foliage for the scene; cloth, coats, skin and paint for the actors."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.textures import (
    Image,
    add_detail,
    colour_map,
    fractal,
    fur_texture,
    leaf_texture,
    make_texture,
    photo_crop,
    photo_of,
    recolour,
)

Colours = NDArray[np.float32]

# Dark, middle and bright of what the world is made of.
_NATURE: dict[str, tuple[tuple[int, int, int], ...]] = {
    "grass": ((48, 62, 28), (84, 104, 46), (132, 146, 76)),
    "foliage": ((22, 34, 18), (50, 70, 36), (98, 116, 64)),
    "autumn": ((60, 40, 22), (126, 86, 40), (186, 140, 76)),
    "soil": ((64, 50, 38), (108, 86, 64), (152, 128, 100)),
    "sand": ((146, 126, 98), (184, 164, 132), (216, 200, 172)),
    "asphalt": ((62, 62, 64), (96, 96, 98), (132, 132, 134)),
    "concrete": ((104, 102, 96), (146, 144, 138), (186, 184, 178)),
    "water": ((28, 56, 74), (58, 94, 110), (124, 154, 162)),
    "snow": ((168, 176, 188), (204, 210, 216), (238, 240, 242)),
    "plaster": ((142, 132, 116), (188, 178, 160), (224, 218, 206)),
    "brick": ((92, 54, 42), (138, 84, 64), (174, 128, 104)),
    "wood": ((72, 48, 32), (122, 86, 56), (170, 132, 92)),
    "shade": ((14, 16, 20), (34, 36, 40), (66, 66, 68)),
}
GROUNDS = ("grass", "grass", "soil", "sand", "asphalt", "asphalt", "concrete", "water", "snow", "autumn", "wood")
WALLS = ("plaster", "plaster", "concrete", "brick", "wood", "foliage", "shade", "water")
HILLS = ("foliage", "foliage", "grass", "autumn", "soil", "concrete", "shade")
_COATS = ((24, 20, 18), (70, 46, 30), (120, 82, 52), (170, 122, 78), (110, 104, 98), (205, 192, 172), (235, 230, 222))
_SKINS = ((78, 50, 38), (130, 88, 66), (178, 130, 102), (216, 172, 146), (232, 196, 174))


def nature(rng: np.random.Generator, name: str, spread: float = 1.0) -> Colours:
    """Draw the three colours of a natural material, dark to bright, ``spread`` times as far apart as usual."""
    base = np.array(_NATURE[name], np.float32)
    middle = base[1] * np.float32(rng.uniform(0.75, 1.25)) + rng.normal(0, 7, 3).astype(np.float32)
    colours = middle + (base - base[1]) * np.float32(spread)
    return np.asarray(colours.clip(4, 250), np.float32)


def surface(rng: np.random.Generator, height: int, width: int, name: str) -> Image:
    """Draw a ground, wall or hillside, mostly smoother than the things in front of it."""
    if rng.random() < 0.12:
        return recolour(rng, make_texture(rng, height, width), 0.15)
    spread = rng.uniform(0.25, 1.0)
    colours = nature(rng, name, spread)
    kind = rng.random()
    grainy = {"grass": "grass.png", "soil": "gravel.png", "brick": "brick.png", "sand": "gravel.png"}.get(name)
    if name in ("foliage", "autumn") and kind < 0.5:
        return leaf_texture(rng, height, width, colours=nature(rng, name, 0.8))
    if grainy and kind < 0.45:
        photo = photo_of(rng, grainy, height, width)
        if photo is not None:
            return colour_map(photo, colours)
    if name in ("concrete", "wood", "brick", "plaster") and kind < 0.4:
        return _paving(rng, height, width, colours, bond=name == "brick")
    field = fractal(rng, height, width, slope=rng.uniform(0.7, 1.7), coarse=int(rng.integers(2, 6)))
    if name == "water":  # waves are wide and low
        field = np.asarray(
            cv2.resize(
                fractal(rng, height, max(16, width // 5), slope=rng.uniform(0.4, 0.9), coarse=24), (width, height)
            ),
            np.float32,
        )
    return add_detail(rng, colour_map(field, colours), rng.uniform(1, 8))


def _paving(rng: np.random.Generator, height: int, width: int, colours: Colours, *, bond: bool) -> Image:
    """Slabs, planks or bricks with joints between them."""
    side = max(height, width)
    tall = max(6, int(side * rng.uniform(0.03, 0.16)))
    wide = max(6, int(tall * rng.choice([1.0, 2.2, 6.0])))
    y, x = np.mgrid[0:height, 0:width]
    row = y // tall
    shift = (row % 2) * (wide // 2) if bond else (row * int(rng.integers(0, wide)))
    column = (x + shift) // wide
    tone = rng.random((int(row.max()) + 1, int(column.max()) + 1)).astype(np.float32)[row, column]
    field = np.float32(0.5) * fractal(rng, height, width, slope=0.9) + np.float32(rng.uniform(0.1, 0.5)) * tone
    joint = ((y % tall) < max(1, tall // 18)) | (((x + shift) % wide) < max(1, tall // 18))
    field = np.where(joint, field * np.float32(rng.uniform(0.2, 0.8)), field)
    return colour_map(field.astype(np.float32), colours)


def _plain(rng: np.random.Generator) -> Colours:
    """One colour that people paint and dye things in: strong, pale, or none at all."""
    kind = rng.random()
    if kind < 0.22:
        return np.full(3, rng.uniform(12, 60), np.float32) + rng.normal(0, 4, 3).astype(np.float32)
    if kind < 0.42:
        return np.full(3, rng.uniform(170, 238), np.float32) + rng.normal(0, 6, 3).astype(np.float32)
    hsv = np.array([[[rng.integers(180), rng.integers(70, 235), rng.integers(60, 235)]]], np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def _flat(rng: np.random.Generator, side: int, colour: Colours, relief: float, slope: float = 1.2) -> Image:
    """A colour with soft differences of brightness of about ``relief``."""
    field = fractal(rng, side, side, slope=slope, coarse=int(rng.integers(3, 8)))
    ends = np.stack([colour * np.float32(1 - relief), colour * np.float32(1 + 0.5 * relief) + np.float32(10 * relief)])
    return colour_map(field, np.asarray(ends.clip(0, 255), np.float32))


def cloth(rng: np.random.Generator, side: int) -> Image:
    """Plain, striped, checked or printed cloth with folds."""
    image = _flat(rng, side, _plain(rng), rng.uniform(0.2, 0.6), 1.0)
    kind = rng.random()
    if kind < 0.4:
        y, x = np.mgrid[0:side, 0:side].astype(np.float32)
        period = side * rng.uniform(0.04, 0.25)
        angle = rng.choice([0.0, np.pi / 2, np.pi / 4]) + rng.normal(0, 0.05)
        wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * np.float32(2 * np.pi / period))
        if kind < 0.12:
            wave = np.maximum(wave, np.sin((np.cos(angle) * y - np.sin(angle) * x) * np.float32(2 * np.pi / period)))
        share = np.clip(wave * 4 + np.float32(rng.uniform(-2, 1)), 0, 1).astype(np.float32)
        image = np.asarray(cv2.blendLinear(_flat(rng, side, _plain(rng), 0.4, 1.0), image, share, 1 - share), np.uint8)
    elif kind < 0.55:  # a print
        share = np.clip(fractal(rng, side, side, slope=1.0, coarse=6) * 14 - 9, 0, 1).astype(np.float32)
        image = np.asarray(cv2.blendLinear(_flat(rng, side, _plain(rng), 0.3), image, share, 1 - share), np.uint8)
    folds = fractal(rng, side, max(16, side // 3), slope=1.0, coarse=4)
    folds = np.asarray(cv2.resize(folds, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    depth = np.float32(1) + np.float32(rng.uniform(0.15, 0.6)) * (folds - np.float32(0.5))
    image = np.asarray(cv2.multiply(image, cv2.merge([depth] * 3), dtype=cv2.CV_8U), np.uint8)
    return add_detail(rng, image, rng.uniform(1, 7))


def coat(rng: np.random.Generator, side: int) -> Image:
    """The fur or feathers of an animal, in one or two of its colours."""
    picks = np.array(_COATS, np.float32)[rng.integers(len(_COATS), size=int(rng.integers(1, 3)))]
    dark = picks * np.float32(rng.uniform(0.45, 0.75))
    colours = np.concatenate([dark, picks]) + rng.normal(0, 6, (2 * len(picks), 3)).astype(np.float32)
    if rng.random() < 0.12:  # a bird of paradise
        colours[-1] = _plain(rng)
    order = np.argsort(colours.sum(1))
    return fur_texture(rng, side, side, colours=np.asarray(colours[order].clip(5, 250), np.float32))


def skin(rng: np.random.Generator, side: int) -> Image:
    """Skin, lit unevenly."""
    colour = np.array(_SKINS[int(rng.integers(len(_SKINS)))], np.float32) + rng.normal(0, 5, 3).astype(np.float32)
    return add_detail(rng, _flat(rng, side, colour, 0.3), 3.0)


def paint(rng: np.random.Generator, side: int) -> Image:
    """Varnish, metal or plastic: one colour, panels with seams, now and then a band of another colour."""
    image = _flat(rng, side, _plain(rng), rng.uniform(0.1, 0.4), 1.5)
    for _ in range(int(rng.integers(0, 5))):
        at, thick = int(rng.integers(side)), max(1, int(side * rng.choice([0.006, 0.012, 0.08, 0.15])))
        colour = tuple(float(v) for v in (_plain(rng) if thick > 0.05 * side else 0.4 * image[at, at]))
        ends = ((0, at), (side, at)) if rng.random() < 0.6 else ((at, 0), (at, side))
        cv2.line(image, *ends, colour, thick, cv2.LINE_AA)
    return add_detail(rng, image, rng.uniform(1, 5))


def glass(rng: np.random.Generator, side: int) -> Image:
    """A dark pane in which something bright is mirrored."""
    field = fractal(rng, side, side, slope=1.5, coarse=3)
    return colour_map(field, np.array([[18, 22, 28], [40, 50, 60], [150, 168, 180]], np.float32))


def rubber(rng: np.random.Generator, side: int) -> Image:
    """Tyres and boots."""
    return add_detail(rng, _flat(rng, side, np.full(3, rng.uniform(25, 60), np.float32), 0.4), 4.0)


def anything(rng: np.random.Generator, side: int) -> Image:
    """Cloth, coat, paint, a photograph or a pattern."""
    kind = rng.random()
    if kind < 0.2:
        return cloth(rng, side)
    if kind < 0.35:
        return coat(rng, side)
    if kind < 0.5:
        return paint(rng, side)
    if kind < 0.75:
        return recolour(rng, photo_crop(rng, side, side), rng.uniform(0, 0.5))
    return make_texture(rng, side, side)
