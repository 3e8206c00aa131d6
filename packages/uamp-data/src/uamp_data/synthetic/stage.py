"""The stage of a clip: its setting, its light and the way of the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uamp_data.synthetic.curves import Floats, similarity, wander
from uamp_data.synthetic.render import Light

# What a scene can be, and how often.
SETTINGS = {"photo": 0.1, "texture": 0.07, "room": 0.3, "landscape": 0.45, "collage": 0.08}
# Where the horizon of a setting may lie, as a share of the frame's height; the others are flat or seen from above.
HORIZONS = {"room": (0.15, 0.6), "landscape": (0.1, 0.6)}


@dataclass(slots=True)
class Camera:
    """The camera's way.

    Attributes:
        shot: "still", "pan" (the actors stay where they are in the world) or "track" (they stay in the picture).
        shift: How far the scene has moved in the picture, T×2 pixels.
        zoom: Magnification, T.
        roll: Turn in radians, T.
        shake: What moves all layers alike, T×2 pixels.
    """

    shot: str
    shift: Floats
    zoom: Floats
    roll: Floats
    shake: Floats

    def map(self, frame: int, parallax: float, height: int, width: int) -> Floats:
        """The 2×3 map from scene pixels to frame pixels for a layer that follows the camera by ``parallax``."""
        zoom = float(self.zoom[frame]) ** parallax
        turn = similarity(float(self.roll[frame]), zoom, zoom, 0.0, 0.0)
        centre = np.array([width / 2, height / 2])
        turn[:, 2] = centre - turn[:, :2] @ centre + self.shift[frame] * parallax + self.shake[frame]
        return turn


@dataclass(slots=True)
class Stage:
    """Where and how a clip is filmed; ``horizon`` is the row where the ground begins on frame 0 (None: no ground)."""

    frames: int
    height: int
    width: int
    setting: str
    horizon: float | None
    light: Light
    camera: Camera


def make_light(rng: np.random.Generator) -> Light:
    """Draw a light from above, more or less from the side."""
    angle, tilt = rng.uniform(np.pi + 0.3, 2 * np.pi - 0.3), rng.uniform(0.5, 1.1)
    direction = (float(np.cos(angle) * np.sin(tilt)), float(np.sin(angle) * np.sin(tilt)), float(np.cos(tilt)))
    ambient = rng.uniform(0.3, 0.65)
    return Light(direction, ambient, 1.25 - ambient, rng.uniform(0, 0.5) if rng.random() < 0.4 else 0.0)


def make_camera(rng: np.random.Generator, frames: int, width: int, energy: float) -> Camera:
    """Draw the camera's way; ``energy`` in [0, 1] scales pan, zoom, roll and shake."""
    shot = str(rng.choice(["still", "pan", "track"], p=[0.12, 0.18, 0.7]))
    time = np.arange(frames)[:, None]
    shift = np.zeros((frames, 2))
    if shot != "still":
        # What stands in the world stays in view; who is followed may go far, but not farther than two frame widths.
        fastest = min(0.036, 2.0 / frames) if shot == "track" else 0.15 / max(frames, 16)
        drift = rng.choice([-1.0, 1.0]) * np.exp(rng.uniform(np.log(0.1), 0)) * fastest * width * energy
        swing = (0.06 if shot == "track" else 0.03) * width * energy
        pan = np.stack([wander(rng, frames, swing, rng.uniform(25, 80)) for _ in range(2)], 1)
        shift = drift * (time * (1.0, 0.1)) + pan * (1, 0.5)
    zoom = np.exp(wander(rng, frames, 0.12 * energy * (rng.random() < 0.4), 60.0))
    roll = wander(rng, frames, 0.05 * energy * (rng.random() < 0.35), 50.0)
    shake = rng.normal(0, 1, (frames, 2)) * 0.005 * width * energy * (rng.random() < 0.6)
    shake = (shake + np.roll(shake, 1, 0)) / 2
    if shot != "still" and rng.random() < 0.8:  # held by hand
        sway = np.exp(rng.uniform(np.log(0.008), np.log(0.045))) * width * energy
        shake = shake + np.stack([wander(rng, frames, sway, rng.uniform(10, 40)) for _ in range(2)], 1)
    return Camera(shot, shift, np.clip(zoom, 0.75, 1.5), roll, shake - shake[0])


def make_stage(rng: np.random.Generator, frames: int, height: int, width: int, energy: float) -> Stage:
    """Draw where a clip plays and how it is filmed."""
    setting = str(rng.choice(list(SETTINGS), p=list(SETTINGS.values())))
    horizon = rng.uniform(*HORIZONS[setting]) * height if setting in HORIZONS else None
    return Stage(frames, height, width, setting, horizon, make_light(rng), make_camera(rng, frames, width, energy))
