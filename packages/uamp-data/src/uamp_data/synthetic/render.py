"""Drawing: posed parts become shaded, textured sprites, and sprites are laid over a frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.curves import Floats, apply, compose
from uamp_data.synthetic.parts import Part

if TYPE_CHECKING:
    from cv2.typing import MatLike

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]

# Texture tiles cover [-TILE_SPAN, TILE_SPAN] of a creature's own coordinates.
TILE_SPAN = 1.25
_SUBPIXEL_BITS = 4
# How much a part darkens the part it lies on, right at its edge.
_CONTACT = 0.3


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


def draw_parts(
    parts: list[Part], tiles: list[Image], pose: Floats, light: Light, frame_size: tuple[int, int], margin: int
) -> Sprite | None:
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
    for surface in _surfaces(parts):
        _draw_surface(surface, tiles, pose, light, (x0, y0), colour, alpha)
    return Sprite(x0, y0, colour, alpha)


def _surfaces(parts: list[Part]) -> list[list[Part]]:
    """Group the parts that are shaded as one."""
    groups: list[list[Part]] = []
    for part in parts:
        if part.joins and groups:
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _draw_surface(
    parts: list[Part],
    tiles: list[Image],
    pose: Floats,
    light: Light,
    corner: tuple[int, int],
    colour: Image,
    alpha: Plane,
) -> None:
    """Draw joined parts over what the sprite holds already (``colour`` and ``alpha`` change in place)."""
    outlines = [[apply(pose, o) for o in part.outlines] for part in parts]
    points = np.vstack([o[0] for o in outlines])
    low, high = points.min(0), points.max(0)
    x0, y0 = max(int(low[0]) - 2, corner[0]), max(int(low[1]) - 2, corner[1])
    x1 = min(int(high[0]) + 3, corner[0] + alpha.shape[1])
    y1 = min(int(high[1]) + 3, corner[1] + alpha.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    pixel = float(np.sqrt(abs(np.linalg.det(pose[:, :2]))))
    cover: Image | None = None
    for part, shape in zip(parts, outlines, strict=True):
        mine = rasterise(shape, x0, y0, y1 - y0, x1 - x0)
        patch = _texture(part, tiles[part.texture % len(tiles)], pose, x0, y0, x1 - x0, y1 - y0)
        if cover is None:
            cover, skin = mine, patch
            continue
        # Fade from the older part's texture into this one's over its rounded edge, so that no seam shows.
        weight = cv2.GaussianBlur(mine, (0, 0), max(0.5, 0.3 * part.roundness * pixel)).astype(np.float32)
        skin = np.asarray(
            cv2.blendLinear(patch, skin, weight, cv2.subtract(cover, weight, dtype=cv2.CV_32F).clip(0)), np.uint8
        )
        cover = np.asarray(cv2.max(cover, mine), np.uint8)
    assert cover is not None
    radius = max(part.roundness for part in parts) * pixel
    bright = shade(cover, radius, light) * np.float32(parts[0].tone)
    skin = np.asarray(cv2.multiply(skin, cv2.merge([bright] * 3), dtype=cv2.CV_8U), np.uint8)
    window = np.s_[y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]]
    a = cover.astype(np.float32) * np.float32(1 / 255)
    below = alpha[window] * (1 - a)
    if radius > 3:  # the surface darkens what it lies on, next to its edge
        contact = np.float32(1) - np.float32(_CONTACT) * cv2.GaussianBlur(a, (0, 0), max(1.0, 0.2 * radius))
        colour[window] = cv2.multiply(colour[window], cv2.merge([contact] * 3), dtype=cv2.CV_8U)
    colour[window] = cv2.blendLinear(skin, colour[window], a, below)
    alpha[window] = a + below


def _texture(part: Part, tile: Image, pose: Floats, x: int, y: int, width: int, height: int) -> Image:
    """Lay a part's texture where the part is: height×width with its corner at (x, y)."""
    side = 2 * TILE_SPAN / tile.shape[0]
    to_rest = np.array([[side, 0.0, -TILE_SPAN], [0.0, side, -TILE_SPAN]])
    sample = compose(pose, compose(part.frame, to_rest))
    sample[:, 2] -= (x, y)
    return np.asarray(
        cv2.warpAffine(tile, sample, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
        np.uint8,
    )


def ripple(sprite: Sprite, waves: Floats, origin: tuple[float, float], phase: float) -> Sprite:
    """Bend a sprite like jelly: its columns slide up and down, its rows left and right, in travelling waves.

    Args:
        sprite: The drawn actor.
        waves: 2×3, for x and y: amplitude and wave length in pixels, and offset in radians.
        origin: The actor's place in the frame; the waves stay with it.
        phase: Gait cycles.
    """
    if waves[:, 0].max() < 0.4:
        return sprite
    h, w = sprite.alpha.shape
    y = np.arange(h, dtype=np.float32)
    x = np.arange(w, dtype=np.float32)
    turn = 2 * np.pi * phase
    (ax, lx, ox), (ay, ly, oy) = waves
    shift_x = ax * np.sin((y + sprite.y - origin[1]) * (2 * np.pi / lx) + ox + turn)
    shift_y = ay * np.sin((x + sprite.x - origin[0]) * (2 * np.pi / ly) + oy + turn)
    map_x = (x[None, :] + shift_x[:, None]).astype(np.float32)
    map_y = (y[:, None] + shift_y[None, :]).astype(np.float32)
    colour = cv2.remap(sprite.colour, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.remap(sprite.alpha, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Sprite(sprite.x, sprite.y, np.asarray(colour, np.uint8), np.asarray(alpha, np.float32))


def motion_blur(sprite: Sprite, dx: float, dy: float) -> Sprite:
    """Smear a sprite along (dx, dy) pixels, the way it moves while the shutter is open."""
    length = float(np.hypot(dx, dy))
    if length < 1.2:
        return sprite
    kernel = line_kernel(dx, dy)
    return _blurred(sprite, lambda plane: cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_CONSTANT))


def soften(sprite: Sprite, sigma: float) -> Sprite:
    """Defocus a sprite, edges included."""
    if sigma < 0.3:
        return sprite
    return _blurred(sprite, lambda plane: cv2.GaussianBlur(plane, (0, 0), sigma))


def _blurred(sprite: Sprite, blur: Callable[[MatLike], MatLike]) -> Sprite:
    """Blur colour and coverage alike; what is not covered gives no colour to its neighbours."""
    smeared = blur(cv2.multiply(sprite.colour, cv2.merge([sprite.alpha] * 3), dtype=cv2.CV_32F))
    alpha = blur(sprite.alpha)
    inverse = 1 / np.maximum(alpha, np.float32(1e-3))
    colour = cv2.multiply(smeared, cv2.merge([inverse] * 3), dtype=cv2.CV_8U)
    return Sprite(sprite.x, sprite.y, np.asarray(colour, np.uint8), np.asarray(alpha, np.float32))


def line_kernel(dx: float, dy: float) -> Plane:
    """A normalised line of length |(dx, dy)| as a filter kernel."""
    half = int(np.ceil(max(abs(dx), abs(dy)) / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = np.round((np.array([[-dx, -dy], [dx, dy]]) / 2 + half) * 16).astype(int)
    cv2.line(kernel, tuple(map(int, ends[0])), tuple(map(int, ends[1])), (1.0,), 1, cv2.LINE_8, 4)
    return np.asarray(kernel / kernel.sum(), np.float32)


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


def cast_shadow(
    frame: Image, sprite: Sprite, foot: float, lean: tuple[float, float], strength: float, softness: float
) -> None:
    """Darken the ground where the sprite's silhouette, laid down at the row ``foot``, falls.

    Args:
        frame: The frame to darken, in place.
        sprite: The drawn actor.
        foot: The row of the frame where it touches the ground.
        lean: Sideways shift and height of the shadow per unit of the actor's height.
        strength: Darkening in [0, 1].
        softness: Blur in pixels.
    """
    height, width = frame.shape[:2]
    fy = foot - sprite.y
    shear, squash = lean
    lay = np.array([[1.0, -shear, shear * fy], [0.0, squash, fy - squash * fy]])
    h, w = sprite.alpha.shape
    corners = apply(lay, np.array([[0.0, 0], [w, 0], [0, h], [w, h]]))
    corners += (sprite.x, sprite.y)
    pad = int(3 * softness) + 1
    x0, y0 = (max(int(v) - pad, 0) for v in corners.min(0))
    x1, y1 = min(int(corners[:, 0].max()) + pad, width), min(int(corners[:, 1].max()) + pad, height)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    lay[:, 2] += (sprite.x - x0, sprite.y - y0)
    dark = cv2.warpAffine(sprite.alpha, lay, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    dark = 1 - np.float32(strength) * cv2.GaussianBlur(dark, (0, 0), softness)
    frame[y0:y1, x0:x1] = cv2.multiply(frame[y0:y1, x0:x1], cv2.merge([dark] * 3), dtype=cv2.CV_8U)
