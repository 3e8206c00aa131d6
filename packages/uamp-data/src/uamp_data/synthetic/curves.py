"""Smooth random curves in time and smooth closed outlines in the plane."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SAMPLES = 6  # points of an outline for each of its control points


def wander(rng: np.random.Generator, num_frames: int, amplitude: float, period: float) -> Floats:
    """Draw a smooth curve of ``num_frames`` values that starts at 0 and swings by about ``amplitude``.

    Args:
        rng: Source of randomness.
        num_frames: Number of values.
        amplitude: Typical size of the swing.
        period: Length in frames of the slowest of the three waves that are summed.
    """
    time = np.arange(num_frames, dtype=np.float64)
    curve = np.zeros(num_frames)
    for octave in range(3):
        phase = rng.uniform(0, 2 * np.pi)
        rate = 2 * np.pi / period * (1.0, 1.7, 2.9)[octave] * rng.uniform(0.8, 1.2)
        curve += (0.6, 0.3, 0.1)[octave] * (np.sin(rate * time + phase) - np.sin(phase))
    return amplitude * curve


def ramp(num_frames: int, start: float, end: float) -> Floats:
    """Rise smoothly from 0 to 1 between the moments ``start`` and ``end`` (in frames)."""
    time = np.arange(num_frames, dtype=np.float64)
    x = np.clip((time - start) / max(end - start, 1e-6), 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def path_through(points: Floats, num_frames: int) -> Floats:
    """Run a Catmull-Rom curve through K×2 way points in ``num_frames`` equal steps of the parameter: T×2."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    u = np.linspace(0, len(points) - 1, num_frames)
    left = np.minimum(u.astype(int), len(points) - 2)
    f = (u - left)[:, None]
    a, b, c, d = (padded[left + k] for k in range(4))
    curve: Floats = 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)
    return curve


@lru_cache(maxsize=64)
def _closed_basis(num_controls: int) -> Floats:
    """Weights (6K)×K that turn K control points into a closed Catmull-Rom outline."""
    f = np.arange(_SAMPLES) / _SAMPLES
    weights = 0.5 * np.stack([-f + 2 * f**2 - f**3, 2 - 5 * f**2 + 3 * f**3, f + 4 * f**2 - 3 * f**3, -(f**2) + f**3])
    basis = np.zeros((num_controls * _SAMPLES, num_controls))
    for k in range(num_controls):
        for j in range(4):
            basis[k * _SAMPLES : (k + 1) * _SAMPLES, (k - 1 + j) % num_controls] += weights[j]
    basis.setflags(write=False)
    return basis


def closed_outline(controls: Floats) -> Floats:
    """Run a smooth closed outline through K×2 control points: (6K)×2."""
    outline: Floats = _closed_basis(len(controls)) @ controls
    return outline


def fit_affine(source: Floats, target: Floats) -> Floats:
    """Find the 2×3 affine map that best carries K×2 source points to K×2 target points (least squares)."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    centred = source - source_mean
    # The small ridge keeps outlines that have collapsed to a line from blowing up.
    gram = centred.T @ centred + 1e-6 * np.eye(2)
    linear = np.linalg.solve(gram, centred.T @ (target - target_mean)).T
    return np.hstack([linear, (target_mean - linear @ source_mean)[:, None]])


def compose(outer: Floats, inner: Floats) -> Floats:
    """Compose two 2×3 affine maps: first ``inner``, then ``outer``."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.hstack([linear, (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]])


def apply(affine: Floats, points: Floats) -> Floats:
    """Apply a 2×3 affine map to K×2 points."""
    moved: Floats = points @ affine[:, :2].T + affine[:, 2]
    return moved


def similarity(angle: float, scale_x: float, scale_y: float, x: float, y: float) -> Floats:
    """Build the 2×3 map that scales, turns by ``angle`` (radians) and shifts to (x, y)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c * scale_x, -s * scale_y, x], [s * scale_x, c * scale_y, y]])
