"""All kinds of actors: how often each is drawn, riders put together from two, and what each kind wears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from uamp_data.synthetic import materials
from uamp_data.synthetic.creatures import (
    make_biped,
    make_bird,
    make_blob,
    make_fish,
    make_plant,
    make_quadruped,
    make_ring,
    make_snake,
    make_star,
    make_vehicle,
)
from uamp_data.synthetic.curves import Floats, apply, compose
from uamp_data.synthetic.cutouts import make_cutout
from uamp_data.synthetic.parts import Creature, Part
from uamp_data.synthetic.textures import Image

Material = Callable[[np.random.Generator, int], Image]


def _carried(parts: list[Part], carry: Floats, first_texture: int) -> list[Part]:
    """Move parts by a 2×3 similarity and give them textures from ``first_texture`` on."""
    size = float(np.sqrt(abs(np.linalg.det(carry[:, :2]))))
    return [
        replace(
            part,
            outlines=tuple(apply(carry, outline) for outline in part.outlines),
            texture=part.texture + first_texture,
            frame=compose(carry, part.frame),
            roundness=part.roundness * size,
        )
        for part in parts
    ]


def make_rider(rng: np.random.Generator) -> Creature:
    """Somebody on a bicycle, in a cart or on an animal's back."""
    mount = make_quadruped(rng) if rng.random() < 0.3 else make_vehicle(rng)
    person = make_biped(rng)
    size = rng.uniform(0.62, 0.85)
    seat_x, seat_y = rng.uniform(-0.3, 0.0), rng.uniform(-0.62, -0.42)
    lean = rng.uniform(0.0, 0.35)
    c, s = size * np.cos(lean), size * np.sin(lean)
    # Together they are taller than either: all is drawn smaller and lower, to fill the usual square.
    sit = np.array([[c, -s, seat_x], [s, c, seat_y]])
    fit = np.array([[0.72, 0.0, 0.0], [0.0, 0.72, 0.38]])
    pedals = rng.uniform(0.0, 0.6)

    def pose(phase: float) -> list[Part]:
        below = _carried(mount.pose(phase), fit, 0)
        return below + _carried(person.pose(pedals * phase + 0.2), compose(fit, sit), mount.textures)

    return Creature(f"{mount.kind} rider", mount.textures + person.textures, pose, faces_travel=True, walks=True)


_BUILDERS: tuple[tuple[Callable[[np.random.Generator], Creature], float], ...] = (
    (make_biped, 0.24),
    (make_quadruped, 0.22),
    (make_rider, 0.17),
    (make_vehicle, 0.11),
    (make_bird, 0.08),
    (make_blob, 0.05),
    (make_fish, 0.05),
    (make_ring, 0.03),
    (make_star, 0.03),
    (make_snake, 0.02),
    (make_plant, 0.01),
)
# Share of creatures that are cut out of photographs.
_CUTOUTS = 0.12

_COAT: tuple[Material, ...] = (materials.coat, materials.coat, materials.coat, materials.rubber)
_DRESS: tuple[Material, ...] = (materials.cloth, materials.cloth, materials.skin, materials.coat)
_BODYWORK: tuple[Material, ...] = (materials.paint, materials.glass, materials.rubber, materials.paint)
_WARDROBE: dict[str, tuple[Material, ...]] = {
    "quadruped": _COAT,
    "biped": _DRESS,
    "vehicle": _BODYWORK,
    "bird": _COAT,
    "quadruped rider": _COAT + _DRESS,
    "vehicle rider": _BODYWORK + _DRESS,
}
# How often a creature wears something unlike its kind.
_MASQUERADE = 0.12


def make_creature(rng: np.random.Generator) -> Creature:
    """Draw a creature or thing of any kind."""
    if rng.random() < _CUTOUTS:
        cutout = make_cutout(rng)
        if cutout is not None:
            return cutout
    weights = np.array([weight for _, weight in _BUILDERS])
    build = _BUILDERS[int(rng.choice(len(_BUILDERS), p=weights / weights.sum()))][0]
    return build(rng)


def dress(rng: np.random.Generator, creature: Creature, side: int) -> list[Image]:
    """Draw the square textures of ``side`` pixels that a creature wears, one for each of its slots."""
    wardrobe = _WARDROBE.get(creature.kind)
    tiles = []
    for slot in range(creature.textures):
        if slot == 0 and creature.skin is not None:
            tiles.append(creature.skin(rng, side))
        elif wardrobe is None or rng.random() < _MASQUERADE:
            tiles.append(materials.anything(rng, side))
        else:
            tiles.append(wardrobe[slot](rng, side))
    return tiles
