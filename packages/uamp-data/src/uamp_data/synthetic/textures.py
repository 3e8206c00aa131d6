"""Textures: crops of the photographs that scikit-image ships, and procedural patterns in photographic colours."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

Image = NDArray[np.uint8]

# Only files that are inside the scikit-image wheel: nothing here may cause a download.
_PHOTOS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
)
# Photographs with a scene in them, which make believable backgrounds.
_SCENES = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "grass.png")


@lru_cache(maxsize=1)
def photo_folder() -> Path | None:
    """Find the folder of photographs in the installed scikit-image, without importing it."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "data"


@lru_cache(maxsize=len(_PHOTOS))
def _photo(name: str) -> Image | None:
    folder = photo_folder()
    if folder is None or not (folder / name).is_file():
        return None
    # Pillow rather than OpenCV: libpng would print a warning about the colour profile of one of the files.
    with PillowImage.open(folder / name) as opened:
        rgb = np.asarray(opened.convert("RGB"))
    if name == "retina.jpg":  # its corners are black
        rgb = rgb[280:1130, 280:1130]
    longest = max(rgb.shape[:2])
    if longest > 800:
        rgb = cv2.resize(rgb, None, fx=800 / longest, fy=800 / longest, interpolation=cv2.INTER_AREA)
    rgb = np.ascontiguousarray(rgb, dtype=np.uint8)
    rgb.setflags(write=False)
    return rgb


def _pick_photo(rng: np.random.Generator, names: tuple[str, ...] = _PHOTOS) -> Image | None:
    return _photo(names[int(rng.integers(len(names)))])


def photo_crop(rng: np.random.Generator, height: int, width: int, *, scene: bool = False) -> Image:
    """Cut a random piece out of a random photograph, flip or turn it, and resize it to height×width."""
    photo = _pick_photo(rng, _SCENES if scene else _PHOTOS)
    if photo is None:
        return noise_texture(rng, height, width)
    if not scene and rng.random() < 0.5:
        photo = np.rot90(photo, int(rng.integers(4)))
    full_h, full_w = photo.shape[:2]
    share = rng.uniform(0.7, 1.0) if scene else rng.uniform(0.2, 0.8)
    fit = min(full_h / height, full_w / width) * share
    h, w = max(8, int(height * fit)), max(8, int(width * fit))
    y, x = int(rng.integers(full_h - h + 1)), int(rng.integers(full_w - w + 1))
    crop = np.ascontiguousarray(photo[y : y + h, x : x + w])
    if rng.random() < 0.5:
        crop = np.ascontiguousarray(crop[:, ::-1])
    shrinking = h > height
    return np.asarray(
        cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC), np.uint8
    )


def palette(rng: np.random.Generator, colours: int = 4) -> NDArray[np.float32]:
    """Draw K×3 colours, mostly from the pixels of a photograph, ordered from dark to bright."""
    photo = _pick_photo(rng)
    if photo is None or rng.random() < 0.25:
        picked = rng.uniform(10, 245, (colours, 3))
    else:
        pixels = photo.reshape(-1, 3)
        picked = pixels[rng.integers(len(pixels), size=colours)].astype(float)
        mean = picked.mean(1, keepdims=True)
        picked = mean + (picked - mean) * rng.uniform(1.0, 2.0) + rng.normal(0, 12, picked.shape)
    order = np.argsort(picked.sum(1))
    return np.clip(picked[order], 0, 255).astype(np.float32)


def fractal(rng: np.random.Generator, height: int, width: int, *, slope: float = 1.0, coarse: int = 3) -> NDArray[np.float32]:
    """Sum octaves of smooth noise with 1/f^slope amplitudes into a height×width field in [0, 1]."""
    field = np.zeros((height, width), np.float32)
    cells, weight = coarse, 1.0
    while cells < max(height, width):
        grid = rng.standard_normal((max(2, cells * height // max(height, width)) + 1, cells + 1)).astype(np.float32)
        field += np.float32(weight) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        cells *= 2
        weight /= 2.0**slope
    low, high = np.percentile(field[::4, ::4], (1, 99))
    return np.clip((field - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def colour_map(field: NDArray[np.float32], colours: NDArray[np.float32]) -> Image:
    """Turn a field in [0, 1] into RGB by running through K×3 colours."""
    at = np.linspace(0, 255, len(colours))
    table = np.stack([np.interp(np.arange(256), at, colours[:, c]) for c in range(3)], 1).astype(np.uint8)
    index = (np.clip(field, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.merge([index] * 3), table[None]), np.uint8)


def noise_texture(rng: np.random.Generator, height: int, width: int) -> Image:
    """Clouds, bark or stone: 1/f noise through a palette."""
    field = fractal(rng, height, width, slope=rng.uniform(0.5, 1.3), coarse=int(rng.integers(2, 9)))
    if rng.random() < 0.3:
        field = np.abs(2 * field - 1)
    return colour_map(field, palette(rng, int(rng.integers(2, 6))))


def _warped_axes(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image coordinates in units of the longer side, bent by smooth noise."""
    side = max(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(side)
    bend = np.float32(rng.choice([0.0, 0.05, 0.15, 0.3]))
    x = x + bend * (fractal(rng, height, width, slope=1.6) - np.float32(0.5))
    y = y + bend * (fractal(rng, height, width, slope=1.6) - np.float32(0.5))
    return x, y


def pattern_texture(rng: np.random.Generator, height: int, width: int) -> Image:
    """Stripes, checks, waves or spots with soft edges, bent and weathered."""
    x, y = _warped_axes(rng, height, width)
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(2, 14)
    u = (np.cos(angle) * x + np.sin(angle) * y) * np.float32(2 * np.pi * frequency)
    v = (-np.sin(angle) * x + np.cos(angle) * y) * np.float32(2 * np.pi * frequency * rng.uniform(0.5, 1.5))
    kind = int(rng.integers(4))
    if kind == 0:
        wave = np.sin(u)
    elif kind == 1:
        wave = np.sin(u) * np.sin(v) * np.float32(2)
    elif kind == 2:
        wave = np.sin(u) + np.sin(v) - np.float32(rng.uniform(0, 1))
    else:
        wave = np.sin(u + np.float32(1.5) * np.sin(v))
    field = 1 / (1 + np.exp(-wave * np.float32(rng.uniform(1, 8))))
    field = np.float32(0.75) * field + np.float32(0.25) * fractal(rng, height, width, slope=0.7)
    return colour_map(field.astype(np.float32), palette(rng, int(rng.integers(2, 5))))


def cell_texture(rng: np.random.Generator, height: int, width: int) -> Image:
    """Voronoi cells: scales, stones, leaves, patches; flat, shaded from their middles, or with joints."""
    count = int(rng.integers(12, 160))
    seeds = np.full((height, width), 255, np.uint8)
    seeds[rng.integers(height, size=count), rng.integers(width, size=count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tone = rng.random(int(labels.max()) + 1).astype(np.float32)[labels]
    spread = np.float32(np.sqrt(height * width / count))
    radial = np.clip(distance / spread, 0, 1)
    kind = int(rng.integers(3))
    if kind == 0:
        field = tone
    elif kind == 1:
        field = np.float32(0.6) * tone + np.float32(0.4) * (1 - radial)
    else:
        field = np.clip(1 - radial * np.float32(rng.uniform(1.2, 3)), 0, 1)
    field = np.float32(0.8) * field + np.float32(0.2) * fractal(rng, height, width, slope=0.6)
    bent = cv2.remap(field.astype(np.float32), *_remap_grid(rng, height, width), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return colour_map(np.asarray(bent, np.float32), palette(rng, int(rng.integers(3, 6))))


def _remap_grid(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x, y = _warped_axes(rng, height, width)
    side = np.float32(max(height, width))
    return (x * side).astype(np.float32), (y * side).astype(np.float32)


def recolour(rng: np.random.Generator, image: Image, strength: float) -> Image:
    """Turn hue, saturation and brightness of an image by random amounts that grow with ``strength`` in [0, 1]."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    index = np.arange(256)
    hue = ((index + int(rng.uniform(-90, 90) * strength)) % 180).astype(np.uint8)
    saturation = np.clip(index * (1 + strength * rng.uniform(-0.7, 0.9)) + strength * rng.uniform(0, 50), 0, 255)
    gain, lift = 1 + strength * rng.uniform(-0.4, 0.4), strength * rng.uniform(-35, 35)
    value = np.clip(index * gain + lift, 0, 255)
    table = np.stack([hue, saturation.astype(np.uint8), value.astype(np.uint8)], 1)[None]
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB), np.uint8)


def make_texture(rng: np.random.Generator, height: int, width: int) -> Image:
    """Draw any texture, height×width×3 RGB: a photograph, a pattern, or two of them mixed."""
    kind = rng.random()
    if kind < 0.5:
        image = recolour(rng, photo_crop(rng, height, width), rng.uniform(0, 0.9))
    elif kind < 0.62:
        image = noise_texture(rng, height, width)
    elif kind < 0.74:
        image = pattern_texture(rng, height, width)
    elif kind < 0.86:
        image = cell_texture(rng, height, width)
    else:
        share = fractal(rng, height, width, slope=1.5)
        if rng.random() < 0.5:  # patches with an edge rather than a slow fade
            share = np.clip((share - np.float32(0.5)) * 8 + np.float32(0.5), 0, 1).astype(np.float32)
        first = recolour(rng, photo_crop(rng, height, width), 0.6)
        second = pattern_texture(rng, height, width) if rng.random() < 0.5 else photo_crop(rng, height, width)
        image = np.asarray(cv2.blendLinear(first, second, share, 1 - share), np.uint8)
    return image
