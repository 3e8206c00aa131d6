"""Generated clips: same seed same bytes, exact masks, and every family shows what it says."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from uamp_data.synthetic import FAMILIES, SyntheticClip, generate_clip
from uamp_data.synthetic.families import plan
from uamp_data.synthetic.scene import visible_shares

SMALL = (72, 72)
DIGEST = """
import hashlib
from uamp_data.synthetic import generate_clip
clip = generate_clip(11, num_frames=4, size=(72, 72))
print(hashlib.sha256(clip.frames.tobytes() + clip.masks.tobytes()).hexdigest())
"""


def digest(clip: SyntheticClip) -> str:
    return hashlib.sha256(clip.frames.tobytes() + clip.masks.tobytes()).hexdigest()


def test_same_seed_same_bytes_also_on_threads_and_in_another_process() -> None:
    first = digest(generate_clip(11, num_frames=4, size=SMALL))
    with ThreadPoolExecutor(4) as threads:
        seeds = [11, 12, 11, 13]
        clips = list(threads.map(lambda seed: generate_clip(seed, num_frames=4, size=SMALL), seeds))
    assert [digest(clip) == first for clip in clips] == [True, False, True, False]
    other = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == first
    assert other.stderr == ""


def test_shapes_names_and_types() -> None:
    clip = generate_clip(3, num_frames=3, size=(60, 110), family="calm", num_objects=2)
    assert clip.frames.shape == (3, 60, 110, 3)
    assert clip.masks.shape == (3, 60, 110)
    assert clip.frames.dtype == clip.masks.dtype == np.uint8
    assert (clip.seed, clip.family, clip.name) == (3, "calm", "calm-000003")
    assert clip.frame_rate > 0


@pytest.mark.parametrize("seed", range(20))
def test_all_objects_are_well_visible_on_the_first_frame(seed: int) -> None:
    clip = generate_clip(seed, num_frames=2, size=SMALL)
    count = int(clip.masks.max())
    shares = np.bincount(clip.masks[0].ravel(), minlength=count + 1)[1:] / clip.masks[0].size
    assert count >= 1
    assert shares.min() >= 0.005
    assert shares.max() <= 0.35


@pytest.mark.parametrize("count", [1, 3, 6])
def test_as_many_objects_as_asked_for(count: int) -> None:
    clip = generate_clip(5, num_frames=1, size=(96, 96), num_objects=count)
    assert sorted(np.unique(clip.masks[0])) == list(range(count + 1))


def test_objects_differ_from_what_is_behind_them() -> None:
    """Masks lie where the pictures change: an object's inside does not just continue its surroundings."""
    clip = generate_clip(4, num_frames=1, size=(128, 128), family="calm", num_objects=1)
    inside = clip.frames[0][clip.masks[0] == 1].astype(float)
    outside = clip.frames[0][clip.masks[0] == 0].astype(float)
    assert np.abs(inside.mean(0) - outside.mean(0)).max() > 5


def areas(family: str, seed: int, frames: int = 24) -> np.ndarray:
    clip = generate_clip(seed, num_frames=frames, size=SMALL, family=family)
    return np.asarray((clip.masks == 1).sum((1, 2)) / (clip.masks[0] == 1).sum())


@pytest.mark.parametrize("seed", range(2))
def test_occlusion_hides_the_object_and_shows_it_again(seed: int) -> None:
    area = areas("occlusion", seed)
    lowest = int(area.argmin())
    assert area[lowest] < 0.55
    assert area[lowest:].max() > 0.5


@pytest.mark.parametrize("seed", range(2))
def test_reentry_leaves_the_frame_and_comes_back(seed: int) -> None:
    area = areas("reentry", seed)
    gone = np.flatnonzero(area == 0)
    assert len(gone) > 0
    assert area[gone[-1] :].max() > 0.25


@pytest.mark.parametrize("seed", range(3))
def test_lookalike_wears_the_same_and_comes_close(seed: int) -> None:
    scene = plan(seed, "lookalike", 16, SMALL, None)
    hero = next(actor for actor in scene.actors if actor.label == 1)
    twin = next(actor for actor in scene.actors if actor.role == "lookalike")
    assert twin.label == 0
    assert twin.texture_seed == hero.texture_seed
    assert twin.creature is hero.creature
    assert np.hypot(*(twin.xy - hero.xy).T).min() < 1.2 * hero.scale.max()


def test_fast_moves_faster_than_calm() -> None:
    def speed(family: str) -> float:
        steps = []
        for seed in range(6):
            scene = plan(seed, family, 12, SMALL, 1)
            steps.append(np.hypot(*np.diff(scene.actors[0].xy, axis=0).T).mean() / SMALL[1])
        return float(np.mean(steps))

    assert speed("fast") > 0.02 > speed("calm")


def test_scale_changes_size() -> None:
    for seed in range(4):
        scale = plan(seed, "scale", 16, SMALL, 1).actors[0].scale
        assert scale.max() / scale.min() > 1.5


def test_light_changes_more_than_calm() -> None:
    def swing(family: str) -> float:
        means = [generate_clip(s, num_frames=8, size=SMALL, family=family).frames.mean((1, 2, 3)) for s in range(4)]
        return float(np.mean([mean.max() / mean.min() for mean in means]))

    assert swing("light") > 1.15 * swing("calm")


def test_mixed_draws_every_family() -> None:
    drawn = {plan(seed, "mixed", 2, SMALL, 1).family for seed in range(60)}
    assert drawn == set(FAMILIES) - {"mixed"}


def test_no_plan_loses_its_objects_for_good() -> None:
    for seed in range(6):
        shares = visible_shares(plan(seed, "mixed", 16, SMALL, None))
        assert ((shares > 0).mean(0) >= 0.3).all()


@pytest.mark.parametrize(
    "wrong",
    [{"family": "slow"}, {"num_frames": 0}, {"size": (16, 200)}, {"num_objects": 0}, {"num_objects": 99}],
)
def test_wrong_arguments_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"use one of|generate_clip needs"):
        generate_clip(1, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["occlusion", "fast", "light"])
def test_window_is_the_same_frames_of_the_whole(family: str) -> None:
    whole = generate_clip(21, num_frames=14, size=SMALL, family=family)
    part = generate_clip(21, num_frames=14, size=SMALL, family=family, window=(5, 4))
    assert part.first_frame == 5
    assert np.array_equal(part.frames, whole.frames[5:9])
    assert np.array_equal(part.masks, whole.masks[5:9])


def test_chosen_window_begins_with_a_well_visible_object() -> None:
    starts = set()
    clips = [generate_clip(seed, num_frames=20, size=SMALL, family="reentry", window=3) for seed in range(8)]
    for clip in clips:
        assert len(clip.frames) == 3
        starts.add(clip.first_frame)
        shares = np.bincount(clip.masks[0].ravel(), minlength=2)[1:] / clip.masks[0].size
        assert shares.max() >= 0.004
    assert len(starts) > 3
    again = generate_clip(7, num_frames=20, size=SMALL, family="reentry", window=3)
    assert (again.first_frame, digest(again)) == (clips[7].first_frame, digest(clips[7]))


@pytest.mark.parametrize("window", [0, 11, (8, 3), (-1, 2), (0, 0)])
def test_window_outside_the_clip_is_refused(window: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="window inside the clip's 10 frames"):
        generate_clip(1, num_frames=10, size=SMALL, window=window)
