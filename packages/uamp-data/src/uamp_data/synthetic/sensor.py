"""What the camera does to the picture: exposure, colour, focus, noise and compression."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.curves import Floats, wander

Image = NDArray[np.uint8]


@dataclass(slots=True)
class Sensor:
    """Settings of one clip, per frame where they change."""

    gain: Floats  # T×3, factor per channel
    gamma: float
    focus: Floats  # T, blur in pixels
    noise: float
    quality: int  # JPEG quality; 0 is off
    flicker: float
    vignette: NDArray[np.float32] | None
    sharpness: float  # strength of the unsharp mask
    colour: NDArray[np.float32]  # 3×3, desaturation
    tone: NDArray[np.float64]  # target mean and spread of the brightness
    grain: NDArray[np.int16]
    offsets: NDArray[np.int64]  # T×2, where in the grain each frame starts
    radius: float  # of the unsharp mask, in pixels
    levels: Floats = field(default_factory=lambda: np.arange(256) / 255.0)  # brightness curve, set by the meter


def make_sensor(rng: np.random.Generator, family: str, frames: int, height: int, width: int) -> Sensor:
    """Draw the settings; the family "light" has far stronger ones, "calm" hardly any."""
    force = {"light": 1.0, "calm": 0.1}.get(family, 0.35)
    exposure = wander(rng, frames, force * rng.uniform(0.25, 0.6), rng.uniform(15, 45)) + force * rng.uniform(-0.5, 0.2)
    tint = np.stack([wander(rng, frames, 0.08 * force, 60.0) + rng.normal(0, 0.05) for _ in range(3)], 1)
    if family == "light" and rng.random() < 0.35:  # a lamp is switched
        exposure = exposure + rng.choice([-0.7, 0.5]) * (
            np.arange(frames) >= rng.integers(frames // 4, max(frames // 4 + 1, frames))
        )
    base = rng.uniform(0, 0.004) * force if rng.random() < 0.35 else 0.0
    focus = base * width + np.abs(wander(rng, frames, 0.006 * width * force * (rng.random() < 0.4), 30.0))
    vignette = None
    if rng.random() < 0.4:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        vignette = (1 - rng.uniform(0.1, 0.45) * 0.5 * (x * x + y * y)).astype(np.float32)
    noise = float(rng.choice([0.0, 2.0, 5.0, 10.0])) * force * rng.uniform(0.5, 1.6)
    coarse = rng.normal(0, 1, (height + 32, width + 32, 3)).astype(np.float32)
    if rng.random() < 0.5:
        coarse = cv2.GaussianBlur(coarse, (0, 0), 0.7) * np.float32(2)
    grain = np.round(coarse * np.float32(noise)).astype(np.int16)
    quality = (
        int(rng.integers(25, 60))
        if rng.random() < 0.25 * (1 + force)
        else int(rng.integers(60, 96))
        if rng.random() < 0.6
        else 0
    )
    grey = np.array([[0.299, 0.587, 0.114]] * 3)
    return Sensor(
        gain=np.exp(np.clip(exposure[:, None] + tint, -1.3, 0.35)),
        gamma=float(np.exp(rng.normal(0, 0.12))),
        focus=focus,
        noise=noise,
        quality=quality,
        flicker=float(rng.uniform(0.03, 0.15)) if family == "light" and rng.random() < 0.3 else 0.0,
        vignette=vignette,
        sharpness=float(rng.uniform(0.2, 1.2)) if rng.random() < 0.75 else 0.0,
        colour=(grey + rng.uniform(0.35, 0.95) * (np.eye(3) - grey)).astype(np.float32),
        tone=np.array([rng.uniform(85, 150), rng.uniform(36, 62)]),
        grain=grain,
        offsets=rng.integers(0, 32, (frames, 2)),
        radius=max(0.8, 0.0022 * width),
    )


def meter(sensor: Sensor, frame: Image) -> None:
    """Set the exposure as a camera does: by the first frame, towards the clip's own brightness and contrast."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    mean, spread = float(grey.mean()), max(float(grey.std()), 1.0)
    contrast = float(np.clip(sensor.tone[1] / spread, 0.75, 1.8))
    levels = (np.arange(256) - mean) * contrast + np.clip(sensor.tone[0], mean - 35, mean + 45)
    # Soft ends instead of hard clips keep shadows and highlights from turning into flat patches.
    levels = np.where(levels > 205, 205 + 50 * np.tanh((levels - 205) / 50), levels)
    levels = np.where(levels < 35, 35 + 35 * np.tanh((levels - 35) / 35), levels)
    sensor.levels = (levels.clip(0, 255) / 255) ** sensor.gamma


def expose(sensor: Sensor, frame: Image, index: int) -> Image:
    """Take frame ``index`` as the sensor sees it."""
    height, width = frame.shape[:2]
    if sensor.focus[index] > 0.35:
        frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), float(sensor.focus[index])), np.uint8)
    if sensor.vignette is not None or sensor.flicker:
        light = sensor.vignette if sensor.vignette is not None else np.ones((height, width), np.float32)
        if sensor.flicker:
            rows = np.sin(np.arange(height) * (9.0 / height) + 1.7 * index).astype(np.float32)[:, None]
            light = light * (1 + np.float32(sensor.flicker) * rows)
        frame = np.asarray(cv2.multiply(frame, cv2.merge([light] * 3), dtype=cv2.CV_8U), np.uint8)
    exposed = 255 * sensor.levels[:, None] * sensor.gain[index][None]
    table = np.where(exposed > 200, 200 + 55 * np.tanh((exposed - 200) / 55), exposed).clip(0, 255).astype(np.uint8)
    frame = np.asarray(cv2.LUT(cv2.transform(frame, sensor.colour), table[None]), np.uint8)
    if sensor.sharpness:
        soft = cv2.GaussianBlur(frame, (0, 0), sensor.radius)
        frame = np.asarray(cv2.addWeighted(frame, 1 + sensor.sharpness, soft, -sensor.sharpness, 0), np.uint8)
    if sensor.noise > 0:
        y, x = sensor.offsets[index]
        frame = np.asarray(cv2.add(frame, sensor.grain[y : y + height, x : x + width], dtype=cv2.CV_8U), np.uint8)
    if sensor.quality:
        coded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])[1]
        frame = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    return frame
