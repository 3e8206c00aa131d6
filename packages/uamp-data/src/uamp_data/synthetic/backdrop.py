"""What is behind the actors: a scene in two or three layers that move against each other with the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.curves import Floats, closed_outline
from uamp_data.synthetic.materials import GROUNDS, HILLS, WALLS, surface
from uamp_data.synthetic.parts import random_ring
from uamp_data.synthetic.render import Light, rasterise, shade
from uamp_data.synthetic.stage import Stage
from uamp_data.synthetic.textures import (
    Image,
    add_detail,
    colour_map,
    fractal,
    make_texture,
    palette,
    photo_crop,
    recolour,
)

# Layers are drawn at least this much larger than the frame, so that the camera has somewhere to go.
_OVERSCAN = 1.25


@dataclass(slots=True)
class Layer:
    """One layer: an image larger than the frame, its coverage (None: all) and how much the camera moves it.

    ``corner`` (x, y) is where on the image the upper left corner of frame 0 lies.
    """

    image: Image
    alpha: NDArray[np.float32] | None
    parallax: float
    corner: tuple[int, int]


def _room(rng: np.random.Generator, height: int, width: int, horizon: int) -> Image:
    """A wall, hedge or bank above a floor or ground that recedes."""
    image = surface(rng, height, width, str(rng.choice(WALLS)))
    image[horizon:] = _laid_back(rng, surface(rng, height, width, str(rng.choice(GROUNDS))), horizon)[horizon:]
    # Walls are darker towards the corner, and a floor towards its far end.
    light = np.ones(height)
    light[horizon:] = np.linspace(rng.uniform(0.55, 1.0), 1.1, height - horizon)
    light[:horizon] = np.linspace(1.05, rng.uniform(0.6, 1.0), horizon)
    image = _multiply(image, np.repeat(light[:, None].astype(np.float32), width, 1))
    if rng.random() < 0.5:  # a skirting board or a kerb
        thick = max(1, int(height * rng.uniform(0.004, 0.02)))
        image[horizon - thick : horizon] = palette(rng, 3)[1].astype(np.uint8)
    return image


def _laid_back(rng: np.random.Generator, floor: Image, horizon: int) -> Image:
    """Lay a texture down as a ground that recedes to the row ``horizon``; its near edge is wider than the picture."""
    height, width = floor.shape[:2]
    spread = rng.uniform(0.3, 1.5) * width
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    target = np.array([[0, horizon], [width, horizon], [width + spread, height], [-spread, height]], np.float32)
    lay = cv2.getPerspectiveTransform(source, target)
    laid = cv2.warpPerspective(floor, lay, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(laid, np.uint8)


def _multiply(image: Image, gain: NDArray[np.float32]) -> Image:
    return np.asarray(cv2.multiply(image, cv2.merge([np.ascontiguousarray(gain)] * 3), dtype=cv2.CV_8U), np.uint8)


def _landscape(rng: np.random.Generator, height: int, width: int, horizon: int) -> Image:
    """Sky, two or three ridges that fade into haze, and a ground below the horizon."""
    haze = palette(rng, 3)[::-1]
    if rng.random() < 0.85:  # an ordinary sky: blue to pale
        haze = np.array([[110, 150, 205], [165, 190, 220], [222, 225, 226]], np.float32) * np.float32(
            rng.uniform(0.6, 1.1)
        )
    clouds = fractal(rng, height, width, slope=1.4) - np.float32(0.5)
    sky = (
        np.linspace(0, 1, height, dtype=np.float32)[:, None] * np.float32(height / max(horizon, 1))
        + np.float32(0.5) * clouds
    )
    image = colour_map(sky.astype(np.float32), haze.clip(0, 255))
    ridges = int(rng.integers(1, 4))
    y = np.arange(height, dtype=np.float32)[:, None]
    for k in range(ridges + 1):
        ground = k == ridges
        profile = fractal(rng, 8, width, slope=rng.uniform(0.8, 1.5), coarse=4)[4]
        rise = (0.02 if ground else 0.3 * (1 - k / ridges)) * height
        line = horizon - rise * profile
        cover = np.clip(y - line[None, :].astype(np.float32), 0, 1)
        body = surface(rng, height, width, str(rng.choice(GROUNDS if ground else HILLS)))
        if ground:
            body = _laid_back(rng, body, horizon - int(rise) - 1)
        depth = 0.0 if ground else 0.65 * (1 - k / ridges)
        veil = np.full_like(body, haze[-1].clip(0, 255).astype(np.uint8))
        body = np.asarray(cv2.addWeighted(body, 1 - depth, veil, depth, 0), np.uint8)
        image = np.asarray(cv2.blendLinear(body, image, cover, 1 - cover), np.uint8)
    return image


def _collage(rng: np.random.Generator, height: int, width: int, light: Light) -> Image:
    """A textured ground strewn with shaded lumps of other textures: things that are there but are not tracked."""
    image = surface(rng, height, width, str(rng.choice(GROUNDS)))
    for _ in range(int(rng.integers(3, 10))):
        scatter(rng, image, None, light, rng.uniform(0.03, 0.14), 0.05)
    return image


def _lump(rng: np.random.Generator, height: int, width: int) -> Image:
    """What a bush, a stone, a crate or anything else is made of."""
    if rng.random() < 0.25:
        return make_texture(rng, height, width)
    return surface(rng, height, width, str(rng.choice(("foliage", "grass", "concrete", "soil", "wood", "shade"))))


def _posts(rng: np.random.Generator, image: Image, alpha: NDArray[np.float32] | None, light: Light, foot: int) -> None:
    """Stand trunks, poles and pillars on the ground, with their feet a little below the row ``foot``."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 6))):
        half = max(1.5, width * np.exp(rng.uniform(np.log(0.003), np.log(0.035))))
        x, bottom = rng.uniform(0, width), min(height, foot + rng.uniform(0.02, 0.2) * (height - foot))
        top = bottom - rng.uniform(0.2, 1.2) * height
        lean = rng.normal(0, 0.02) * height
        outline = np.array([[x - half, bottom], [x + half, bottom], [x + lean + 0.8 * half, top]])
        outline = np.vstack([outline, [[x + lean - 0.8 * half, top]]])
        x0, x1 = max(0, int(outline[:, 0].min()) - 2), min(width, int(outline[:, 0].max()) + 3)
        y0, y1 = max(0, int(top)), int(bottom)
        if x1 - x0 < 4 or y1 - y0 < 8:
            continue
        cover = rasterise([outline], x0, y0, y1 - y0, x1 - x0)
        body = surface(rng, y1 - y0, x1 - x0, str(rng.choice(("wood", "wood", "concrete", "shade", "plaster"))))
        body = _multiply(body, shade(cover, half * rng.uniform(0.5, 1.0), light))
        a = cover.astype(np.float32) / np.float32(255)
        window = np.s_[y0:y1, x0:x1]
        if alpha is not None:
            alpha[window] = np.maximum(alpha[window], a)
        image[window] = cv2.blendLinear(body, image[window], a, 1 - a)


def scatter(
    rng: np.random.Generator,
    image: Image,
    alpha: NDArray[np.float32] | None,
    light: Light,
    size: float,
    top: float,
) -> None:
    """Lay one shaded lump of ``size`` (of the longer side) at a random place below ``top`` (of the height)."""
    height, width = image.shape[:2]
    radius = size * max(height, width)
    centre = np.array([rng.uniform(0, width), rng.uniform(height * top, height)])
    ring = random_ring(rng, int(rng.integers(5, 12)), radius, radius * rng.uniform(0.4, 1.3), rng.uniform(0.1, 0.6))
    outline = closed_outline(ring) + centre
    pad = int(0.7 * radius) + 4  # room for the shadow
    x0, y0 = np.maximum(outline.min(0).astype(int) - pad, 0)
    x1, y1 = np.minimum(outline.max(0).astype(int) + pad, (width, height))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    cover = rasterise([outline], int(x0), int(y0), int(y1 - y0), int(x1 - x0))
    skin = _multiply(_lump(rng, int(y1 - y0), int(x1 - x0)), shade(cover, radius * rng.uniform(0.2, 0.7), light))
    a = cover.astype(np.float32) / np.float32(255)
    window = np.s_[y0:y1, x0:x1]
    if alpha is None:
        drop = np.array([[1, 0, -light.direction[0] * radius * 0.3], [0, 1, -light.direction[1] * radius * 0.3]])
        dark = cv2.GaussianBlur(cv2.warpAffine(a, drop, (int(x1 - x0), int(y1 - y0))), (0, 0), max(1.0, radius * 0.1))
        image[window] = _multiply(image[window], 1 - np.float32(0.4) * dark)
    else:
        alpha[window] = np.maximum(alpha[window], a)
    image[window] = cv2.blendLinear(skin, image[window], a, 1 - a)


def make_backdrop(rng: np.random.Generator, stage: Stage) -> list[Layer]:
    """Draw the layers of a stage from far to near."""
    # A camera that goes one way needs room on that side alone.
    overscan = 0.5 * (_OVERSCAN - 1) * np.array([stage.width, stage.height])
    before = (np.maximum(stage.camera.shift.max(0), 0) + overscan).astype(int)
    after = (np.maximum(-stage.camera.shift.min(0), 0) + overscan).astype(int)
    corner = (int(before[0]), int(before[1]))
    w, h = (int(v) for v in before + after + (stage.width, stage.height))
    horizon = int((stage.horizon or 0.0) + corner[1])
    if stage.setting == "photo":
        image = recolour(rng, photo_crop(rng, h, w, scene=True), rng.uniform(0, 0.4))
    elif stage.setting == "texture":
        image = make_texture(rng, h, w)
    elif stage.setting == "room":
        image = _room(rng, h, w, horizon)
    elif stage.setting == "landscape":
        image = _landscape(rng, h, w, horizon)
    else:
        image = _collage(rng, h, w, stage.light)
    if stage.horizon is not None and rng.random() < 0.35:
        _posts(rng, image, None, stage.light, horizon)
    blur = rng.uniform(0.0, 0.008) * stage.width if rng.random() < 0.35 else 0.0  # a large aperture
    if blur > 0.4:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.uint8)
    image = add_detail(rng, image, rng.uniform(2, 9))
    shadow = fractal(rng, h, w, slope=1.8, coarse=2)
    image = _multiply(image, np.float32(1) - np.float32(rng.uniform(0, 0.45)) * shadow)
    layers = [Layer(image, None, 1.0 if stage.horizon else rng.uniform(0.5, 1.0), corner)]
    for k in range(int(rng.choice([0, 1, 2], p=[0.45, 0.4, 0.15]))):
        cover = np.zeros((h, w), np.float32)
        things = np.zeros((h, w, 3), np.uint8)
        if stage.horizon is not None and rng.random() < 0.3:
            _posts(rng, things, cover, stage.light, horizon)
        for _ in range(int(rng.integers(1, 6))):
            lowest = horizon / h + 0.03 if stage.horizon else float(rng.choice([0.05, 0.6]))
            scatter(rng, things, cover, stage.light, rng.uniform(0.03, 0.12), lowest)
        layers.append(Layer(things, cover, 1.0 + 0.2 * k + rng.uniform(0, 0.15), corner))
    return layers


def view(layer: Layer, camera: Floats, height: int, width: int, frame: Image | None) -> Image:
    """Look at a layer through the camera's 2×3 map and blend it over ``frame`` (None for the farthest layer)."""
    to_view = camera.copy()
    to_view[:, 2] -= camera[:, :2] @ np.array(layer.corner, np.float64)
    image = cv2.warpAffine(
        layer.image, to_view, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    if layer.alpha is None or frame is None:
        return np.asarray(image, np.uint8)
    alpha = cv2.warpAffine(layer.alpha, to_view, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.blendLinear(image, frame, alpha, 1 - alpha), np.uint8)
