"""Building blocks of a creature: parts with an outline, a texture and a frame that moves with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.curves import Floats, closed_outline, fit_affine


@dataclass(frozen=True, slots=True)
class Part:
    """One part at one moment, in the creature's own coordinates (its body spans about [-1, 1]).

    Attributes:
        outlines: Closed polygons n×2; a second one inside the first cuts a hole.
        texture: Index of the texture it wears.
        frame: 2×3 map from texture coordinates at rest to here, so that texture sticks to the part.
        roundness: Radius of the shaded edge, in the same units; 0 is flat.
        tone: Brightness factor (the far legs of an animal are darker).
        joins: It continues the surface of the part before it, and the two are shaded as one.
    """

    outlines: tuple[Floats, ...]
    texture: int
    frame: Floats
    roundness: float
    tone: float = 1.0
    joins: bool = False


@dataclass(frozen=True, slots=True)
class Creature:
    """A shape that moves.

    Attributes:
        kind: What it is.
        textures: How many textures it wears.
        pose: Gives its parts from back to front at a phase; one phase unit is one gait cycle.
        faces_travel: It looks the way it goes (drawn looking to the right).
        upright: It keeps its feet down; otherwise it turns freely.
        walks: It belongs on the ground.
        skin: Makes the texture of slot 0 with the given side; None draws any texture.
    """

    kind: str
    textures: int
    pose: Callable[[float], list[Part]]
    faces_travel: bool = False
    upright: bool = True
    walks: bool = False
    skin: Callable[[np.random.Generator, int], NDArray[np.uint8]] | None = None


def ellipse(x: float, y: float, radius_x: float, radius_y: float, points: int = 18) -> Floats:
    """Sample an ellipse as an n×2 polygon."""
    angle = np.arange(points) * (2 * np.pi / points)
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], 1)


def bone(
    start: Floats,
    end: Floats,
    radius_start: float,
    radius_end: float,
    texture: int,
    *,
    tone: float = 1.0,
    rest: float = 0.0,
    joins: bool = False,
) -> Part:
    """Make a tapered limb with round ends; ``rest`` shifts its texture so that neighbours differ."""
    axis = end - start
    length = max(float(np.hypot(axis[0], axis[1])), 1e-6)
    c, s = axis / length
    half = np.linspace(-np.pi / 2, np.pi / 2, 7)
    tip = np.stack([length + radius_end * np.cos(half), radius_end * np.sin(half)], 1)
    root = np.stack([-radius_start * np.cos(half), -radius_start * np.sin(half)], 1)
    turn = np.array([[c, -s], [s, c]])
    outline = np.vstack([tip, root]) @ turn.T + start
    frame = np.hstack([turn, (start + turn @ np.array([rest, 0.0]))[:, None]])
    return Part((outline,), texture, frame, max(radius_start, radius_end), tone, joins)


def chain(joints: Floats, radii: Floats, texture: int, *, tone: float = 1.0) -> list[Part]:
    """Make a limb, tail or trunk of bones through K×2 joints, shaded as one."""
    lengths = np.hypot(*np.diff(joints, axis=0).T)
    rest = -np.concatenate([[0.0], np.cumsum(lengths)]) + 0.5
    return [
        bone(
            joints[k],
            joints[k + 1],
            float(radii[k]),
            float(radii[k + 1]),
            texture,
            tone=tone,
            rest=float(rest[k]),
            joins=k > 0,
        )
        for k in range(len(joints) - 1)
    ]


def swing_chain(origin: Floats, lengths: Floats, angles: Floats) -> Floats:
    """Lay a chain of segments from ``origin`` along absolute angles (radians): (K+1)×2 joints."""
    steps = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    joints: Floats = np.vstack([origin, origin + np.cumsum(steps, 0)])
    return joints


@dataclass(frozen=True, slots=True)
class Wobble:
    """Periodic motion of the control points of an outline: breathing, bending and shearing."""

    amount: Floats
    phases: Floats
    rates: Floats
    bend: float
    shear: float
    offset: float

    @staticmethod
    def draw(rng: np.random.Generator, controls: int, strength: float) -> Wobble:
        """Draw the motion of ``controls`` points with about ``strength`` relative amplitude."""
        return Wobble(
            amount=rng.uniform(0, strength, controls),
            phases=rng.uniform(0, 2 * np.pi, controls),
            rates=rng.choice([0.5, 1.0, 1.5], controls),
            bend=rng.uniform(-1, 1) * strength,
            shear=rng.uniform(-1, 1) * strength,
            offset=rng.uniform(0, 2 * np.pi),
        )

    def at(self, rest: Floats, phase: float) -> Floats:
        """Move K×2 control points at rest to where they are at ``phase``."""
        turn = 2 * np.pi * phase
        scale = 1 + self.amount * np.sin(turn * self.rates + self.phases)
        moved = rest * scale[:, None]
        sway = np.sin(turn + self.offset)
        x = moved[:, 0] + self.shear * sway * moved[:, 1]
        y = moved[:, 1] + self.bend * sway * (moved[:, 0] ** 2 - 0.3)
        return np.stack([x, y], 1)


def blob(rest: Floats, now: Floats, texture: int, roundness: float, *, tone: float = 1.0) -> Part:
    """Make a closed smooth part whose texture stretches with its control points."""
    return Part((closed_outline(now),), texture, fit_affine(rest, now), roundness, tone)


def random_ring(rng: np.random.Generator, controls: int, radius_x: float, radius_y: float, roughness: float) -> Floats:
    """Draw K×2 control points around an ellipse, pushed in and out by ``roughness`` in [0, 1]."""
    angle = (np.arange(controls) + rng.uniform(-0.25, 0.25, controls)) * (2 * np.pi / controls)
    radius = 1 - roughness * rng.random(controls)
    return np.stack([radius_x * radius * np.cos(angle), radius_y * radius * np.sin(angle)], 1)


def spine_outline(spine: Floats, widths: Floats) -> Floats:
    """Wrap a K×2 spine in an outline of the given half widths: (2K)×2."""
    tangent = np.gradient(spine, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-6)[:, None]
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) * widths[:, None]
    return np.vstack([spine + normal, (spine - normal)[::-1]])
