"""The families of clips: what each one must show, and how a plan is drawn and checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from uamp_data.synthetic.creatures import make_creature
from uamp_data.synthetic.curves import Floats, ramp
from uamp_data.synthetic.scene import (
    LARGEST,
    SMALLEST,
    Actor,
    Scene,
    cast_actor,
    leave_and_return,
    make_camera,
    make_light,
    occluder,
    pass_behind,
    sketch,
    visible_shares,
)

FAMILIES = ("mixed", "occlusion", "lookalike", "fast", "reentry", "scale", "light", "calm")
_SHARES = {"occlusion": 0.22, "lookalike": 0.17, "fast": 0.15, "reentry": 0.1, "scale": 0.12, "light": 0.12, "calm": 0.12}
# Speeds in frame widths a frame.
_SPEED = {"fast": (0.03, 0.08), "calm": (0.0, 0.008), "reentry": (0.0, 0.01)}
_ATTEMPTS = 40


def draw_family(rng: np.random.Generator) -> str:
    """Draw what a "mixed" clip shows."""
    return str(rng.choice(list(_SHARES), p=np.array(list(_SHARES.values())) / sum(_SHARES.values())))


def _starts(rng: np.random.Generator, count: int, height: int, width: int) -> list[Floats]:
    """Draw start positions that keep clear of each other."""
    candidates = rng.uniform((0.2 * width, 0.25 * height), (0.8 * width, 0.8 * height), (12 * count, 2))
    picked = [candidates[0]]
    while len(picked) < count:
        gaps = np.min([np.hypot(*(candidates - p).T) for p in picked], 0)
        picked.append(candidates[int(gaps.argmax())])
    return picked


def draft(rng: np.random.Generator, family: str, frames: int, size: tuple[int, int], num_objects: int) -> Scene:
    """Draw one plan; it may turn out not to show what it should."""
    height, width = size
    low, high = _SPEED.get(family, (0.002, 0.03))
    swing = 0.1 if family in ("calm", "occlusion", "reentry") else 0.2
    extra = int(rng.choice([0, 1, 2, 3], p=[0.4, 0.3, 0.2, 0.1])) if family != "calm" else int(rng.integers(0, 2))
    starts = _starts(rng, num_objects + extra, height, width)
    crowd = 1 / np.sqrt(num_objects)
    actors = []
    for k, start in enumerate(starts):
        area = float(np.exp(rng.uniform(np.log(0.012), np.log(0.2)))) * (crowd if k < num_objects else 0.6)
        speed = rng.uniform(low, high) * width
        label = k + 1 if k < num_objects else 0
        actor = cast_actor(
            rng, frames, size, creature=make_creature(rng), label=label, start=start, area=area, speed=speed, swing=swing
        )
        if label and num_objects > 1 and rng.random() < 0.2:  # the same object twice, both tracked
            actor = replace(actor, creature=actors[0].creature, texture_seed=actors[0].texture_seed) if actors else actor
        actors.append(actor)
    actors += _family_actors(rng, family, actors, frames, size)
    if family not in ("calm", "occlusion") and rng.random() < 0.35:
        actors.append(_passing_occluder(rng, frames, size))
    energy = rng.uniform(0, 0.35) if family in ("calm", "reentry") else rng.uniform(0, 1.0)
    for actor in actors:
        actor.pose_all()
    light = make_light(rng)
    camera = make_camera(rng, frames, height, width, energy)
    if rng.random() < 0.5 and family != "reentry":
        _carry(actors, camera.shift, frames)
    return Scene(family, height, width, light, camera, actors, int(rng.integers(2**31)))


def _carry(actors: list[Actor], shift: Floats, frames: int) -> None:
    """Let the camera's pan move the actors in the picture, as far as this keeps them near it."""
    for actor in actors:
        if actor.role in ("object", "distractor", "lookalike"):
            actor.xy = actor.xy + 0.7 * shift


def _passing_occluder(rng: np.random.Generator, frames: int, size: tuple[int, int]) -> Actor:
    height, width = size
    screen = occluder(rng, frames, size, rng.uniform(0.01, 0.06) * width)
    speed = rng.uniform(-0.02, 0.02) * width
    screen.xy = screen.xy + np.stack([rng.uniform(-0.5, 0.5) * width + speed * np.arange(frames), np.zeros(frames)], 1)
    screen.angle = screen.angle + rng.normal(0, 0.25)
    return screen


def _family_actors(rng: np.random.Generator, family: str, actors: list[Actor], frames: int, size: tuple[int, int]) -> list[Actor]:
    """Change the first object's way, and add whom the family needs."""
    height, width = size
    hero = actors[0]
    if family == "occlusion":
        half_width = float(hero.scale[0]) * rng.uniform(0.35, 1.3)
        screen = occluder(rng, frames, size, half_width)
        pass_behind(rng, hero, screen, half_width, size)
        return [screen]
    if family == "lookalike":
        twin = replace(hero, role="lookalike", label=0, depth=hero.depth + rng.choice([-0.5, 0.5]), parts=[])
        middle, side = frames * rng.uniform(0.35, 0.65), rng.choice([-1.0, 1.0])
        speed = side * max(2.2 * float(hero.scale[0]) / middle, rng.uniform(0.01, 0.03) * width)
        away = np.stack([speed * (np.arange(frames) - middle), np.full(frames, rng.uniform(-0.4, 0.4) * hero.scale[0])], 1)
        twin.xy = hero.xy + away
        twin.phase = hero.phase + rng.random()
        twin.scale = hero.scale * rng.uniform(0.85, 1.15)
        if rng.random() < 0.3:
            twin.yaw = -hero.yaw
        return [twin]
    if family == "reentry":
        leave_and_return(rng, hero, height, width)
    if family == "scale":
        factor = rng.uniform(1.7, 2.4)
        grow = ramp(frames, 0, frames * 0.9)
        if rng.random() < 0.5:
            hero.scale = hero.scale * factor**grow / np.sqrt(factor)
        else:
            hero.scale = hero.scale * factor ** (1 - grow) / np.sqrt(factor)
    return []


def _shows_family(scene: Scene) -> bool:
    """Check on a small sketch of every frame that the clip shows what its family promises."""
    shares = visible_shares(scene)
    if (shares[0] < SMALLEST * 1.3).any() or (shares[0] > LARGEST * 0.95).any():
        return False
    hero = shares[:, 0] / shares[0, 0]
    if scene.family == "occlusion":
        covered = hero < 0.5
        return bool(covered.any() and hero[int(np.flatnonzero(covered)[-1]) :].max() > 0.6)
    if scene.family == "reentry":
        return bool((shares[:, 0] == 0).any() and hero[-max(2, len(hero) // 8) :].max() > 0.3)
    # Elsewhere an object may hide or leave for a moment, but not for good.
    return bool((shares > 0.25 * shares[0]).mean(0).min() > 0.5)


def plan(seed: int, family: str, frames: int, size: tuple[int, int], num_objects: int | None) -> Scene:
    """Draw plans until one shows its family and all objects well on frame 0."""
    rng = np.random.default_rng([seed, 1])
    chosen = draw_family(rng) if family == "mixed" else family
    best: tuple[float, Scene] | None = None
    for attempt in range(_ATTEMPTS):
        count = num_objects or int(rng.choice([1, 2, 3, 4], p=[0.45, 0.3, 0.17, 0.08]))
        scene = draft(rng, chosen, frames, size, count)
        first = np.bincount(sketch(scene, 0).ravel(), minlength=count + 1)[1:] / sketch(scene, 0).size
        if first.min() >= SMALLEST * 1.3 and _shows_family(scene):
            return scene
        score = float(min(first.min(), SMALLEST * 1.3) - max(first.max() - LARGEST, 0) - 1e-6 * attempt)
        if best is None or score > best[0]:
            best = (score, scene)
    assert best is not None
    return best[1]
