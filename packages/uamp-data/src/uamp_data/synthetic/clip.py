"""From a seed to a clip: plan, draw, expose."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.backdrop import Layer, make_backdrop, view
from uamp_data.synthetic.families import FAMILIES, pick_window, plan
from uamp_data.synthetic.kinds import dress
from uamp_data.synthetic.materials import surface
from uamp_data.synthetic.render import (
    TILE_SPAN,
    cast_shadow,
    draw_parts,
    lay_over,
    line_kernel,
    motion_blur,
    ripple,
    soften,
)
from uamp_data.synthetic.scene import Actor, Scene
from uamp_data.synthetic.sensor import expose, make_sensor, meter
from uamp_data.synthetic.textures import make_texture

GENERATOR_VERSION = 4
"""Goes up whenever the same seed gives other pictures."""

_FRAME_RATE = 24.0
_LONGEST_SMEAR = 0.3  # of a creature's half size
_SHUTTER = 0.5  # share of the time between frames during which the shutter is open

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SyntheticClip:
    """A generated clip with exact masks.

    Attributes:
        frames: T×H×W×3 uint8 RGB.
        masks: T×H×W uint8, ids 1..N of the visible pixels of each object, 0 elsewhere.
        name: A readable name made of family and seed.
        seed: What it was made from.
        family: What the clip shows (for "mixed": the family that was drawn).
        frame_rate: Frames a second.
        first_frame: Where in the whole clip the frames begin.
    """

    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    name: str
    seed: int
    family: str
    frame_rate: float
    first_frame: int = 0


def generate_clip(
    seed: int,
    *,
    num_frames: int = 24,
    size: tuple[int, int] = (256, 256),
    family: str = "mixed",
    num_objects: int | None = None,
    window: int | tuple[int, int] | None = None,
) -> SyntheticClip:
    """Generate a clip of textured, deforming creatures over a moving scene.

    The same arguments always give the same bytes. Every object is visible on frame 0.

    Args:
        seed: Any integer from 0.
        num_frames: Frames in the clip, from 1.
        size: Height and width in pixels, each from 32.
        family: One of "mixed", "occlusion", "lookalike", "fast", "reentry", "scale", "light", "calm".
        num_objects: How many objects are tracked, 1 to 8; None draws it.
        window: Draw only a part of the clip, with the same bytes as those frames of the whole: (first frame, number of
            frames), or only a number, and the seed chooses a part on whose first frame an object is well visible.

    Raises:
        ValueError: An argument is outside its range.
    """
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}: use one of {', '.join(FAMILIES)}.")
    if num_frames < 1 or min(size) < 32 or seed < 0 or not (num_objects is None or 1 <= num_objects <= 8):
        raise ValueError("generate_clip needs num_frames >= 1, a size of at least 32×32, seed >= 0 and 1 to 8 objects.")
    wanted = window[1] if isinstance(window, tuple) else num_frames if window is None else window
    first = window[0] if isinstance(window, tuple) else 0
    if not (wanted >= 1 and 0 <= first <= num_frames - wanted):
        raise ValueError(f"generate_clip needs a window inside the clip's {num_frames} frames, not {window}.")
    scene = plan(seed, family, num_frames, size, num_objects)
    if isinstance(window, int):
        first = pick_window(scene, seed, window)
    frames, masks = _draw(scene, seed, range(first, first + wanted))
    return SyntheticClip(frames, masks, f"{scene.family}-{seed:06d}", seed, scene.family, _FRAME_RATE, first)


def _tiles(actor: Actor, layers: list[Layer]) -> list[Image]:
    """Draw an actor's textures at about one texture pixel per frame pixel."""
    side = int(np.clip(2 * TILE_SPAN * float(actor.scale.mean()), 48, 512))
    rng = np.random.default_rng(actor.texture_seed)
    if actor.role == "occluder":
        tiles = [surface(rng, side, side, str(rng.choice(("wood", "concrete", "foliage", "brick", "shade"))))]
        tiles += [make_texture(rng, side, side) for _ in range(actor.creature.textures - 1)]
    else:
        tiles = dress(rng, actor.creature, side)
    if actor.like_backdrop:
        image = layers[0].image
        span = min(side, *image.shape[:2])
        y, x = int(rng.integers(image.shape[0] - span + 1)), int(rng.integers(image.shape[1] - span + 1))
        tiles[0] = np.asarray(cv2.resize(image[y : y + span, x : x + span], (side, side)), np.uint8)
    return tiles


def _draw(scene: Scene, seed: int, moments: range) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    height, width = scene.stage.height, scene.stage.width
    count = scene.stage.frames
    layers = make_backdrop(np.random.default_rng(scene.backdrop_seed), scene.stage)
    sensor = make_sensor(np.random.default_rng([seed, 2]), scene.family, count, height, width)
    actors = scene.drawing_order()
    tiles = [_tiles(actor, layers) for actor in actors]
    frames = np.empty((len(moments), height, width, 3), np.uint8)
    masks = np.zeros((len(moments), height, width), np.uint8)
    meter(sensor, _draw_backdrop(scene, layers, 0))
    for k, t in enumerate(moments):
        frame = _draw_backdrop(scene, layers, t)
        for actor, skins in zip(actors, tiles, strict=True):
            _draw_actor(scene, actor, skins, frame, masks[k], t)
        frames[k] = expose(sensor, frame, t)
    return frames, masks


def _draw_backdrop(scene: Scene, layers: list[Layer], t: int) -> Image:
    height, width = scene.stage.height, scene.stage.width
    frame: Image | None = None
    for layer in layers:
        frame = view(layer, scene.stage.camera.map(t, layer.parallax, height, width), height, width, frame)
    assert frame is not None
    dx, dy = _velocity(scene.stage.camera.shift + scene.stage.camera.shake, t) * _SHUTTER
    if np.hypot(dx, dy) > 1.5:
        frame = np.asarray(cv2.filter2D(frame, -1, line_kernel(dx, dy)), np.uint8)
    return frame


def _velocity(path: NDArray[np.float64], t: int) -> NDArray[np.float64]:
    before, after = max(t - 1, 0), min(t + 1, len(path) - 1)
    step: NDArray[np.float64] = (path[after] - path[before]) / max(after - before, 1)
    return step


def _draw_actor(scene: Scene, actor: Actor, skins: list[Image], frame: Image, ids: Image, t: int) -> None:
    dx, dy = _velocity(actor.xy + scene.stage.camera.shake, t) * _SHUTTER
    # Longer smears would leave nothing of the actor that covers half a pixel.
    shorten = min(1.0, _LONGEST_SMEAR * float(actor.scale[t]) / max(float(np.hypot(dx, dy)), 1e-6))
    dx, dy = dx * shorten, dy * shorten
    waves = actor.jelly * np.array([actor.scale[t], actor.scale[t], 1.0])
    margin = int(max(abs(dx), abs(dy)) / 2 + 3 * actor.defocus + waves[:, 0].max()) + 3
    place = actor.place(t)
    place[:, 2] += scene.stage.camera.shake[t]
    sprite = draw_parts(
        actor.parts(t), skins, place, scene.stage.light, (scene.stage.height, scene.stage.width), margin
    )
    if sprite is None:
        return
    sprite = ripple(sprite, waves, (float(place[0, 2]), float(place[1, 2])), float(actor.phase[t]))
    sprite = soften(motion_blur(sprite, float(dx), float(dy)), actor.defocus)
    if actor.shadow:
        covered = np.flatnonzero(sprite.alpha.max(1) > 0.5)
        if len(covered):
            foot = float(sprite.y + covered[-1])
            lean = (
                (1.6 * scene.stage.light.direction[0], 0.35)
                if actor.grounded
                else (0.5 * scene.stage.light.direction[0], 0.8)
            )
            cast_shadow(frame, sprite, foot, lean, actor.shadow, max(1.0, 0.05 * float(actor.scale[t])))
    lay_over(frame, ids, sprite, actor.label)
