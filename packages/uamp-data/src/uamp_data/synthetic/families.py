"""The families of clips: what each one must show, and how a plan is drawn and checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from uamp_data.synthetic.casting import cast_actor, film, grow, leave_and_return, occluder, pass_behind
from uamp_data.synthetic.curves import Floats
from uamp_data.synthetic.kinds import make_creature
from uamp_data.synthetic.scene import Actor, Scene, sketch, visible_shares
from uamp_data.synthetic.stage import Stage, make_stage

# Areas of the tracked objects on frame 0, as a share of the frame.
_SMALLEST_DRAWN, _LARGEST_DRAWN, _TYPICAL_AREA = 0.011, 0.31, 0.085
# Share of an object that others may cover on frame 0.
_MOST_COVERED = 0.35
FAMILIES = ("mixed", "occlusion", "lookalike", "fast", "reentry", "scale", "light", "calm")
# Real video is mostly somebody who stays in view; the rest is what makes trackers fail.
_SHARES = {
    "occlusion": 0.14,
    "lookalike": 0.12,
    "fast": 0.14,
    "reentry": 0.05,
    "scale": 0.15,
    "light": 0.1,
    "calm": 0.3,
}
# Speeds in the picture, in frame widths a frame; the camera follows, so most are slow.
_SPEED = {"fast": (0.02, 0.045), "calm": (0.0, 0.008), "reentry": (0.0, 0.008)}
_ENERGY = {"fast": (0.7, 1.4), "calm": (0.2, 1.0), "reentry": (0.0, 0.3)}
_ATTEMPTS = 40
# Share of its size on the first frame from which an object counts as well visible.
_WELL_VISIBLE = 0.6
# Shorter clips cannot hide an object and show it again.
_SHORTEST_STORY = 8


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
    energy = rng.uniform(*_ENERGY.get(family, (0.4, 1.3)))
    stage = make_stage(rng, frames, height, width, energy)
    low, high = _SPEED.get(family, (0.002, 0.017))
    extra = int(rng.choice([0, 1, 2, 3], p=[0.5, 0.3, 0.14, 0.06]))
    actors: list[Actor] = []
    for k, start in enumerate(_starts(rng, num_objects + extra, height, width)):
        tracked = k < num_objects
        area = float(np.clip(np.exp(rng.normal(np.log(_TYPICAL_AREA), 0.7)), 0.018, 0.3))
        area *= num_objects**-0.4 if tracked else 0.6
        speed = rng.uniform(low, high) * width
        actor = cast_actor(rng, stage, make_creature(rng), k + 1 if tracked else 0, start, area, speed)
        if k and rng.random() < 0.1:  # a second one of the same kind, tracked or not
            actor = replace(actor, creature=actors[0].creature, texture_seed=actors[0].texture_seed, poses={})
        actors.append(actor)
    actors += _choreograph(rng, family, stage, actors)
    if family not in ("calm", "occlusion") and rng.random() < 0.15:
        actors.append(_passing_occluder(rng, stage))
    _film_all(rng, family, stage, actors)
    return Scene(family, stage, actors, int(rng.integers(2**31)))


def _film_all(rng: np.random.Generator, family: str, stage: Stage, actors: list[Actor]) -> None:
    """Put all actors before the camera."""
    tracking = stage.camera.shot == "track"
    for actor in actors:
        if actor.role == "occluder":
            nearness = 0.0 if family == "occlusion" and tracking else 1.2
        elif actor.role == "distractor" and tracking:
            nearness = float(rng.random() < 0.6)
        else:
            nearness = 0.0 if tracking else 1.0
        film(stage, actor, 1.0 if family == "occlusion" and not tracking else nearness)


def _passing_occluder(rng: np.random.Generator, stage: Stage) -> Actor:
    screen = occluder(rng, stage, rng.uniform(0.01, 0.06) * stage.width)
    speed = rng.uniform(-0.02, 0.02) * stage.width
    way = rng.uniform(-0.5, 0.5) * stage.width + speed * np.arange(stage.frames)
    screen.xy = screen.xy + np.stack([way, 0 * way], 1)
    screen.angle = screen.angle + rng.normal(0, 0.25)
    return screen


def _choreograph(rng: np.random.Generator, family: str, stage: Stage, actors: list[Actor]) -> list[Actor]:
    """Change the first object's way, and return whom the family needs besides."""
    hero = actors[0]
    if family == "occlusion":
        half_width = float(hero.scale[0]) * rng.uniform(0.35, 1.3)
        screen = occluder(rng, stage, half_width)
        pass_behind(rng, stage, hero, screen, half_width)
        return [screen]
    if family == "lookalike":
        return [_twin(rng, stage, hero)]
    if family == "reentry":
        leave_and_return(rng, stage, hero)
    if family == "scale":
        grow(rng, stage, hero)
    return []


def _twin(rng: np.random.Generator, stage: Stage, hero: Actor) -> Actor:
    """An untracked actor of the same shape and texture whose way crosses the hero's."""
    frames = stage.frames
    depth = hero.depth + rng.choice([-0.5, 0.5])
    twin = replace(hero, role="lookalike", label=0, depth=depth, poses={})
    middle = frames * rng.uniform(0.35, 0.65)
    fastest = max(2.2 * float(hero.scale[0]) / middle, rng.uniform(0.005, 0.02) * stage.width)
    away = rng.choice([-1.0, 1.0]) * fastest * (np.arange(frames) - middle)
    beside = np.full(frames, rng.uniform(-0.25, 0.25) * hero.scale[0])
    twin.xy = hero.xy + np.stack([away, beside], 1)
    twin.phase = hero.phase + rng.random()
    twin.scale = hero.scale * rng.uniform(0.85, 1.15)
    if rng.random() < 0.4:
        twin.yaw = -hero.yaw
    return twin


def _shows_family(scene: Scene) -> bool:
    """Check on a small sketch of every frame that the clip shows what its family promises."""
    every = max(1, scene.stage.frames // 16)
    shares = visible_shares(scene, every)
    if scene.stage.frames < _SHORTEST_STORY:
        return True
    hero = shares[:, 0] / shares[0, 0]
    if scene.family == "occlusion":
        covered = hero < 0.5
        return bool(covered.any() and hero[int(np.flatnonzero(covered)[-1]) :].max() > 0.6)
    if scene.family == "reentry":
        return bool((shares[:, 0] == 0).any() and hero[-max(2, len(hero) // 8) :].max() > 0.3)
    # Elsewhere an object may hide or leave for a moment, but not for good.
    return bool((shares > 0.35 * shares[0]).mean(0).min() > 0.85)


def _first_frame(scene: Scene) -> tuple[Floats, float]:
    """Share of the frame that each object shows on frame 0, and the largest share of an object that others cover."""
    shown = visible_shares(scene, scene.stage.frames)[0]
    covered = 0.0
    for actor in scene.actors:
        if actor.label:
            alone = (sketch(replace(scene, actors=[actor]), 0) > 0).mean()
            covered = max(covered, 1 - float(shown[actor.label - 1]) / max(float(alone), 1e-6))
    return shown, covered


def plan(seed: int, family: str, frames: int, size: tuple[int, int], num_objects: int | None) -> Scene:
    """Draw plans until one shows its family and all objects well on frame 0."""
    rng = np.random.default_rng([seed, 1])
    chosen = draw_family(rng) if family == "mixed" else family
    best: Scene | None = None
    best_score = -np.inf
    for _ in range(_ATTEMPTS):
        count = num_objects or int(rng.choice([1, 2, 3, 4], p=[0.55, 0.27, 0.12, 0.06]))
        scene = draft(rng, chosen, frames, size, count)
        first, covered = _first_frame(scene)
        clear = first.min() >= _SMALLEST_DRAWN and first.max() <= _LARGEST_DRAWN and covered < _MOST_COVERED
        if clear and _shows_family(scene):
            return scene
        score = min(float(first.min()), _SMALLEST_DRAWN) - max(float(first.max()) - _LARGEST_DRAWN, 0.0)
        if score > best_score:
            best, best_score = scene, score
    # Not every number of objects fits every family: what is visible on frame 0 counts most.
    assert best is not None
    return best


def pick_window(scene: Scene, seed: int, count: int) -> int:
    """Choose where a window of ``count`` frames begins: anywhere an object is well visible."""
    starts = np.random.default_rng([seed, 3]).permutation(scene.stage.frames - count + 1)
    whole = np.bincount(sketch(scene, 0).ravel(), minlength=2)[1:]
    for start in starts:
        shown = np.bincount(sketch(scene, int(start)).ravel(), minlength=len(whole) + 1)[1 : len(whole) + 1]
        if (shown >= _WELL_VISIBLE * whole).any():
            return int(start)
    return 0
