"""Creatures and things: each builder draws one from a random generator and returns how it moves."""

from __future__ import annotations

import numpy as np

from uamp_data.synthetic.curves import Floats
from uamp_data.synthetic.parts import (
    Creature,
    Part,
    Wobble,
    blob,
    bone,
    chain,
    ellipse,
    random_ring,
    spine_outline,
    swing_chain,
)

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _at(x: float, y: float) -> Floats:
    return np.array([x, y])


def _disc(x: float, y: float, radius: float, texture: int, *, tone: float = 1.0) -> Part:
    return Part((ellipse(x, y, radius, radius),), texture, IDENTITY, radius, tone)


def make_blob(rng: np.random.Generator) -> Creature:
    """A soft lump that breathes and bends, sometimes with patches of another texture on it."""
    controls = int(rng.integers(6, 12))
    rest = random_ring(rng, controls, 1.0, rng.uniform(0.45, 1.0), rng.uniform(0.1, 0.55))
    wobble = Wobble.draw(rng, controls, rng.uniform(0.05, 0.3))
    patches = [
        (random_ring(rng, 6, 0.25, 0.2, 0.4) + rng.uniform(-0.35, 0.35, 2), int(rng.integers(1, 3)))
        for _ in range(int(rng.integers(0, 4)))
    ]
    roundness = rng.uniform(0.3, 0.9)

    def pose(phase: float) -> list[Part]:
        parts = [blob(rest, wobble.at(rest, phase), 0, roundness)]
        frame = parts[0].frame
        for ring, texture in patches:
            parts.append(blob(ring, ring @ frame[:, :2].T + frame[:, 2], texture, 0.1))
        return parts

    return Creature("blob", 3, pose, upright=False)


def make_quadruped(rng: np.random.Generator) -> Creature:
    """A four-legged animal seen from the side, walking to the right."""
    body_h, leg, thick = rng.uniform(0.2, 0.34), rng.uniform(0.3, 0.62), rng.uniform(0.05, 0.11)
    rest = random_ring(rng, 9, 0.62, body_h, 0.2)
    wobble = Wobble.draw(rng, 9, 0.07)
    neck, neck_angle, head = rng.uniform(0.15, 0.5), rng.uniform(-1.3, -0.3), rng.uniform(0.12, 0.22)
    snout, ear = rng.uniform(0.1, 0.3), rng.uniform(0.08, 0.3)
    tail_len, tail_up, tail_r = rng.uniform(0.25, 0.8), rng.uniform(-0.8, 0.9), rng.uniform(0.025, 0.07)
    stride = rng.uniform(0.3, 0.75)
    leg_texture, head_texture = int(rng.choice([0, 0, 1])), int(rng.choice([0, 0, 2]))
    offsets = rng.choice([0.0, 0.5]) + np.array([0.0, 0.5, 0.25, 0.75])

    def limb(x: float, phase: float, tone: float, *, fore: bool) -> list[Part]:
        swing = stride * np.sin(2 * np.pi * phase)
        lift = max(0.0, np.cos(2 * np.pi * phase)) * 0.9
        upper = np.pi / 2 - swing
        lower = upper + (lift if fore else 0.35 + lift * 0.6)
        joints = swing_chain(
            _at(x, body_h * 0.35), np.array([leg * 0.55, leg * 0.5, leg * 0.14]), np.array([upper, lower, 0.1])
        )
        return chain(joints, np.array([thick * 1.5, thick, thick * 0.7, thick * 0.6]), leg_texture, tone=tone)

    def pose(phase: float) -> list[Part]:
        bob = 0.03 * np.sin(4 * np.pi * phase)
        sway = np.sin(2 * np.pi * phase)
        tail_angles = np.pi - tail_up + np.linspace(0, 0.8, 4) * sway + np.linspace(0, -0.5, 4)
        tail = swing_chain(_at(-0.53, -body_h * 0.4 + bob), np.full(4, tail_len / 4), tail_angles)
        parts = chain(tail, np.linspace(tail_r * 1.4, tail_r * 0.6, 5), 0, tone=0.85)
        parts += limb(-0.42, phase + offsets[0], 0.6, fore=False) + limb(0.42, phase + offsets[1], 0.6, fore=True)
        shoulder = _at(0.5, -body_h * 0.35 + bob)
        nod = neck_angle + 0.12 * np.sin(2 * np.pi * phase + 1)
        top = shoulder + neck * _at(np.cos(nod), np.sin(nod))
        parts.append(blob(rest, wobble.at(rest, phase) + _at(0, bob), 0, body_h * 0.9))
        parts.append(bone(shoulder + _at(-0.08, 0.05), top, body_h * 0.65, head * 0.75, 0, joins=True))
        ear_tip = top + ear * _at(-0.35 + 0.1 * sway, -0.95)
        parts.append(bone(top, top + snout * _at(0.95, 0.3), head, head * 0.6, head_texture, joins=True))
        parts.append(bone(top + _at(-0.03, 0), ear_tip, head * 0.4, head * 0.15, head_texture, tone=0.85))
        parts.append(_disc(float(top[0]) + head * 0.35, float(top[1]) - head * 0.3, head * 0.18, 3, tone=0.4))
        parts += limb(-0.36, phase + offsets[2], 1.0, fore=False) + limb(0.48, phase + offsets[3], 1.0, fore=True)
        return parts

    return Creature("quadruped", 4, pose, faces_travel=True, walks=True)


def make_biped(rng: np.random.Generator) -> Creature:
    """A walking figure with head, hair, torso, arms and legs in different textures."""
    torso, hip = rng.uniform(0.42, 0.6), rng.uniform(0.12, 0.2)
    shoulder = hip * rng.uniform(1.0, 1.5)
    head, limb_r = rng.uniform(0.12, 0.19), rng.uniform(0.05, 0.085)
    leg, arm = rng.uniform(0.6, 0.8), rng.uniform(0.45, 0.65)
    stride, lean = rng.uniform(0.25, 0.7), rng.uniform(-0.15, 0.25)
    lifted = rng.uniform(-2.2, -0.8) if rng.random() < 0.25 else 0.0

    def pose(phase: float) -> list[Part]:
        swing = np.sin(2 * np.pi * phase)
        bob = 0.03 * np.cos(4 * np.pi * phase)
        hips = _at(0, 0.1 + bob)
        neck = hips + torso * _at(np.sin(lean), -np.cos(lean))

        def leg_parts(sign: float, tone: float) -> list[Part]:
            upper = np.pi / 2 - sign * stride * swing
            bend = 0.15 + 0.8 * max(0.0, sign * np.cos(2 * np.pi * phase))
            lengths = np.array([leg * 0.5, leg * 0.48, leg * 0.16])
            joints = swing_chain(hips + _at(0, -0.02), lengths, np.array([upper, upper + bend, 0.15]))
            return chain(joints, np.array([limb_r * 1.5, limb_r * 1.1, limb_r * 0.8, limb_r * 0.7]), 1, tone=tone)

        def arm_parts(sign: float, tone: float) -> list[Part]:
            upper = np.pi / 2 + sign * stride * 0.9 * swing + (lifted if sign > 0 else 0.0)
            lengths = np.array([arm * 0.5, arm * 0.45])
            joints = swing_chain(neck + _at(0, 0.06), lengths, np.array([upper, upper - 0.4 - 0.2 * swing]))
            sleeve = bone(joints[0], joints[1], limb_r * 1.1, limb_r * 0.85, 0, tone=tone)
            return [sleeve, bone(joints[1], joints[2], limb_r * 0.8, limb_r * 0.6, 2, tone=tone)]

        skull = neck + _at(0.04 + 0.3 * np.sin(lean) * head, -head * 1.25)
        corners = np.vstack(
            [hips + _at(-hip, 0), hips + _at(hip, 0), neck + _at(shoulder, 0.05), neck + _at(-shoulder, 0.05)]
        )
        corners = np.vstack(
            [corners[:2], (corners[1] + corners[2]) / 2 * 0.98, corners[2:], (corners[3] + corners[0]) / 2 * 0.98]
        )
        rest = np.array([[-hip, 0.3], [hip, 0.3], [hip, 0], [shoulder, -0.3], [-shoulder, -0.3], [-hip, 0]])
        parts = arm_parts(-1, 0.65) + leg_parts(-1, 0.65) + leg_parts(1, 1.0)
        parts.append(blob(rest, corners, 0, hip))
        parts.append(bone(neck + _at(0, 0.04), skull, head * 0.45, head * 0.5, 2))
        parts.append(Part((ellipse(float(skull[0]), float(skull[1]), head * 0.85, head),), 2, _shift(skull), head))
        hair = ellipse(float(skull[0]) - head * 0.2, float(skull[1]) - head * 0.35, head * 0.85, head * 0.75)
        parts.append(Part((hair,), 3, _shift(skull), head * 0.7))
        return parts + arm_parts(1, 1.0)

    return Creature("biped", 4, pose, faces_travel=True, walks=True)


def _shift(point: Floats) -> Floats:
    return np.hstack([np.eye(2), point[:, None]])


def make_fish(rng: np.random.Generator) -> Creature:
    """A swimmer whose body carries a travelling wave, with fins and a tail."""
    fat, wave, cycles = rng.uniform(0.16, 0.42), rng.uniform(0.04, 0.16), rng.uniform(0.5, 1.1)
    s = np.linspace(0, 1, 9)
    widths = fat * np.sin(np.pi * (0.12 + 0.83 * s) ** rng.uniform(0.7, 1.2)) + 0.03
    tail, fin = rng.uniform(0.18, 0.42), rng.uniform(0.12, 0.4)
    straight = np.stack([1.0 - 1.7 * s, np.zeros(9)], 1)
    rest = spine_outline(straight, widths)

    def pose(phase: float) -> list[Part]:
        lift = wave * (0.25 + s) * np.sin(2 * np.pi * (phase - cycles * s))
        spine = np.stack([straight[:, 0], lift], 1)
        now = spine_outline(spine, widths)
        end, flick = spine[-1], 0.7 * np.cos(2 * np.pi * (phase - cycles))
        c, n = np.cos(flick), np.sin(flick)
        shape = np.array([[0.08, 0.0], [-tail, -tail], [-tail * 0.6, 0], [-tail, tail]])
        tail_now = shape @ np.array([[c, n], [-n, c]]) + end
        middle = spine[4]
        dorsal_rest = np.array([[0.25, -fat * 0.6], [-0.1, -fat - fin], [-0.3, -fat * 0.6]])
        dorsal = dorsal_rest + _at(float(middle[0]), float(middle[1]) + 0.02 * np.sin(2 * np.pi * phase))
        flap = 0.6 + 0.4 * np.sin(2 * np.pi * phase + 1)
        side_rest = np.array([[0.1, 0.0], [-0.25, fin * 0.9], [-0.1, -0.02]])
        side = side_rest * _at(1, flap) + spine[3] + _at(0, fat * 0.2)
        return [
            blob(shape, tail_now, 1, 0.05, tone=0.9),
            blob(dorsal_rest, dorsal, 1, 0.05, tone=0.85),
            blob(rest, now, 0, fat * 0.9),
            blob(side_rest, side, 1, 0.05),
            _disc(float(spine[0, 0]) - 0.2, float(spine[1, 1]) - fat * 0.15, 0.045, 2, tone=0.35),
        ]

    return Creature("fish", 3, pose, faces_travel=True, upright=bool(rng.random() < 0.6))


def make_snake(rng: np.random.Generator) -> Creature:
    """A long thin body that winds along itself."""
    thick, wave, cycles = rng.uniform(0.05, 0.13), rng.uniform(0.12, 0.3), rng.uniform(1.0, 2.0)
    s = np.linspace(0, 1, 13)
    widths = thick * np.minimum(1, 0.7 + 3 * s) * np.sqrt(np.maximum(1 - s, 0.03))

    def pose(phase: float) -> list[Part]:
        x = 1.0 - 2.0 * s
        y = wave * (0.3 + 0.7 * np.minimum(1, 3 * s)) * np.sin(2 * np.pi * (phase - cycles * s))
        joints = np.stack([x, y], 1)
        parts = chain(joints[::-1], widths[::-1], 0)
        head = joints[0]
        parts.append(bone(head, head + _at(0.1, 0), thick * 1.15, thick * 0.7, 1, joins=True))
        return parts

    return Creature("snake", 2, pose, upright=False)


def make_bird(rng: np.random.Generator) -> Creature:
    """A flyer with flapping wings, seen from the side or from above."""
    body, span, chord = rng.uniform(0.14, 0.25), rng.uniform(0.7, 1.1), rng.uniform(0.25, 0.5)
    above = bool(rng.random() < 0.5)
    rest = random_ring(rng, 8, 0.55, body, 0.1)
    wobble = Wobble.draw(rng, 8, 0.04)
    wing_rest = np.array(
        [
            [chord * 0.5, 0],
            [chord * 0.2, -span * 0.6],
            [-chord * 0.3, -span],
            [-chord * 0.7, -span * 0.5],
            [-chord * 0.5, 0],
        ]
    )

    def pose(phase: float) -> list[Part]:
        flap = np.sin(2 * np.pi * phase)
        parts = []
        for side in (-1.0, 1.0):
            height = (0.6 + 0.4 * flap) * side if above else 0.15 + 0.85 * flap + 0.12 * side
            wing = wing_rest * _at(1, height) + _at(0.08 - 0.06 * side * (not above), 0)
            parts.append(blob(wing_rest, wing, 1, 0.08, tone=1.0 if side > 0 or above else 0.65))
        tail = np.array([[-0.4, 0.06], [-0.95, 0.17], [-0.9, -0.15], [-0.4, -0.06]])
        trunk = [blob(tail, tail, 1, 0.06, tone=0.9), blob(rest, wobble.at(rest, phase), 0, body)]
        head = [
            _disc(0.58, -0.05, body * 0.7, 2),
            bone(_at(0.66, -0.03), _at(0.82, 0.0), body * 0.25, 0.02, 3, tone=0.7),
        ]
        return parts + trunk + head if above else [parts[0], *trunk, *head, parts[1]]

    return Creature("bird", 4, pose, faces_travel=True, upright=not above)


def make_star(rng: np.random.Generator) -> Creature:
    """A spider, starfish or octopus: a body with waving arms around it."""
    arms, core = int(rng.integers(4, 9)), rng.uniform(0.2, 0.4)
    thick, curl = rng.uniform(0.04, 0.14), rng.uniform(0.2, 0.9)
    phases, angles = rng.random(arms), (np.arange(arms) + rng.uniform(-0.2, 0.2, arms)) * 2 * np.pi / arms
    rest = random_ring(rng, 9, core, core * rng.uniform(0.8, 1.2), 0.15)
    wobble = Wobble.draw(rng, 9, 0.08)

    def pose(phase: float) -> list[Part]:
        parts: list[Part] = []
        for angle, shift in zip(angles, phases, strict=True):
            sway = curl * np.sin(2 * np.pi * (phase + shift))
            root = core * 0.7 * _at(np.cos(angle), np.sin(angle))
            joints = swing_chain(root, np.full(3, (1 - core * 0.7) / 3), angle + sway * np.array([0.2, 0.6, 1.1]))
            parts += chain(joints, np.linspace(thick, thick * 0.4, 4), 1)
        return [*parts, blob(rest, wobble.at(rest, phase), 0, core)]

    return Creature("star", 2, pose, upright=False)


def make_vehicle(rng: np.random.Generator) -> Creature:
    """A car, cart or bicycle-like thing: hull, cabin, windows and turning wheels."""
    height, wheel = rng.uniform(0.2, 0.4), rng.uniform(0.15, 0.27)
    hull = np.array(
        [[-1, 0.1], [-0.95, -height], [-0.3, -height * 1.1], [0.5, -height], [0.95, -height * 0.5], [1, 0.1], [0, 0.14]]
    )
    left, right = rng.uniform(-0.8, -0.3), rng.uniform(0.1, 0.6)
    roof = -height - rng.uniform(0.2, 0.5)
    cabin = np.array(
        [
            [left - 0.1, -height + 0.05],
            [left, roof],
            [(left + right) / 2, roof - 0.05],
            [right, roof],
            [right + 0.2, -height + 0.05],
        ]
    )
    window = (cabin - cabin.mean(0)) * 0.68 + cabin.mean(0) - _at(0, 0.01)
    open_frame = bool(rng.random() < 0.3)
    spokes = int(rng.integers(3, 7))

    def wheel_parts(x: float, phase: float) -> list[Part]:
        turn = 2 * np.pi * phase
        c, s = np.cos(turn), np.sin(turn)
        frame = np.array([[c, -s, x], [s, c, 0.16]])
        if not open_frame:
            return [
                Part((ellipse(x, 0.16, wheel, wheel),), 2, frame, wheel * 0.3, 0.5),
                Part((ellipse(x, 0.16, wheel * 0.5, wheel * 0.5),), 3, frame, wheel * 0.3),
            ]
        rim = Part(
            (ellipse(x, 0.16, wheel * 1.5, wheel * 1.5, 28), ellipse(x, 0.16, wheel * 1.28, wheel * 1.28, 28)),
            2,
            frame,
            0.04,
            0.7,
        )
        ends = [
            _at(
                x + wheel * 1.35 * np.cos(turn + k * np.pi / spokes),
                0.16 + wheel * 1.35 * np.sin(turn + k * np.pi / spokes),
            )
            for k in range(2 * spokes)
        ]
        return [rim, *(bone(ends[k], ends[k + spokes], 0.015, 0.015, 3) for k in range(spokes))]

    def pose(phase: float) -> list[Part]:
        bounce = _at(0, 0.012 * np.sin(6 * np.pi * phase))
        wheels = wheel_parts(-0.6, phase) + wheel_parts(0.6, phase)
        if open_frame:
            joints = (
                np.array([[-0.6, 0.16], [-0.3, -0.35], [0.45, -0.35], [0.6, 0.16], [0.4, -0.55], [0.55, -0.6]]) + bounce
            )
            frame = chain(joints, np.full(6, 0.05), 0)
            return [
                *wheels,
                *frame,
                bone(_at(-0.6, 0.16) + bounce, _at(0.05, 0.15) + bounce, 0.04, 0.04, 0),
                bone(_at(-0.42, -0.45), _at(-0.2, -0.45), 0.07, 0.05, 1),
            ]
        body = [
            blob(cabin, cabin + bounce, 0, 0.15),
            Part((window + bounce,), 1, IDENTITY, 0.05, 0.6),
            blob(hull, hull + bounce, 0, 0.18),
        ]
        return body + wheels

    return Creature("vehicle", 4, pose, faces_travel=True, walks=True)


def make_ring(rng: np.random.Generator) -> Creature:
    """A rigid thing: ring, box, ball or bottle that mostly turns and tilts."""
    kind = int(rng.integers(3))
    if kind == 0:
        inner = rng.uniform(0.45, 0.75)
        parts = [Part((ellipse(0, 0, 1, 1, 36), ellipse(0, 0, inner, inner, 30)), 0, IDENTITY, (1 - inner) * 0.5)]
    elif kind == 1:
        w, h = rng.uniform(0.5, 1), rng.uniform(0.5, 1)
        lid = h * rng.uniform(-0.6, 0.2)
        box = np.array([[-w, -h], [w, -h], [w, h], [-w, h]])
        top = np.array([[-w, -h], [w, -h], [w, lid], [-w, lid]])
        parts = [Part((box,), 0, IDENTITY, 0.1), Part((top,), 1, IDENTITY, 0.06, 0.9)]
    else:
        neck, width = rng.uniform(0.15, 0.4), rng.uniform(0.3, 0.6)
        bottle = np.array(
            [
                [-width, 1],
                [0, 1.03],
                [width, 1],
                [width, -0.1],
                [neck * 0.6, -0.5],
                [neck * 0.6, -1],
                [-neck * 0.6, -1],
                [-neck * 0.6, -0.5],
                [-width, -0.1],
            ]
        )
        label = np.array([[-width, 0.1], [width, 0.1], [width, 0.7], [-width, 0.7]]) * _at(0.98, 1)
        parts = [blob(bottle, bottle, 0, width), Part((label,), 1, IDENTITY, width * 0.8)]

    def pose(_: float) -> list[Part]:
        return parts

    return Creature("rigid", 2, pose, upright=False)


def make_plant(rng: np.random.Generator) -> Creature:
    """A swaying plant with thin stems and leaves; also serves as an occluder."""
    stems = int(rng.integers(2, 6))
    roots, leans = rng.uniform(-0.3, 0.3, stems), rng.uniform(-0.6, 0.6, stems)
    heights, phases = rng.uniform(1.2, 1.9, stems), rng.random(stems)
    leaf = rng.uniform(0.12, 0.3)
    sides = rng.choice([-1.0, 1.0], (stems, 4))
    leaf_rest = np.array([[0, 0], [leaf * 0.6, -leaf * 0.4], [leaf * 1.7, 0], [leaf * 0.6, leaf * 0.4]])

    def pose(phase: float) -> list[Part]:
        parts: list[Part] = []
        for k in range(stems):
            sway = leans[k] + 0.15 * np.sin(2 * np.pi * (phase * 0.5 + phases[k]))
            angles = -np.pi / 2 + sway * np.array([0.2, 0.6, 1.0, 1.4])
            joints = swing_chain(_at(roots[k], 0.9), np.full(4, heights[k] / 4), angles)
            parts += chain(joints, np.linspace(0.045, 0.02, 5), 1, tone=0.8)
            for j in range(4):
                turn = angles[j] + sides[k, j] * (0.8 + 0.15 * np.sin(2 * np.pi * (phase + phases[k] + j / 4)))
                c, s = np.cos(turn), np.sin(turn)
                leaf_now = leaf_rest @ np.array([[c, s], [-s, c]]) + joints[j + 1]
                parts.append(blob(leaf_rest, leaf_now, 0, leaf * 0.3, tone=0.8 + 0.06 * j))
        return parts

    return Creature("plant", 2, pose)


def make_slab(rng: np.random.Generator, half_width: float) -> Creature:
    """An occluder: a plain or rough-edged slab of the given half width, two units high."""
    steps = 9
    y = np.linspace(-1, 1, steps)
    rough = rng.uniform(0, 0.25) * half_width
    left = np.stack([-half_width + rng.uniform(-rough, rough, steps), y], 1)
    right = np.stack([half_width + rng.uniform(-rough, rough, steps), y], 1)
    part = Part((np.vstack([left, right[::-1]]),), 0, IDENTITY, half_width * rng.uniform(0.1, 1.0))

    def pose(_: float) -> list[Part]:
        return [part]

    return Creature("slab", 1, pose)
