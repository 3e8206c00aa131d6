"""Tracking a benchmark's video: objects that enter late, merged outputs, shared image features."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_videos import TinyVideo
from uamp_eval.protocols import merge_logits, run_sequence
from uamp_eval.sequences import Ids, Image
from uamp_model import InputError, Prompt, VideoTracker, load_tracker, rehearse

VIDEO = TinyVideo("two", length=5, enters={4: 1, 2: 3})


@pytest.fixture(scope="module")
def tracker() -> VideoTracker:
    return load_tracker("nano", memory="sam2", device="cpu", precision="fp32")


def test_merging_gives_each_pixel_to_the_surest_object_and_ties_to_the_lowest_id() -> None:
    logits = torch.tensor([[[1.0, 2.0, 3.0, -1.0, 0.0]], [[1.0, 1.0, 4.0, -2.0, -1.0]]])
    assert merge_logits(logits, (7, 3)).tolist() == [[3, 7, 3, 0, 0]]
    assert merge_logits(logits, (3, 7)).tolist() == [[3, 3, 7, 0, 0]]
    assert merge_logits(torch.full((3, 2, 2), 5.0), (254, 9, 11)).tolist() == [[9, 9], [9, 9]]
    nothing = merge_logits(torch.zeros(0, 2, 3), ())
    assert nothing.dtype == torch.uint8
    assert nothing.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_merging_agrees_with_a_plain_loop() -> None:
    torch.manual_seed(0)
    logits = torch.randint(-2, 3, (5, 9, 7)).float()  # few values, many ties
    ids = [9, 1, 30, 2, 254]
    merged = merge_logits(logits, ids)
    for y in range(9):
        for x in range(7):
            claims = [(-float(logits[n, y, x]), object_id) for n, object_id in enumerate(ids) if logits[n, y, x] > 0]
            assert int(merged[y, x]) == (min(claims)[1] if claims else 0)


def alone(tracker: VideoTracker, video: TinyVideo, object_id: int) -> list[torch.Tensor]:
    """One object's logits by its own session, −1 before it enters."""
    session, logits = tracker.start(num_frames=video.length), []
    for frame in range(video.length):
        given = {}
        if frame == video.enters[object_id]:
            given[object_id] = Prompt.mask(video.annotation(frame) == object_id)
        result = session.step(video.image(frame), given)
        logits.append(result.logits[0] if result.object_ids else -torch.ones(video.size))
    return logits


def test_objects_enter_where_they_are_given_and_only_outputs_are_merged(tracker: VideoTracker) -> None:
    two, four = alone(tracker, VIDEO, 2), alone(tracker, VIDEO, 4)
    frames = list(run_sequence({"sam2": tracker}, VIDEO))
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert not frames[0].labels["sam2"].any()
    for frame in frames:
        logits = torch.stack([two[frame.number], four[frame.number]])
        assert frame.labels["sam2"].dtype == np.uint8
        assert np.array_equal(frame.labels["sam2"], merge_logits(logits, (2, 4)).numpy())
        for row, object_id in enumerate(frame.results["sam2"].object_ids):
            assert torch.equal(frame.results["sam2"].logits[row], logits[object_id // 2 - 1])
    assert set(np.unique(frames[1].labels["sam2"])) == {0, 4}
    assert set(np.unique(frames[3].labels["sam2"])) == {0, 2, 4}


def test_two_settings_share_the_image_features_and_do_not_disturb_each_other(tracker: VideoTracker) -> None:
    lone = [frame.labels["sam2"] for frame in run_sequence({"sam2": tracker}, VIDEO)]
    encoded = 0

    def count(*_: object) -> None:
        nonlocal encoded
        encoded += 1

    hook = tracker.model.image_encoder.register_forward_hook(count)
    both = list(run_sequence({"a": tracker, "b": tracker.with_memory("sam2")}, VIDEO))
    hook.remove()
    assert encoded == VIDEO.length
    for frame, expected in zip(both, lone, strict=True):
        assert np.array_equal(frame.labels["a"], expected)
        assert np.array_equal(frame.labels["b"], expected)


@dataclass(frozen=True)
class SpoiltVideo(TinyVideo):
    """One whose annotations do not fit."""

    shown: int = 1
    grown: int = 0

    def image(self, frame: int) -> Image:
        return np.zeros((*self.size, 3), np.uint8)

    def annotation(self, frame: int) -> Ids:
        return np.pad(super().annotation(frame) * np.uint8(self.shown), (0, self.grown))


@pytest.mark.parametrize(
    ("video", "sentence"),
    [
        (SpoiltVideo("v", shown=2), "Object 1 is to be tracked from frame 00000 of v, but"),
        (SpoiltVideo("v", grown=3), "frame 00000 of v is 67×51 pixels but the picture is 64×48"),
        (TinyVideo("v", enters={}), "v has no object to track"),
        (TinyVideo("v", enters={1: 9}), "v has no frame number 9"),
        (TinyVideo("v", enters={255: 0}), "ids of frame 00000 of v must be from 1 to 254"),
    ],
)
def test_wrong_prompts_are_named_with_their_frame(tracker: VideoTracker, video: TinyVideo, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        list(run_sequence({"sam2": tracker}, video))


def test_a_prompt_without_an_annotation_is_named(tracker: VideoTracker) -> None:
    class Bare(TinyVideo):
        annotated = ()

    with pytest.raises(InputError, match="object 1 is to be taken from frame 00000 of v, which has no annotation"):
        list(run_sequence({"sam2": tracker}, Bare("v")))


def test_trackers_of_different_networks_are_refused(tracker: VideoTracker) -> None:
    other = load_tracker("nano", memory="sam2", device="cpu", precision="fp32")
    with pytest.raises(InputError, match="with_memory"):
        list(run_sequence({"a": tracker, "b": other}, VIDEO))
    with pytest.raises(InputError, match="no memory setting"):
        list(run_sequence({}, VIDEO))


def test_a_video_abandoned_half_way_leaves_no_thread_and_no_state(tracker: VideoTracker) -> None:
    run = run_sequence({"sam2": tracker}, replace(VIDEO, length=50))
    first = next(run)
    run.close()
    again = next(run_sequence({"sam2": tracker}, replace(VIDEO, length=50)))
    assert np.array_equal(first.labels["sam2"], again.labels["sam2"])


def test_other_prompts_than_masks_can_be_made_of_them(tracker: VideoTracker) -> None:
    given: list[int] = []

    def middle(region: np.ndarray) -> Prompt:
        given.append(int(region.sum()))
        rows, columns = np.nonzero(region)
        return Prompt.points([[columns.mean(), rows.mean()]])

    video = TinyVideo("one", length=2)
    masks = next(run_sequence({"sam2": tracker}, video))
    points = next(run_sequence({"sam2": tracker}, video, give=middle))
    assert given == [int((video.annotation(0) == 1).sum())]
    assert not torch.equal(masks.results["sam2"].logits, points.results["sam2"].logits)


def test_a_rehearsal_sees_all_objects_and_its_time_counts_for_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def look_at_the_clock() -> float:
        nonlocal now
        now += 0.001
        return now

    def rehearse_for_long(*given: Any, **named: Any) -> VideoTracker:
        nonlocal now
        now += 1000
        return rehearse(*given, **named)

    monkeypatch.setattr("uamp_eval.protocols.time", SimpleNamespace(perf_counter=look_at_the_clock))
    monkeypatch.setattr("uamp_eval.protocols.rehearse", rehearse_for_long)
    small = load_tracker("nano", device="cpu", precision="fp32", image_size=64)
    taught = small.with_memory("taught", replace(small.settings, rehearse=2))
    frames = list(run_sequence({"uamp": small, "taught": taught}, VIDEO))
    seconds = [frame.seconds[name] for frame in frames for name in ("uamp", "taught")]
    assert [1000 < spent < 1001 for spent in seconds] == [False, True] + [False] * 8
    assert all(0 < spent < 1 for spent in seconds if spent < 1000)
    last = frames[-1].results
    assert last["taught"].object_ids == last["uamp"].object_ids == (4, 2)
    assert not torch.equal(last["taught"].logits, last["uamp"].logits)
