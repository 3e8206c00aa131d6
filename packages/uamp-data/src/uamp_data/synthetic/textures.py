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
# How often each is used: those whose crops look like surfaces of the world come more often.
_SURFACES = {
    "astronaut.png": 2.0,
    "brick.png": 1.5,
    "camera.png": 1.0,
    "chelsea.png": 3.0,
    "coffee.png": 2.0,
    "coins.png": 1.0,
    "grass.png": 2.5,
    "gravel.png": 2.0,
    "hubble_deep_field.jpg": 0.3,
    "ihc.png": 0.6,
    "moon.png": 0.6,
    "motorcycle_left.png": 2.0,
    "motorcycle_right.png": 2.0,
    "page.png": 0.5,
    "retina.jpg": 0.6,
    "rocket.jpg": 1.0,
}
# Photographs with a scene in them, which make believable backgrounds.
_SCENES = {
    "astronaut.png": 1.0,
    "camera.png": 1.5,
    "chelsea.png": 0.7,
    "coffee.png": 1.0,
    "motorcycle_left.png": 2.0,
    "motorcycle_right.png": 1.0,
    "rocket.jpg": 1.5,
    "grass.png": 1.5,
    "gravel.png": 1.0,
}


@lru_cache(maxsize=1)
def photo_folder() -> Path | None:
    """Find the folder of photographs in the installed scikit-image, without importing it."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "data"


@lru_cache(maxsize=32)
def load_photo(name: str) -> Image | None:
    """Read a bundled photograph as read-only RGB, or return None when it is not installed."""
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


def _pick_photo(rng: np.random.Generator, names: dict[str, float] = _SURFACES) -> Image | None:
    weights = np.array(list(names.values()))
    return load_photo(str(rng.choice(list(names), p=weights / weights.sum())))


def _tint(rng: np.random.Generator, image: Image) -> Image:
    """Colour a grey photograph with a palette: green grass, red bricks, brown stones."""
    spread = image[::8, ::8].astype(np.int16)
    if np.abs(spread[..., 0] - spread[..., 2]).max() > 2 or rng.random() < 0.3:
        return image
    grey = image[..., 1].astype(np.float32) * np.float32(1 / 255)
    return colour_map(grey, palette(rng, int(rng.integers(2, 5))))


def photo_crop(rng: np.random.Generator, height: int, width: int, *, scene: bool = False) -> Image:
    """Cut a random piece out of a random photograph, flip or turn it, and resize it to height×width."""
    photo = _pick_photo(rng, _SCENES if scene else _SURFACES)
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
    crop = _tint(rng, crop)
    if h > height:
        return np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    image = np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    # A photograph that is blown up has lost its finest detail: give it some back.
    return add_detail(rng, image, 9.0 * min(1.0, height / h - 1)) if height > 1.2 * h else image


def photo_of(rng: np.random.Generator, name: str, height: int, width: int) -> NDArray[np.float32] | None:
    """Cut a random piece out of a grey photograph: height×width brightness in [0, 1], or None when not installed."""
    photo = load_photo(name)
    if photo is None:
        return None
    grey = photo[..., 1]
    full = min(grey.shape)
    side = int(full * rng.uniform(0.5, 1.0))
    y, x = int(rng.integers(grey.shape[0] - side + 1)), int(rng.integers(grey.shape[1] - side + 1))
    piece = grey[y : y + side, x : x + side].astype(np.float32)
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    # Mirrored copies fill what the photograph is too small for: blown up it would lose its grain.
    tiles = -(-max(height, width) // side)
    if tiles > 1:
        more = side * (tiles - 1)
        piece = np.asarray(cv2.copyMakeBorder(piece, 0, more, 0, more, cv2.BORDER_REFLECT), np.float32)
    piece = piece[:height, :width]
    low, high = np.percentile(piece[::4, ::4], (1, 99))
    return np.asarray(np.clip((piece - low) / max(high - low, 1.0), 0, 1), np.float32)


def add_detail(rng: np.random.Generator, image: Image, strength: float) -> Image:
    """Roughen an image with fine brightness noise of about ``strength`` grey levels."""
    height, width = image.shape[:2]
    fine = rng.standard_normal((height, width), dtype=np.float32)
    rough = rng.standard_normal((height // 2 + 1, width // 2 + 1), dtype=np.float32)
    fine = np.float32(0.5) * fine + np.asarray(
        cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    return np.asarray(cv2.add(image, cv2.merge([fine * np.float32(strength)] * 3), dtype=cv2.CV_8U), np.uint8)


def palette(rng: np.random.Generator, colours: int = 4) -> NDArray[np.float32]:
    """Draw K×3 colours, mostly from the pixels of a photograph, ordered from dark to bright."""
    photo = _pick_photo(rng)
    if photo is None or rng.random() < 0.12:
        picked = rng.uniform(10, 245, (colours, 3))
    else:
        pixels = photo.reshape(-1, 3)
        picked = pixels[rng.integers(len(pixels), size=colours)].astype(float)
        mean = picked.mean(1, keepdims=True)
        picked = mean + (picked - mean) * rng.uniform(0.8, 1.5) + rng.normal(0, 8, picked.shape)
    order = np.argsort(picked.sum(1))
    return np.clip(picked[order], 0, 255).astype(np.float32)


def fractal(
    rng: np.random.Generator, height: int, width: int, *, slope: float = 1.0, coarse: int = 3
) -> NDArray[np.float32]:
    """Sum octaves of smooth noise with 1/f^slope amplitudes into a height×width field in [0, 1]."""
    field = np.zeros((height, width), np.float32)
    cells, weight = coarse, 1.0
    while cells < max(height, width):
        grid = rng.standard_normal((max(2, cells * height // max(height, width)) + 1, cells + 1)).astype(np.float32)
        field += np.float32(weight) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        cells *= 2
        weight /= 2.0**slope
    low, high = np.percentile(field[::4, ::4], (1, 99))
    return np.asarray(np.clip((field - low) / max(high - low, 1e-6), 0, 1), np.float32)


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
    bent = cv2.remap(
        field.astype(np.float32), *_remap_grid(rng, height, width), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
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


def fur_texture(
    rng: np.random.Generator, height: int, width: int, *, colours: NDArray[np.float32] | None = None
) -> Image:
    """Fur, feathers or dry grass: patches of colour combed in a direction that changes slowly."""
    patches = fractal(rng, height, width, slope=rng.uniform(1.0, 1.8), coarse=int(rng.integers(2, 6)))
    if rng.random() < 0.5:  # a marked coat: clear patches instead of shades
        patches = np.clip((patches - np.float32(rng.uniform(0.3, 0.7))) * 12 + np.float32(0.5), 0, 1)
    noise = rng.standard_normal((height, width), dtype=np.float32)
    first, spread = rng.uniform(0, np.pi), rng.uniform(0.1, 0.8)
    length = int(rng.integers(5, 13))
    combed = [cv2.filter2D(noise, -1, _comb(length, first + k * spread)) for k in (-1, 1)]
    share = fractal(rng, height, width, slope=1.8, coarse=2)
    hair = combed[0] * share + combed[1] * (1 - share)
    drawn = palette(rng, int(rng.integers(2, 5))) if colours is None else colours
    image = colour_map(np.asarray(patches, np.float32), drawn)
    depth = np.float32(rng.uniform(0.12, 0.3)) * np.clip(hair / max(float(hair.std()), 1e-6), -2.5, 2.5)
    return np.asarray(cv2.multiply(image, cv2.merge([1 + depth.astype(np.float32)] * 3), dtype=cv2.CV_8U), np.uint8)


def _comb(length: int, angle: float) -> NDArray[np.float32]:
    kernel = np.zeros((length, length), np.float32)
    centre, half = (length - 1) / 2, length / 2
    step = half * np.array([np.cos(angle), np.sin(angle)])
    ends = np.round((centre + np.stack([-step, step])) * 16).astype(int)
    cv2.line(kernel, tuple(map(int, ends[0])), tuple(map(int, ends[1])), (1.0,), 1, cv2.LINE_AA, 4)
    return np.asarray(kernel / max(float(kernel.sum()), 1e-6), np.float32)


def leaf_texture(
    rng: np.random.Generator, height: int, width: int, *, colours: NDArray[np.float32] | None = None
) -> Image:
    """Foliage, petals or litter: hundreds of small leaves over each other, the upper ones brighter."""
    if colours is None:
        image = noise_texture(rng, height, width) // 3
        colours = palette(rng, 6)
    else:
        image = colour_map(fractal(rng, height, width), colours) // 2
    count = int(rng.integers(150, 420))
    size = max(height, width) * rng.uniform(0.02, 0.06) * rng.uniform(0.6, 1.4, count)
    centres = rng.uniform((0, 0), (width, height), (count, 2))
    angles = rng.normal(rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 2.0), count)
    slim = rng.uniform(0.2, 0.6)
    around = np.arange(8) * (np.pi / 4)
    shape = np.stack([np.cos(around), slim * np.sin(around) * np.abs(np.sin(around)) ** 0.3], 1)
    tones = np.linspace(0.45, 1.1, count) * rng.uniform(0.8, 1.2, count)
    picks = rng.integers(len(colours), size=count)
    for k in range(count):
        c, s = np.cos(angles[k]), np.sin(angles[k])
        points = size[k] * shape @ np.array([[c, s], [-s, c]]) + centres[k]
        colour = np.clip(colours[picks[k]] * tones[k], 0, 255)
        cv2.fillPoly(image, [np.round(points * 16).astype(np.int32)], tuple(map(float, colour)), cv2.LINE_AA, 4)
    return image


def make_texture(rng: np.random.Generator, height: int, width: int) -> Image:
    """Draw any texture, height×width×3 RGB: a photograph, a pattern, or two of them mixed."""
    kind = rng.random()
    if kind < 0.46:
        image = recolour(
            rng, photo_crop(rng, height, width), float(rng.choice([0.1, 0.25, 0.5, 0.9], p=[0.35, 0.3, 0.2, 0.15]))
        )
    elif kind < 0.54:
        image = noise_texture(rng, height, width)
    elif kind < 0.62:
        image = pattern_texture(rng, height, width)
    elif kind < 0.70:
        image = cell_texture(rng, height, width)
    elif kind < 0.82:
        image = fur_texture(rng, height, width)
    elif kind < 0.90:
        image = leaf_texture(rng, height, width)
    else:
        share = fractal(rng, height, width, slope=1.5)
        if rng.random() < 0.5:  # patches with an edge rather than a slow fade
            share = np.clip((share - np.float32(0.5)) * 8 + np.float32(0.5), 0, 1).astype(np.float32)
        first = recolour(rng, photo_crop(rng, height, width), 0.4)
        second = pattern_texture(rng, height, width) if rng.random() < 0.4 else photo_crop(rng, height, width)
        image = np.asarray(cv2.blendLinear(first, second, share, 1 - share), np.uint8)
    return _lift(add_detail(rng, image, rng.uniform(0, 8)))


def _lift(image: Image) -> Image:
    """Brighten a texture that is nearly black: nothing could be seen on it."""
    mean = float(image[::4, ::4].mean())
    if mean >= 40:
        return image
    return np.asarray(cv2.convertScaleAbs(image, alpha=min(2.5, 40 / max(mean, 1)), beta=25), np.uint8)
