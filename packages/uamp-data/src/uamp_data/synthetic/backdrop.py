"""What is behind the actors: a scene in two or three layers that move against each other with the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.curves import Floats, closed_outline
from uamp_data.synthetic.parts import random_ring
from uamp_data.synthetic.render import Light, rasterise, shade
from uamp_data.synthetic.textures import Image, colour_map, fractal, make_texture, palette, photo_crop, recolour

# Layers are drawn larger than the frame, so that the camera has somewhere to go.
OVERSCAN = 1.4


@dataclass(slots=True)
class Layer:
    """One layer: an image larger than the frame, its coverage (None: everywhere) and how strongly it follows the camera."""

    image: Image
    alpha: NDArray[np.float32] | None
    parallax: float


def _room(rng: np.random.Generator, height: int, width: int) -> Image:
    """A wall above a floor that recedes."""
    image = make_texture(rng, height, width)
    horizon = int(height * rng.uniform(0.3, 0.65))
    floor = make_texture(rng, height, width)
    spread = rng.uniform(0.3, 1.2) * width
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    target = np.array([[0, horizon], [width, horizon], [width + spread, height], [-spread, height]], np.float32)
    cover = cv2.warpPerspective(
        floor, cv2.getPerspectiveTransform(source, target), (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101
    )
    image[horizon:] = cover[horizon:]
    fade = np.ones((height, 1), np.float32)
    fade[horizon:, 0] = np.linspace(rng.uniform(0.5, 1.0), 1.1, height - horizon)
    fade[:horizon, 0] = np.linspace(1.0, rng.uniform(0.6, 1.0), horizon)
    edge = cv2.GaussianBlur(fade, (1, 31), 0) if height > 31 else fade
    return _multiply(image, np.broadcast_to(edge.reshape(height, 1), (height, width)))


def _multiply(image: Image, gain: NDArray[np.float32]) -> Image:
    return np.asarray(cv2.multiply(image, cv2.merge([np.ascontiguousarray(gain)] * 3), dtype=cv2.CV_8U), np.uint8)


def _landscape(rng: np.random.Generator, height: int, width: int) -> Image:
    """Sky, two or three ridges that fade into haze, and a ground."""
    haze = palette(rng, 3)[::-1]
    sky = np.linspace(0, 1, height, dtype=np.float32)[:, None] + np.float32(0.5) * (fractal(rng, height, width, slope=1.4) - np.float32(0.5))
    image = colour_map(sky.astype(np.float32), haze)
    ridges = int(rng.integers(2, 4))
    top = rng.uniform(0.2, 0.45)
    y = np.arange(height, dtype=np.float32)[:, None]
    for k in range(ridges):
        profile = fractal(rng, 8, width, slope=rng.uniform(0.8, 1.5), coarse=3)[4]
        line = height * (top + (0.75 - top) * k / ridges + 0.25 * (profile - 0.5) / (k + 1))
        cover = np.clip(y - line[None, :].astype(np.float32), 0, 1)
        body = make_texture(rng, height, width)
        depth = np.float32(0.6 * (1 - (k + 1) / ridges))
        body = np.asarray(cv2.addWeighted(body, float(1 - depth), np.full_like(body, haze[-1].astype(np.uint8)), float(depth), 0), np.uint8)
        image = np.asarray(cv2.blendLinear(body, image, cover, 1 - cover), np.uint8)
    return image


def _collage(rng: np.random.Generator, height: int, width: int, light: Light) -> Image:
    """A textured ground strewn with shaded lumps of other textures: things that are there but are not tracked."""
    image = make_texture(rng, height, width)
    for _ in range(int(rng.integers(4, 14))):
        scatter(rng, image, None, light, rng.uniform(0.04, 0.16))
    return image


def scatter(rng: np.random.Generator, image: Image, alpha: NDArray[np.float32] | None, light: Light, size: float, *, low: bool = False) -> None:
    """Lay one shaded lump of about ``size`` (share of the longer side) with its shadow at a random place."""
    height, width = image.shape[:2]
    radius = size * max(height, width)
    centre = np.array([rng.uniform(0, width), rng.uniform(height * (0.6 if low else 0.05), height)])
    ring = random_ring(rng, int(rng.integers(5, 12)), radius, radius * rng.uniform(0.4, 1.3), rng.uniform(0.1, 0.6))
    outline = closed_outline(ring) + centre
    x0, y0 = np.maximum(outline.min(0).astype(int) - 4, 0)
    x1, y1 = np.minimum(outline.max(0).astype(int) + 5, (width, height))
    if x1 - x0 < 8 or y1 - y0 < 8:
        return
    cover = rasterise([outline], int(x0), int(y0), int(y1 - y0), int(x1 - x0))
    skin = _multiply(make_texture(rng, int(y1 - y0), int(x1 - x0)), shade(cover, radius * rng.uniform(0.2, 0.7), light))
    a = cover.astype(np.float32) / np.float32(255)
    window = np.s_[y0:y1, x0:x1]
    if alpha is None:
        drop = np.float32([[1, 0, -light.direction[0] * radius * 0.3], [0, 1, -light.direction[1] * radius * 0.3]])
        dark = cv2.GaussianBlur(cv2.warpAffine(a, drop, (int(x1 - x0), int(y1 - y0))), (0, 0), max(1.0, radius * 0.1))
        image[window] = _multiply(image[window], 1 - np.float32(0.4) * dark)
    else:
        alpha[window] = np.maximum(alpha[window], a)
    image[window] = cv2.blendLinear(skin, image[window], a, 1 - a)


def make_backdrop(rng: np.random.Generator, height: int, width: int, light: Light) -> list[Layer]:
    """Draw the layers from far to near for frames of height×width."""
    h, w = int(height * OVERSCAN), int(width * OVERSCAN)
    kind = rng.random()
    if kind < 0.3:
        image = recolour(rng, photo_crop(rng, h, w, scene=True), rng.uniform(0, 0.6))
    elif kind < 0.42:
        image = make_texture(rng, h, w)
    elif kind < 0.62:
        image = _room(rng, h, w)
    elif kind < 0.82:
        image = _landscape(rng, h, w)
    else:
        image = _collage(rng, h, w, light)
    shadow = fractal(rng, h, w, slope=1.8, coarse=2)
    image = _multiply(image, np.float32(1) - np.float32(rng.uniform(0, 0.5)) * shadow)
    layers = [Layer(image, None, rng.uniform(0.5, 1.0))]
    for k in range(int(rng.choice([0, 1, 2], p=[0.35, 0.4, 0.25]))):
        cover = np.zeros((h, w), np.float32)
        things = np.zeros((h, w, 3), np.uint8)
        for _ in range(int(rng.integers(2, 7))):
            scatter(rng, things, cover, light, rng.uniform(0.04, 0.14), low=rng.random() < 0.6)
        layers.append(Layer(things, cover, 0.85 + 0.15 * k + rng.uniform(0, 0.15)))
    return layers


def view(layer: Layer, camera: Floats, height: int, width: int, frame: Image | None) -> Image:
    """Look at a layer through the camera's 2×3 map and blend it over ``frame`` (None for the farthest layer)."""
    h, w = layer.image.shape[:2]
    to_view = camera.copy()
    corner = np.array([(w - width) / 2, (h - height) / 2])
    to_view[:, 2] -= camera[:, :2] @ corner
    image = cv2.warpAffine(layer.image, to_view, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if layer.alpha is None or frame is None:
        return np.asarray(image, np.uint8)
    alpha = cv2.warpAffine(layer.alpha, to_view, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.blendLinear(image, frame, alpha, 1 - alpha), np.uint8)
