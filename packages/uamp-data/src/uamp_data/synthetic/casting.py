"""Casting: actors with their ways through a clip, and the choreography that a family needs."""

from __future__ import annotations

import cv2
import numpy as np

from uamp_data.synthetic.creatures import make_plant, make_slab
from uamp_data.synthetic.curves import Floats, path_through, ramp, wander
from uamp_data.synthetic.parts import Creature
from uamp_data.synthetic.scene import Actor
from uamp_data.synthetic.stage import Stage

_NO_JELLY = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])


def unit_area(creature: Creature) -> tuple[float, float, float]:
    """Area, half extent and lowest point of a creature in its own units, at rest."""
    ids = np.zeros((96, 96), np.uint8)
    parts = creature.pose(0.0)
    for part in parts:
        cv2.fillPoly(ids, [np.round((o * 30 + 48) * 16).astype(np.int32) for o in part.outlines], (1,), cv2.LINE_8, 4)
    points = np.vstack([part.outlines[0] for part in parts])
    return max(float(ids.sum()) / 900.0, 0.02), float(np.abs(points).max()), float(points[:, 1].max())


def roam(
    rng: np.random.Generator, stage: Stage, start: Floats, speed: float, *, level: float = 0.6, reach: float = 0.0
) -> Floats:
    """Wander about the frame from ``start`` at about ``speed`` pixels a frame, less up and down by ``level``: T×2.

    An actor that extends ``reach`` pixels to all sides stays inside the frame for the most part.
    """
    every, width, height = 6, stage.width, stage.height
    inset = min(max(reach, 0.12 * width), 0.42 * width), min(max(reach, 0.15 * height), 0.42 * height)
    heading = rng.choice([0.0, np.pi]) + rng.normal(0, 0.6)
    points = [start]
    for _ in range(max(1, -(-stage.frames // every))):
        heading += rng.normal(0, 0.35)
        step = points[-1]
        for _ in range(8):
            step = points[-1] + speed * every * np.array([np.cos(heading), level * np.sin(heading)])
            if inset[0] < step[0] < width - inset[0] and inset[1] < step[1] < height - inset[1]:
                break
            heading = np.arctan2(height / 2 - step[1], width / 2 - step[0]) + rng.normal(0, 0.9)
        points.append(np.clip(step, (0.05 * width, 0.1 * height), (0.95 * width, 0.92 * height)))
    return path_through(np.array(points), every * (len(points) - 1) + 1)[: stage.frames]


def facing(travel_x: Floats, pace: float) -> Floats:
    """Which way a side-view animal looks; it turns through a narrow view, and only for a way faster than ``pace``."""
    way = np.empty(len(travel_x))
    smooth = np.convolve(np.pad(travel_x, 7, mode="edge"), np.ones(15) / 15, mode="valid")
    now = want = 1.0 if smooth[: max(1, len(smooth) // 4)].sum() >= 0 else -1.0
    for t, vx in enumerate(smooth):
        if abs(vx) > pace and np.sign(vx) != want:
            want = float(np.sign(vx))
        now = float(np.clip(now + 0.2 * (want - now), -1, 1))
        way[t] = np.copysign(max(abs(now), 0.35), now)
    return way


def cast_actor(
    rng: np.random.Generator, stage: Stage, creature: Creature, label: int, start: Floats, area: float, speed: float
) -> Actor:
    """Make an actor that roams from ``start``.

    Args:
        rng: Source of randomness.
        stage: Where it acts.
        creature: Its shape.
        label: Its id in the masks; 0 is not tracked.
        start: Where it is on frame 0, in pixels.
        area: Its share of the frame.
        speed: Pixels a frame.
    """
    frames, height, width = stage.frames, stage.height, stage.width
    own_area, extent, foot = unit_area(creature)
    scale = min(np.sqrt(area * height * width / own_area), 0.55 * min(height, width) / extent)
    growth = scale * np.clip(np.exp(wander(rng, frames, rng.choice([0.03, 0.1, 0.2]), rng.uniform(30, 80))), 0.5, 2.0)
    grounded = creature.walks and stage.horizon is not None and rng.random() < 0.95
    reach = float(scale) * extent * rng.choice([0.5, 0.8, 1.0], p=[0.2, 0.3, 0.5])
    xy = roam(rng, stage, start, speed, level=0.25 if grounded else 0.6, reach=reach)
    # It gets ahead of the camera and falls back again.
    sway = rng.uniform(0.005, 0.035) * min(height, width)
    xy += np.stack([wander(rng, frames, sway, rng.uniform(16, 50)) for _ in range(2)], 1) * (1.0, 0.5)
    if grounded:
        _stand(rng, stage, xy, growth * foot)
    calm_turn = 0.04 if grounded else rng.uniform(0.03, 0.2)
    actor = Actor(
        role="object" if label else "distractor",
        creature=creature,
        label=label,
        depth=1 + float(xy[0, 1] + growth[0] * foot) / height if grounded else rng.uniform(1, 2),
        texture_seed=int(rng.integers(2**31)),
        xy=xy,
        scale=growth,
        angle=wander(rng, frames, calm_turn, rng.uniform(20, 60)),
        yaw=np.ones(frames),
        phase=np.zeros(frames),
        jelly=_draw_jelly(rng, creature),
        shadow=rng.uniform(0.25, 0.6) if grounded or (stage.horizon is None and rng.random() < 0.7) else 0.0,
        grounded=grounded,
        like_backdrop=bool(rng.random() < 0.05) and creature.skin is None,
    )
    orient(rng, stage, actor)
    return actor


def _draw_jelly(rng: np.random.Generator, creature: Creature) -> Floats:
    if creature.kind in ("vehicle", "rigid") or rng.random() < 0.35:
        return _NO_JELLY
    strength = 0.06 if creature.kind in ("cutout", "blob") else 0.03
    return np.stack([rng.uniform(0, strength, 2), rng.uniform(0.8, 2.0, 2), rng.uniform(0, 2 * np.pi, 2)], 1)


def _stand(rng: np.random.Generator, stage: Stage, xy: Floats, foot: Floats) -> None:
    """Move a way up or down so that the feet are on the ground: who looks large stands near, who looks small far."""
    assert stage.horizon is not None
    low, high = stage.horizon + 0.04 * stage.height, 0.96 * stage.height
    nearness = min(1.0, 0.1 + 2.5 * float(foot[0]) / stage.height) * rng.uniform(0.6, 1.1)
    feet = xy[:, 1] + foot
    xy[:, 1] += low + (high - low) * nearness - feet[0]
    xy[:, 1] = np.maximum(xy[:, 1], low - foot)


def orient(rng: np.random.Generator, stage: Stage, actor: Actor) -> None:
    """Let an actor look where it goes and step as fast as it moves; needed anew when its way has changed."""
    frames = stage.frames
    if frames == 1:
        actor.phase = actor.phase + rng.random()
        return
    travel = np.gradient(actor.xy, axis=0)
    if stage.camera.shot == "track":  # it keeps up with a camera that moves over the ground
        travel = travel - np.gradient(stage.camera.shift, axis=0)
    creature, pace = actor.creature, np.hypot(*travel.T)
    lively = rng.uniform(0.01, 0.05)
    stride = 0.75 * actor.scale  # pixels that one gait cycle covers
    steps = pace / stride if creature.walks else lively * (0.5 + pace / (pace.mean() + 1e-6) / 2)
    actor.phase = rng.random() + np.cumsum(np.clip(steps + 0.004, 0, 0.1))
    sway = 1.0 + np.zeros(frames)
    if rng.random() < 0.35:
        sway = 0.85 + wander(rng, frames, 0.2, rng.uniform(30, 80)).clip(-0.3, 0.2)
    actor.yaw = sway
    if not creature.upright and creature.faces_travel:
        heading = np.unwrap(np.arctan2(travel[:, 1], travel[:, 0]))
        actor.angle = np.convolve(np.pad(heading, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    elif not creature.upright:
        actor.angle = actor.angle + rng.uniform(0, 2 * np.pi) + np.arange(frames) * rng.normal(0, 0.012)
    elif creature.faces_travel:
        actor.yaw = sway * facing(travel[:, 0], 0.004 * stage.width)


def film(stage: Stage, actor: Actor, nearness: float) -> None:
    """Look at an actor through the camera: all are zoomed and rolled, and panned unless they move along with it.

    Args:
        stage: The stage.
        actor: The actor; its way changes.
        nearness: How strongly the pan moves it: 0 for what moves along with the camera, above 1 for near things.
    """
    camera = stage.camera
    centre = np.array([stage.width / 2, stage.height / 2])
    offset = actor.xy - centre
    c, s = np.cos(camera.roll) * camera.zoom, np.sin(camera.roll) * camera.zoom
    turned = np.stack([c * offset[:, 0] - s * offset[:, 1], s * offset[:, 0] + c * offset[:, 1]], 1)
    actor.xy = centre + turned + nearness * camera.shift
    actor.scale = actor.scale * camera.zoom
    actor.angle = actor.angle + camera.roll


def occluder(rng: np.random.Generator, stage: Stage, half_width: float) -> Actor:
    """Make an untracked slab, pole or plant of ``half_width`` pixels that stands still at the frame's middle."""
    frames, height, width = stage.frames, stage.height, stage.width
    if rng.random() < 0.25 and half_width > 0.06 * width:
        creature, scale = make_plant(rng), half_width * 1.5
    else:
        scale = max(height, width) * rng.uniform(0.8, 1.3)
        creature = make_slab(rng, half_width / scale)
    still = np.ones(frames)
    return Actor(
        role="occluder",
        creature=creature,
        label=0,
        depth=3.0 + rng.random(),
        texture_seed=int(rng.integers(2**31)),
        xy=np.tile([[width / 2, height / 2]], (frames, 1)),
        scale=scale * still,
        angle=0 * still,
        yaw=still,
        phase=0.03 * np.arange(frames, dtype=np.float64),
        jelly=_NO_JELLY,
        shadow=0.0,
        defocus=rng.uniform(0, 0.008) * width if rng.random() < 0.4 else 0.0,
        like_backdrop=bool(rng.random() < 0.15),
    )


def leave_and_return(rng: np.random.Generator, stage: Stage, actor: Actor) -> None:
    """Bend an actor's way so that it is outside the frame for a while and comes back."""
    frames, width = stage.frames, stage.width
    extent = 1.6 * float(actor.scale.max())
    away = ramp(frames, frames * 0.08, frames * rng.uniform(0.35, 0.45))
    away = away - ramp(frames, frames * rng.uniform(0.58, 0.68), frames * 0.95)
    target = np.array([-extent if rng.random() < 0.5 else width + extent, actor.xy[0, 1]])
    actor.xy = actor.xy * (1 - away)[:, None] + target * away[:, None]
    orient(rng, stage, actor)


def pass_behind(rng: np.random.Generator, stage: Stage, target: Actor, screen: Actor, half_width: float) -> None:
    """Make ``screen`` sweep over ``target`` around the middle of the clip, and be clear of it on the first frame."""
    frames, width, height = stage.frames, stage.width, stage.height
    middle = frames * rng.uniform(0.4, 0.6)
    reach = half_width + 1.2 * float(target.scale.max())
    speed = reach / middle * rng.uniform(1.05, 1.5) * rng.choice([-1.0, 1.0])
    relative = speed * (np.arange(frames) - middle)
    # The relative motion is shared out between the two: a walker behind a pole, or a slab that is pushed past.
    own = rng.uniform(0, 1) * min(1.0, 0.35 * width / max(1e-6, abs(relative[0])))
    meet = target.xy[int(middle)].copy()
    calm = meet + 0.35 * (target.xy - meet)
    calm[:, 0] += np.clip(meet[0], 0.3 * width, 0.7 * width) - meet[0]
    still = np.zeros(frames)
    target.xy = calm - np.stack([own * relative, still], 1)
    screen.xy = np.stack([calm[:, 0] + (1 - own) * relative, still + height / 2], 1)
    if screen.creature.kind == "plant":
        screen.xy[:, 1] = meet[1] + 0.1 * height
    orient(rng, stage, target)


def grow(rng: np.random.Generator, stage: Stage, actor: Actor) -> None:
    """Make an actor about twice as large, or half as large, over the clip."""
    factor = rng.uniform(1.7, 2.4)
    rise = ramp(stage.frames, 0, stage.frames * 0.9)
    if rng.random() < 0.5:
        rise = 1 - rise
    actor.scale = actor.scale.mean() * factor**rise / np.sqrt(factor)
