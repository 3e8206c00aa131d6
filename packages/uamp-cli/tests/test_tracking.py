"""Both directions, and one id map out of many masks."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from uamp_cli.prompts import ObjectPrompt, Plan
from uamp_cli.tracking import merge_masks, read_head, track_backwards, track_forwards
from uamp_data.frames import Frame
from uamp_model import Prompt, VideoTracker, load_tracker
from uamp_model.errors import InputError

HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def tracker(checkpoint: Path) -> VideoTracker:
    return load_tracker("nano", checkpoint=checkpoint, device="cpu")


def _frames(count: int) -> list[Frame]:
    rng = np.random.default_rng(1)
    return [Frame(t, t / 10, rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)) for t in range(count)]


def test_merge_takes_the_largest_logit_and_the_lowest_id_at_a_tie() -> None:
    logits = {7: [-1.0, 2.0, 1.0, 3.0, 0.0], 2: [-2.0, 1.0, 1.0, 4.0, -0.5], 9: [-3.0, -1.0, 1.0, 5.0, 0.0]}
    merged = merge_masks({i: np.array([row], np.float32) for i, row in logits.items()}, (1, 5))
    assert merged.tolist() == [[0, 7, 2, 9, 0]]


def test_no_objects_merge_to_background() -> None:
    assert not merge_masks({}, (2, 3)).any()


def test_spool_gives_back_every_pixel(tmp_path: Path) -> None:
    frames = _frames(3)
    spool = read_head(iter(frames), 2, tmp_path)
    assert len(spool) == 3
    for index, frame in enumerate(frames):
        assert np.array_equal(spool[index].image, frame.image)
        assert (spool[index].index, spool[index].time) == (frame.index, frame.time)
    assert len(list(tmp_path.iterdir())) == 3


def test_head_of_one_frame_needs_no_disk(tmp_path: Path) -> None:
    rest = iter(_frames(3))
    assert len(read_head(rest, 0, tmp_path)) == 1
    assert [frame.index for frame in rest] == [1, 2]
    assert not list(tmp_path.iterdir())


def test_video_that_ends_before_the_prompt(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prompt on frame 5, but the last one is 2"):
        read_head(iter(_frames(3)), 5, tmp_path)


def test_both_directions_equal_the_trackers_own_propagation(tracker: VideoTracker, tmp_path: Path) -> None:
    frames, start = _frames(5), 2
    boxes = {1: (5.0, 5.0, 30.0, 30.0), 2: (20.0, 10.0, 60.0, 40.0)}
    plan = Plan(tuple(ObjectPrompt(i, start, box=box) for i, box in boxes.items()), start)
    rest = iter(frames)
    spool = read_head(rest, plan.reach, tmp_path)
    steps: list[int] = []
    track_backwards(tracker, spool, plan, tmp_path, 5, lambda: steps.append(1))
    found = list(track_forwards(tracker, spool, rest, plan, tmp_path, 5))
    assert len(steps) == start + 1
    assert [frame.index for frame in found] == list(range(5))

    prompts = {i: Prompt.box(*box) for i, box in boxes.items()}
    for index, result in tracker.start().propagate([frame.image for frame in frames], prompts, start=start):
        logits = {i: result.logits[row].numpy() for row, i in enumerate(result.object_ids)}
        assert np.array_equal(found[index].ids, merge_masks(logits, (HEIGHT, WIDTH)))
        for row, i in enumerate(result.object_ids):
            state, mask = found[index].objects[i], found[index].ids == i
            assert state.score == pytest.approx(float(result.scores[row]))
            assert state.area == mask.sum()
            if state.area:
                assert state.uncertainty == pytest.approx(float(result.uncertainty[row].numpy()[mask].mean()), abs=1e-5)


@pytest.mark.parametrize("together", [2, 3, 8])
def test_frames_that_are_encoded_together_give_the_same(tracker: VideoTracker, tmp_path: Path, together: int) -> None:
    frames = _frames(5)
    plan = Plan((ObjectPrompt(1, 0, box=(5, 5, 50, 40)),), 0)
    found = []
    for count in (1, together):
        rest = iter(frames)
        spool = read_head(rest, plan.reach, tmp_path)
        found.append(list(track_forwards(tracker, spool, rest, plan, tmp_path, None, together=count)))
    assert [frame.index for frame in found[1]] == list(range(5))
    for alone, batched in zip(*found, strict=True):
        assert (alone.ids != batched.ids).mean() < 0.01
        assert batched.objects[1].score == pytest.approx(alone.objects[1].score, abs=1e-3)


def test_what_came_before_a_broken_frame_is_tracked(tracker: VideoTracker, tmp_path: Path) -> None:
    def breaking() -> Iterator[Frame]:
        yield from _frames(4)
        raise InputError("broken here")

    plan = Plan((ObjectPrompt(1, 0, box=(5, 5, 50, 40)),), 0)
    rest = breaking()
    spool = read_head(rest, plan.reach, tmp_path)
    seen = []
    with pytest.raises(InputError, match="broken here"):  # noqa: PT012 - what is seen before counts
        for frame in track_forwards(tracker, spool, rest, plan, tmp_path, None, together=3):
            seen.append(frame.index)
    assert seen == [0, 1, 2, 3]


def test_objects_that_start_on_different_frames_are_on_all_frames(tracker: VideoTracker, tmp_path: Path) -> None:
    frames = _frames(5)
    plan = Plan((ObjectPrompt(4, 1, box=(5, 5, 30, 30)), ObjectPrompt(2, 3, box=(20, 10, 60, 40))), 0)
    rest = iter(frames)
    spool = read_head(rest, plan.reach, tmp_path)
    track_backwards(tracker, spool, plan, tmp_path, 5, lambda: None)
    found = list(track_forwards(tracker, spool, rest, plan, tmp_path, 5))
    assert [list(frame.objects) for frame in found] == [[2, 4]] * 5
    assert [Fraction(frame.time).limit_denominator(10) for frame in found] == [Fraction(t, 10) for t in range(5)]


def test_uncertainty_map_is_the_largest_of_all_objects_in_both_directions(
    tracker: VideoTracker, tmp_path: Path
) -> None:
    frames = _frames(5)
    boxes = {1: (5.0, 5.0, 30.0, 30.0), 2: (20.0, 10.0, 60.0, 40.0)}
    plan = Plan(tuple(ObjectPrompt(i, 2, box=box) for i, box in boxes.items()), 2)
    rest = iter(frames)
    spool = read_head(rest, plan.reach, tmp_path)
    track_backwards(tracker, spool, plan, tmp_path, 5, lambda: None, with_map=True)
    found = list(track_forwards(tracker, spool, rest, plan, tmp_path, 5, with_map=True))
    prompts = {i: Prompt.box(*box) for i, box in boxes.items()}
    for index, result in tracker.start().propagate([frame.image for frame in frames], prompts, start=2):
        shown = found[index].uncertainty
        assert shown is not None
        assert shown.dtype == np.uint8
        assert shown.shape == (HEIGHT, WIDTH)
        assert np.abs(shown / 255 - result.uncertainty.numpy().max(axis=0)).max() < 0.5 / 255 + 1e-5
        assert shown.any()


def test_uncertainty_map_joins_objects_of_both_directions(tracker: VideoTracker, tmp_path: Path) -> None:
    frames = _frames(4)
    early, late = ObjectPrompt(1, 0, box=(5, 5, 30, 30)), ObjectPrompt(2, 3, box=(20, 10, 60, 40))
    maps = []
    for number, prompts in enumerate([(early,), (late,), (early, late)]):
        plan, folder, rest = Plan(prompts), tmp_path / str(number), iter(frames)
        folder.mkdir()
        spool = read_head(rest, plan.reach, folder)
        track_backwards(tracker, spool, plan, folder, 4, lambda: None, with_map=True)
        found = track_forwards(tracker, spool, rest, plan, folder, 4, with_map=True)
        maps.append([frame.uncertainty for frame in found])
    for alone, other, both in list(zip(*maps, strict=True))[:3]:  # on frame 3 the objects share a batch
        assert alone is not None
        assert np.array_equal(np.maximum(alone, other), both)


def test_no_uncertainty_map_unless_asked_for(tracker: VideoTracker, tmp_path: Path) -> None:
    plan = Plan((ObjectPrompt(1, 1, box=(5, 5, 30, 30)),), 1)
    rest = iter(_frames(3))
    spool = read_head(rest, plan.reach, tmp_path)
    track_backwards(tracker, spool, plan, tmp_path, 5, lambda: None)
    found = track_forwards(tracker, spool, rest, plan, tmp_path, None)
    assert [frame.uncertainty for frame in found] == [None] * 3
