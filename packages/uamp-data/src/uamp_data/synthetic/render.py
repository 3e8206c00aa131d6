"""Drawing: posed parts become shaded, textured sprites, and sprites are laid over a frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.curves import Floats, apply, compose
from uamp_data.synthetic.parts import Part

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]

# Texture tiles cover [-TILE_SPAN, TILE_SPAN] of a creature's own coordinates.
TILE_SPAN = 1.25
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class Light:
    """Where the light comes from and how strong it is; x and y point in the picture, z towards the camera."""

    direction: tuple[float, float, float]
    ambient: float
    diffuse: float
    specular: float


@dataclass(slots=True)
class Sprite:
    """A drawn actor: colour h×w×3 in [0, 255] and coverage h×w in [0, 1], with its corner (x, y) in the frame."""

    x: int
    y: int
    colour: Image
    alpha: Plane


def _fixed(points: Floats, x: float, y: float) -> NDArray[np.int32]:
    # fillPoly takes pixel centres; the scene counts pixel corners, hence the half pixel.
    return np.round((points - (x + 0.5, y + 0.5)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def rasterise(outlines: list[Floats], x: int, y: int, height: int, width: int) -> Image:
    """Fill closed polygons (even-odd) into an anti-aliased h×w coverage of 0–255 whose corner is at (x, y)."""
    cover = np.zeros((height, width), np.uint8)
    cv2.fillPoly(cover, [_fixed(o, x, y) for o in outlines], (255,), cv2.LINE_AA, _SUBPIXEL_BITS)
    return cover


def shade(cover: Image, radius: float, light: Light, detail: Plane | None = None) -> Plane:
    """Brightness h×w of a part that is rounded over ``radius`` pixels from its edge."""
    flat = light.ambient + light.diffuse * light.direction[2]
    if radius < 1.5:
        return np.full(cover.shape, flat, np.float32)
    solid = cv2.threshold(cover, 127, 255, cv2.THRESH_BINARY)[1]
    rise = np.minimum(cv2.distanceTransform(solid, cv2.DIST_L2, 3) * np.float32(1 / radius), 1)
    height = np.sqrt(rise * (2 - rise)) * np.float32(radius)
    blur = max(0.8, 0.18 * radius)
    height = cv2.GaussianBlur(height, (0, 0), blur)
    if detail is not None:
        height = height + detail
    gx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    gy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    lx, ly, lz = light.direction
    facing = (np.float32(lz) - np.float32(lx) * gx - np.float32(ly) * gy) / np.sqrt(1 + gx * gx + gy * gy)
    np.maximum(facing, 0, out=facing)
    bright = np.float32(light.ambient) + np.float32(light.diffuse) * facing
    if light.specular > 0:
        bright += np.float32(light.specular) * facing**16
    return np.asarray(bright, np.float32)


def _bounds(parts: list[Part], pose: Floats, height: int, width: int, margin: int) -> tuple[int, int, int, int] | None:
    points = apply(pose, np.vstack([part.outlines[0] for part in parts]))
    x0, y0 = np.floor(points.min(0)).astype(int) - margin
    x1, y1 = np.ceil(points.max(0)).astype(int) + margin
    # Keep a border outside the frame: blur and shading near the frame's edge need it.
    x0, y0 = max(int(x0), -margin - 2), max(int(y0), -margin - 2)
    x1, y1 = min(int(x1), width + margin + 2), min(int(y1), height + margin + 2)
    return (x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None


def draw_parts(parts: list[Part], tiles: list[Image], pose: Floats, light: Light, frame_size: tuple[int, int], margin: int) -> Sprite | None:
    """Draw a creature's parts from back to front.

    Args:
        parts: The posed parts.
        tiles: One square texture per texture slot.
        pose: 2×3 map from the creature's coordinates to frame pixels.
        light: The scene's light.
        frame_size: Height and width of the frame.
        margin: Pixels to keep around the creature (for blur).

    Returns:
        The sprite, or None when the creature is entirely outside the frame.
    """
    box = _bounds(parts, pose, *frame_size, margin)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    colour = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    alpha = np.zeros((y1 - y0, x1 - x0), np.float32)
    pixel = float(np.sqrt(abs(np.linalg.det(pose[:, :2]))))
    for part in parts:
        outlines = [apply(pose, o) for o in part.outlines]
        low, high = outlines[0].min(0), outlines[0].max(0)
        px0, py0 = max(int(low[0]) - 2, x0), max(int(low[1]) - 2, y0)
        px1, py1 = min(int(high[0]) + 3, x1), min(int(high[1]) + 3, y1)
        if px1 <= px0 or py1 <= py0:
            continue
        cover = rasterise(outlines, px0, py0, py1 - py0, px1 - px0)
        tile = tiles[part.texture % len(tiles)]
        side = 2 * TILE_SPAN / tile.shape[0]
        to_rest = np.array([[side, 0.0, -TILE_SPAN], [0.0, side, -TILE_SPAN]])
        sample = compose(pose, compose(part.frame, to_rest))
        sample[:, 2] -= (px0, py0)
        skin = cv2.warpAffine(tile, sample, (px1 - px0, py1 - py0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        bright = shade(cover, part.roundness * pixel, light) * np.float32(part.tone)
        skin = cv2.multiply(skin, cv2.merge([bright] * 3), dtype=cv2.CV_8U)
        window = np.s_[py0 - y0 : py1 - y0, px0 - x0 : px1 - x0]
        a = cover.astype(np.float32) * np.float32(1 / 255)
        below = alpha[window] * (1 - a)
        if part.roundness * pixel > 3:  # the part darkens what it lies on, next to its edge
            contact = cv2.GaussianBlur(a, (0, 0), max(1.0, 0.25 * part.roundness * pixel))
            contact = 1 - np.float32(0.35) * contact
            colour[window] = cv2.multiply(colour[window], cv2.merge([contact] * 3), dtype=cv2.CV_8U)
        colour[window] = cv2.blendLinear(skin, colour[window], a, below)
        alpha[window] = a + below
    return Sprite(x0, y0, colour, alpha)


def motion_blur(sprite: Sprite, dx: float, dy: float) -> Sprite:
    """Smear a sprite along (dx, dy) pixels, the way it moves while the shutter is open."""
    length = float(np.hypot(dx, dy))
    if length < 1.2:
        return sprite
    kernel = line_kernel(dx, dy)
    premultiplied = cv2.multiply(sprite.colour, cv2.merge([sprite.alpha] * 3), dtype=cv2.CV_32F)
    smeared = cv2.filter2D(premultiplied, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    alpha = cv2.filter2D(sprite.alpha, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    inverse = 1 / np.maximum(alpha, np.float32(1e-3))
    colour = cv2.multiply(smeared, cv2.merge([inverse] * 3), dtype=cv2.CV_8U)
    return Sprite(sprite.x, sprite.y, np.asarray(colour, np.uint8), np.asarray(alpha, np.float32))


def soften(sprite: Sprite, sigma: float) -> Sprite:
    """Defocus a sprite, edges included."""
    if sigma < 0.3:
        return sprite
    premultiplied = cv2.multiply(sprite.colour, cv2.merge([sprite.alpha] * 3), dtype=cv2.CV_32F)
    smeared = cv2.GaussianBlur(premultiplied, (0, 0), sigma)
    alpha = cv2.GaussianBlur(sprite.alpha, (0, 0), sigma)
    inverse = 1 / np.maximum(alpha, np.float32(1e-3))
    colour = cv2.multiply(smeared, cv2.merge([inverse] * 3), dtype=cv2.CV_8U)
    return Sprite(sprite.x, sprite.y, np.asarray(colour, np.uint8), np.asarray(alpha, np.float32))


def line_kernel(dx: float, dy: float) -> Plane:
    """A normalised line of length |(dx, dy)| as a filter kernel."""
    half = int(np.ceil(max(abs(dx), abs(dy)) / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = np.round((np.array([[-dx, -dy], [dx, dy]]) / 2 + half) * 16).astype(int)
    cv2.line(kernel, tuple(map(int, ends[0])), tuple(map(int, ends[1])), (1.0,), 1, cv2.LINE_8, 4)
    return kernel / kernel.sum()


def _window(sprite: Sprite, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    h, w = sprite.alpha.shape
    x0, y0 = max(sprite.x, 0), max(sprite.y, 0)
    x1, y1 = min(sprite.x + w, width), min(sprite.y + h, height)
    if x1 <= x0 or y1 <= y0:
        return None
    inner = np.s_[y0 - sprite.y : y1 - sprite.y, x0 - sprite.x : x1 - sprite.x]
    return np.s_[y0:y1, x0:x1], inner


def lay_over(frame: Image, ids: Image, sprite: Sprite, label: int) -> None:
    """Blend a sprite into ``frame`` and write ``label`` into ``ids`` where it covers more than half of a pixel."""
    place = _window(sprite, *ids.shape)
    if place is None:
        return
    outer, inner = place
    alpha = np.ascontiguousarray(sprite.alpha[inner])
    frame[outer] = cv2.blendLinear(np.ascontiguousarray(sprite.colour[inner]), frame[outer], alpha, 1 - alpha)
    ids[outer][alpha >= 0.5] = label


def cast_shadow(frame: Image, sprite: Sprite, foot: tuple[float, float], lean: tuple[float, float], strength: float, softness: float) -> None:
    """Darken the ground where the sprite's silhouette, laid down around ``foot``, falls.

    Args:
        frame: The frame to darken, in place.
        sprite: The drawn actor.
        foot: Where it touches the ground, in frame pixels.
        lean: Sideways shift and height of the shadow per unit of the actor's height.
        strength: Darkening in [0, 1].
        softness: Blur in pixels.
    """
    height, width = frame.shape[:2]
    fx, fy = foot[0] - sprite.x, foot[1] - sprite.y
    shear, squash = lean
    lay = np.array([[1.0, -shear, shear * fy], [0.0, squash, fy - squash * fy]])
    h, w = sprite.alpha.shape
    corners = apply(lay, np.array([[0.0, 0], [w, 0], [0, h], [w, h]])) + (sprite.x, sprite.y)
    pad = int(3 * softness) + 1
    x0, y0 = (max(int(v) - pad, 0) for v in corners.min(0))
    x1, y1 = min(int(corners[:, 0].max()) + pad, width), min(int(corners[:, 1].max()) + pad, height)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    lay[:, 2] += (sprite.x - x0, sprite.y - y0)
    dark = cv2.warpAffine(sprite.alpha, lay, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    dark = 1 - np.float32(strength) * cv2.GaussianBlur(dark, (0, 0), softness)
    frame[y0:y1, x0:x1] = cv2.multiply(frame[y0:y1, x0:x1], cv2.merge([dark] * 3), dtype=cv2.CV_8U)
