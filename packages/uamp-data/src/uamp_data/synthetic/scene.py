"""Planning a clip: who is in it, how everyone and the camera move, and what the light and the sensor do."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.synthetic.creatures import make_creature, make_plant, make_slab
from uamp_data.synthetic.curves import Floats, apply, path_through, ramp, similarity, wander
from uamp_data.synthetic.parts import Creature, Part
from uamp_data.synthetic.render import Light

# Areas of the tracked objects on frame 0, as a share of the frame.
SMALLEST, LARGEST = 0.005, 0.35
_SKETCH_SIDE = 96


@dataclass(slots=True)
class Actor:
    """Something that moves in front of the backdrop; label 0 is not tracked (distractors, look-alikes, occluders)."""

    role: str
    creature: Creature
    label: int
    depth: float
    texture_seed: int
    xy: Floats  # T×2 frame pixels
    scale: Floats  # T, pixels per unit of the creature
    angle: Floats  # T, radians
    yaw: Floats  # T, horizontal squash; negative is mirrored
    phase: Floats  # T, gait cycles
    shadow: float = 0.4
    defocus: float = 0.0
    like_backdrop: bool = False
    parts: list[list[Part]] = field(default_factory=list)  # filled by pose_all

    def pose_all(self) -> None:
        """Work out the parts of every frame once; planning and drawing both need them."""
        self.parts = [self.creature.pose(float(p)) for p in self.phase]

    def place(self, frame: int) -> Floats:
        """The 2×3 map from the creature's coordinates to frame pixels."""
        s = float(self.scale[frame])
        x, y = self.xy[frame]
        return similarity(float(self.angle[frame]), s * float(self.yaw[frame]), s, float(x), float(y))


@dataclass(slots=True)
class Camera:
    """The camera's way: shift in pixels, zoom and roll per frame, and a shake that moves all layers alike."""

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
class Scene:
    """A planned clip."""

    family: str
    height: int
    width: int
    light: Light
    camera: Camera
    actors: list[Actor]
    backdrop_seed: int

    def drawing_order(self) -> list[Actor]:
        """Actors from far to near."""
        return sorted(self.actors, key=lambda actor: actor.depth)


def sketch(scene: Scene, frame: int, only: int | None = None) -> NDArray[np.uint8]:
    """Draw labels alone, small and without textures, to check a plan cheaply."""
    factor = _SKETCH_SIDE / min(scene.height, scene.width)
    ids = np.zeros((round(scene.height * factor), round(scene.width * factor)), np.uint8)
    for actor in scene.drawing_order():
        if only is not None and actor.label != only:
            continue
        place = actor.place(frame) * factor
        for part in actor.parts[frame]:
            polygons = [np.round(apply(place, o) * 16 - 8).astype(np.int32) for o in part.outlines]
            cv2.fillPoly(ids, polygons, (actor.label,), cv2.LINE_8, 4)
    return ids


def visible_shares(scene: Scene) -> NDArray[np.float64]:
    """Share of the frame that each tracked object shows: T×N."""
    count = max(actor.label for actor in scene.actors)
    frames = len(scene.camera.zoom)
    shares = np.zeros((frames, count))
    for frame in range(frames):
        ids = sketch(scene, frame)
        shares[frame] = np.bincount(ids.ravel(), minlength=count + 1)[1:] / ids.size
    return shares


def unit_area(creature: Creature) -> tuple[float, float]:
    """Area and half extent of a creature in its own units, at rest."""
    ids = np.zeros((96, 96), np.uint8)
    parts = creature.pose(0.0)
    for part in parts:
        cv2.fillPoly(ids, [np.round((o * 30 + 48) * 16).astype(np.int32) for o in part.outlines], (1,), cv2.LINE_8, 4)
    points = np.vstack([part.outlines[0] for part in parts])
    return max(float(ids.sum()) / 900.0, 0.02), float(np.abs(points).max())


def roam(rng: np.random.Generator, frames: int, start: Floats, speed: float, height: int, width: int) -> Floats:
    """Wander about the frame from ``start`` at about ``speed`` pixels a frame: T×2."""
    every = 6
    heading = rng.uniform(0, 2 * np.pi)
    points = [start]
    for _ in range(max(1, -(-frames // every))):
        heading += rng.normal(0, 0.5)
        for _ in range(8):
            step = points[-1] + speed * every * np.array([np.cos(heading), 0.6 * np.sin(heading)])
            if 0.1 * width < step[0] < 0.9 * width and 0.15 * height < step[1] < 0.88 * height:
                break
            heading = rng.uniform(0, 2 * np.pi)
        points.append(np.clip(step, (0.05 * width, 0.1 * height), (0.95 * width, 0.92 * height)))
    return path_through(np.array(points), every * (len(points) - 1) + 1)[:frames]


def make_camera(rng: np.random.Generator, frames: int, height: int, width: int, energy: float) -> Camera:
    """Draw the camera's way; ``energy`` in [0, 1] scales pan, zoom, roll and shake."""
    drift = rng.uniform(-1, 1, 2) * energy * 0.008 * width * (rng.random() < 0.7)
    time = np.arange(frames)[:, None]
    pan = [wander(rng, frames, 0.06 * width * energy, rng.uniform(25, 80)) for _ in range(2)]
    shift = time * drift * (1, 0.4) + np.stack(pan, 1) * (1, 0.6)
    zoom = np.exp(wander(rng, frames, 0.12 * energy * (rng.random() < 0.5), 60.0) + 0.006 * energy * rng.normal() * time[:, 0])
    roll = wander(rng, frames, 0.06 * energy * (rng.random() < 0.4), 50.0)
    shake = rng.normal(0, 1, (frames, 2)) * 0.004 * width * energy * (rng.random() < 0.4)
    shake = (shake + np.roll(shake, 1, 0)) / 2
    return Camera(shift, np.clip(zoom, 0.75, 1.5), roll, shake - shake[0])


def cast_actor(
    rng: np.random.Generator,
    frames: int,
    size: tuple[int, int],
    *,
    creature: Creature,
    label: int,
    start: Floats,
    area: float,
    speed: float,
    swing: float = 0.15,
) -> Actor:
    """Make an actor that roams: ``area`` is its share of the frame, ``speed`` in pixels a frame, ``swing`` its scale change."""
    height, width = size
    own_area, extent = unit_area(creature)
    scale = min(np.sqrt(area * height * width / own_area), 0.48 * min(height, width) / extent)
    xy = roam(rng, frames, start, speed, height, width)
    travel = np.gradient(xy, axis=0)
    lively = rng.uniform(0.03, 0.12)
    phase = rng.random() + np.cumsum(lively * (0.4 + 0.6 * np.hypot(*travel.T) / max(speed, 1e-6)))
    yaw = np.ones(frames)
    if rng.random() < 0.4:
        yaw = 0.8 + wander(rng, frames, 0.3, rng.uniform(20, 60)).clip(-0.4, 0.25)
    angle = wander(rng, frames, rng.uniform(0.05, 0.35), rng.uniform(20, 60))
    if not creature.upright and creature.faces_travel:
        heading = np.unwrap(np.arctan2(travel[:, 1], travel[:, 0]))
        angle = cv2.GaussianBlur(heading[:, None], (1, 9), 2.0, borderType=cv2.BORDER_REPLICATE)[:, 0]
    elif not creature.upright:
        angle = angle + rng.uniform(0, 2 * np.pi) + np.arange(frames) * rng.normal(0, 0.04)
    elif creature.faces_travel:
        yaw = yaw * _facing(travel[:, 0])
    growth = np.exp(wander(rng, frames, swing, rng.uniform(25, 70)))
    return Actor(
        role="object" if label else "distractor",
        creature=creature,
        label=label,
        depth=rng.uniform(1, 2),
        texture_seed=int(rng.integers(2**31)),
        xy=xy,
        scale=scale * np.clip(growth, 0.5, 2.0),
        angle=angle,
        yaw=yaw,
        phase=phase,
        shadow=rng.uniform(0.2, 0.55) if rng.random() < 0.75 else 0.0,
        like_backdrop=bool(rng.random() < 0.1),
    )


def _facing(travel_x: Floats) -> Floats:
    """Which way a side-view animal looks, turning through a narrow view instead of flipping at once."""
    facing = np.empty(len(travel_x))
    now = 1.0 if travel_x[: max(1, len(travel_x) // 4)].sum() >= 0 else -1.0
    want = now
    for t, vx in enumerate(travel_x):
        if abs(vx) > 0.3 and np.sign(vx) != want:
            want = float(np.sign(vx))
        now = float(np.clip(now + 0.34 * (want - now), -1, 1))
        facing[t] = np.sign(now) * max(abs(now), 0.3) if now else 0.3
    return facing


def make_light(rng: np.random.Generator) -> Light:
    """Draw a light from above, more or less from the side."""
    angle, tilt = rng.uniform(np.pi + 0.3, 2 * np.pi - 0.3), rng.uniform(0.5, 1.1)
    direction = (float(np.cos(angle) * np.sin(tilt)), float(np.sin(angle) * np.sin(tilt)), float(np.cos(tilt)))
    ambient = rng.uniform(0.3, 0.65)
    return Light(direction, ambient, 1.25 - ambient, rng.uniform(0, 0.5) if rng.random() < 0.4 else 0.0)


def occluder(rng: np.random.Generator, frames: int, size: tuple[int, int], half_width: float) -> Actor:
    """Make an untracked slab, pole or plant of ``half_width`` pixels that stands still at the frame's middle."""
    height, width = size
    long = max(height, width) * rng.uniform(0.8, 1.3)
    if rng.random() < 0.25 and half_width > 0.06 * width:
        creature, scale = make_plant(rng), half_width * 1.5
    else:
        scale = long
        creature = make_slab(rng, half_width / scale, 1.0)
    still = np.ones(frames)
    return Actor(
        role="occluder",
        creature=creature,
        label=0,
        depth=3.0 + rng.random(),
        texture_seed=int(rng.integers(2**31)),
        xy=np.tile([[width / 2, height / 2]], (frames, 1)),
        scale=scale * still,
        angle=still * 0.0,
        yaw=still,
        phase=np.arange(frames) * 0.03,
        shadow=0.0,
        defocus=rng.uniform(0, 0.008) * width if rng.random() < 0.4 else 0.0,
        like_backdrop=bool(rng.random() < 0.15),
    )


def leave_and_return(rng: np.random.Generator, actor: Actor, height: int, width: int) -> None:
    """Bend an actor's way so that it is outside the frame for a while and comes back."""
    frames = len(actor.scale)
    extent = 1.5 * float(actor.scale.max())
    gone, back = frames * rng.uniform(0.35, 0.45), frames * rng.uniform(0.6, 0.7)
    away = ramp(frames, frames * 0.08, gone) - ramp(frames, back, frames * 0.97)
    side = rng.choice([-1.0, 1.0])
    exit_x = -extent if side < 0 else width + extent
    target = np.array([exit_x, actor.xy[0, 1]])
    actor.xy = actor.xy * (1 - away)[:, None] + target * away[:, None]
    if actor.creature.faces_travel and actor.creature.upright:
        actor.yaw = np.abs(actor.yaw) * _facing(np.gradient(actor.xy[:, 0]))


def pass_behind(rng: np.random.Generator, target: Actor, screen: Actor, half_width: float, size: tuple[int, int]) -> None:
    """Make ``screen`` sweep over ``target`` around the middle of the clip, and be clear of it on the first frame."""
    height, width = size
    frames = len(target.scale)
    middle = frames * rng.uniform(0.4, 0.6)
    reach = half_width + 1.2 * float(target.scale.max())
    speed = reach / middle * rng.uniform(1.05, 1.5) * rng.choice([-1.0, 1.0])
    relative = speed * (np.arange(frames) - middle)
    # The relative motion is shared out between the two: a walker behind a pole, or a slab that is pushed past.
    own = rng.uniform(0, 1) * min(1.0, 0.35 * width / max(1e-6, abs(relative[0])))
    meet = target.xy[int(middle)].copy()
    meet[0] = np.clip(meet[0], 0.3 * width, 0.7 * width)
    calm = meet + 0.35 * (target.xy - target.xy[int(middle)])
    target.xy = calm - np.stack([own * relative, 0 * relative], 1)
    screen.xy = calm * (1, 0) + (0, height / 2) + np.stack([(1 - own) * relative, 0 * relative], 1)
    if screen.creature.kind == "plant":
        screen.xy[:, 1] = meet[1] + 0.1 * height
    if target.creature.faces_travel and target.creature.upright:
        target.yaw = np.abs(target.yaw) * _facing(np.gradient(target.xy[:, 0]))
