"""A planned clip: the stage, the actors and where they are in every frame, and a cheap sketch of the labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.curves import Floats, apply, similarity
from uamp_data.synthetic.parts import Creature, Part
from uamp_data.synthetic.stage import Stage

_SKETCH_SIDE = 96


@dataclass(slots=True)
class Actor:
    """Something that moves in front of the backdrop.

    Attributes:
        role: "object", "distractor", "lookalike" or "occluder".
        creature: Its shape.
        label: Its id in the masks; 0 is not tracked.
        depth: Larger is nearer.
        texture_seed: What its textures are drawn from.
        xy: Where it is, T×2 frame pixels.
        scale: Pixels per unit of the creature, T.
        angle: Turn in radians, T.
        yaw: Horizontal squash, T; negative is mirrored.
        phase: Gait cycles, T.
        jelly: Waves that bend it, 2×3: amplitude and length in units of the creature, offset in radians.
        shadow: Strength of its shadow on the ground.
        defocus: Blur in pixels.
        grounded: It stands on the ground.
        like_backdrop: It wears a piece of the backdrop.
        poses: Its parts by frame, as far as they have been worked out.
    """

    role: str
    creature: Creature
    label: int
    depth: float
    texture_seed: int
    xy: Floats
    scale: Floats
    angle: Floats
    yaw: Floats
    phase: Floats
    jelly: Floats
    shadow: float = 0.4
    defocus: float = 0.0
    grounded: bool = False
    like_backdrop: bool = False
    poses: dict[int, list[Part]] = field(default_factory=dict)

    def parts(self, frame: int) -> list[Part]:
        """Its parts in a frame, from back to front; worked out once, as planning and drawing both need them."""
        if frame not in self.poses:
            self.poses[frame] = self.creature.pose(float(self.phase[frame]))
        return self.poses[frame]

    def place(self, frame: int) -> Floats:
        """The 2×3 map from the creature's coordinates to frame pixels."""
        s = float(self.scale[frame])
        x, y = self.xy[frame]
        return similarity(float(self.angle[frame]), s * float(self.yaw[frame]), s, float(x), float(y))


@dataclass(slots=True)
class Scene:
    """A planned clip."""

    family: str
    stage: Stage
    actors: list[Actor]
    backdrop_seed: int

    def drawing_order(self) -> list[Actor]:
        """Actors from far to near."""
        return sorted(self.actors, key=lambda actor: actor.depth)


def sketch(scene: Scene, frame: int) -> NDArray[np.uint8]:
    """Draw labels alone, small and without textures, to check a plan cheaply."""
    factor = _SKETCH_SIDE / min(scene.stage.height, scene.stage.width)
    ids = np.zeros((round(scene.stage.height * factor), round(scene.stage.width * factor)), np.uint8)
    for actor in scene.drawing_order():
        place = actor.place(frame)
        place[:, 2] += scene.stage.camera.shake[frame]
        place *= factor
        for part in actor.parts(frame):
            polygons = [np.round(apply(place, o) * 16 - 8).astype(np.int32) for o in part.outlines]
            cv2.fillPoly(ids, polygons, (actor.label,), cv2.LINE_8, 4)
    return ids


def visible_shares(scene: Scene, every: int = 1) -> NDArray[np.float64]:
    """Share of the frame that each tracked object shows, on every ``every``-th frame: K×N."""
    count = max(actor.label for actor in scene.actors)
    moments = range(0, scene.stage.frames, every)
    shares = np.zeros((len(moments), count))
    for row, frame in zip(shares, moments, strict=True):
        ids = sketch(scene, frame)
        row[:] = np.bincount(ids.ravel(), minlength=count + 1)[1:] / ids.size
    return shares
