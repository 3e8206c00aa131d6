"""Rehearsal: what tasks show and know, that something is learned, and that nothing else changes."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from uamp_model import InputError, Prompt, VideoTracker, load_tracker, rehearsal, rehearse
from uamp_model.layers import LayerSizes, UampLayers
from uamp_model.layers_file import load_rehearsal_start, weights_digest
from uamp_model.rehearsal import COPIES, RANK, REACH, _loss, _Seen, _Tasks, _watch, _with_masks
from uamp_model.sam2 import build_model

HEIGHT, WIDTH = 96, 128
Frames = list[npt.NDArray[np.uint8]]
Region = npt.NDArray[np.bool_]


def square(t: int) -> tuple[slice, slice]:
    """Where the object is on frame t."""
    return np.s_[24 : 24 + 40, 10 + 3 * t : 10 + 3 * t + 40]


@pytest.fixture(scope="module")
def frames() -> Frames:
    """A bright checked square that moves over a dark, noisy ground."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    check = np.kron(np.indices((10, 10)).sum(0) % 2, np.ones((4, 4), int))[..., None] * 60 + 180
    video = []
    for t in range(8):
        frame = ground.copy()
        frame[square(t)] = check
        video.append(frame)
    return video


@pytest.fixture(scope="module")
def region() -> Region:
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[square(0)] = True
    return region


@pytest.fixture(scope="module")
def tracker() -> VideoTracker:
    """nano, small for speed."""
    return load_tracker("nano", device="cpu", precision="fp32", exact=False, image_size=128)


def tasks(tracker: VideoTracker, frames: Frames, prompts: dict[int, dict[int, Prompt]], seed: int = 0) -> _Tasks:
    seen = _watch(tracker, frames, prompts, lambda done: None)
    return _Tasks(seen, _with_masks(prompts), np.random.default_rng(seed))


def test_copies_move_picture_and_mask_alike(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    drawing = tasks(tracker, frames, {0: {4: Prompt.mask(region)}})
    for _ in range(5):
        task = drawing.draw()[0]
        assert task.judged == tuple(range(1, COPIES))
        assert task.masks.shape == (1, COPIES, 128, 128)
        bright = task.images.mean(1) > 0.2  # the square alone is; beyond the picture there is 0
        both, either = (bright & task.masks[0]).sum(), (bright | task.masks[0]).sum()
        assert both / either > 0.9
        assert not torch.equal(task.masks[0, 0], task.masks[0, 1])


def test_the_way_back_begins_with_what_was_found_and_ends_with_what_was_given(
    tracker: VideoTracker, frames: Frames, region: Region
) -> None:
    drawing = tasks(tracker, frames, {0: {4: Prompt.mask(region)}, 3: {9: Prompt.box(2, 60, 20, 90)}})
    given = drawing.seen[0].masks[4]
    assert given.float().mean() == pytest.approx(region.mean(), abs=0.01)
    back = drawing._return(0, drawing.later[0])
    assert back.judged == (2,)
    assert back.masks.shape == (1, 3, 128, 128)
    area = back.masks[0].float().mean((1, 2))
    assert area[2] == pytest.approx(float(given.float().mean()), rel=0.4)  # but for scale
    assert area[0] > 0


def test_the_way_out_ends_with_what_was_found(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    drawing = tasks(tracker, frames, {0: {4: Prompt.mask(region)}, 3: {9: Prompt.box(2, 60, 20, 90)}})
    out = drawing._way_out(0, drawing.later[0])
    assert out is not None
    assert out.judged == (1, 2)
    assert out.masks.shape == (1, 3, 128, 128)
    assert (out.masks[0].float().mean((1, 2)) > 0).all()


def test_an_object_that_is_lost_at_once_teaches_nothing(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    drawing = tasks(tracker, frames, {0: {4: Prompt.mask(region)}})
    nothing = torch.zeros(128, 128, dtype=torch.bool)
    lost = {t: s if t == 0 else _Seen(s.image, {4: nothing}) for t, s in drawing.seen.items()}
    assert list(drawing.later) == [0]
    assert _Tasks(lost, drawing.given, drawing.rng).later == {}
    assert rehearse(tracker, frames[:1], {0: {4: Prompt.mask(region)}}, steps=2) is tracker


def test_only_frames_near_given_ones_are_kept(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    long = frames + [frames[-1]] * REACH
    seen = _watch(tracker, long, {1: {4: Prompt.mask(region)}}, lambda done: None)
    assert list(seen) == list(range(1, 1 + REACH + 1))


def test_it_learns_and_leaves_the_tracker_as_it_was(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    prompts = {0: {4: Prompt.mask(region)}}
    digest, told = weights_digest(tracker.base), []
    weight, name = tracker.base.memory_encoder.pix_feat_proj.weight, "memory_encoder.pix_feat_proj.weight"
    kept: list[bool] = []  # also within a step, while other threads may track
    hook = tracker.base.memory_encoder.register_forward_pre_hook(
        lambda *_: kept.append(tracker.base.get_parameter(name) is weight)
    )
    taught = rehearse(tracker, frames, prompts, steps=12, tell=lambda *what: told.append(what))
    hook.remove()
    assert kept
    assert all(kept)
    assert weights_digest(tracker.base) == weights_digest(taught.base) == digest
    assert tracker.layers is None
    assert taught.layers is not None
    assert taught.layers.trained_parts == ("adapt",)
    assert not any(weight.requires_grad for weight in taught.layers.parameters())
    counted = [("frames", done) for done in range(len(frames) + 1)] + [("steps", done) for done in range(13)]
    assert [(what, done) for what, done, _ in told] == counted
    assert told[-1] == ("steps", 12, 12)

    fresh, losses = tasks(tracker, frames, prompts, seed=7), []
    untrained = UampLayers(tracker.base, LayerSizes.of(tracker.base))
    with torch.no_grad():
        for task in [task for _ in range(4) for task in fresh.draw()]:
            losses.append([float(_loss(tracker, layers, task)) for layers in (untrained, taught.layers)])
    before, after = np.mean(losses, axis=0)
    assert after < 0.8 * before


def test_the_same_seed_teaches_the_same(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    prompts = {0: {1: Prompt.mask(region), 2: Prompt.points([[100, 80]])}}
    first, second, other = (rehearse(tracker, frames, prompts, steps=2, seed=seed) for seed in (0, 0, 1))
    last = [tracker.start().step(frames[0], prompts[0]).logits for tracker in (first, second, other)]
    states = [taught.layers.adapter.up for taught in (first, second, other) if taught.layers is not None]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])
    assert torch.equal(last[0], last[1])


def test_known_layers_are_the_start_and_stay_as_they_are(frames: Frames, region: Region) -> None:
    torch.manual_seed(0)
    base = build_model("nano", image_size=128).requires_grad_(False)
    layers = UampLayers(base, LayerSizes.of(base, rank=2)).requires_grad_(False)
    with torch.no_grad():
        for up in layers.adapter.up.values():
            up.normal_(0, 1e-2)
        layers.head.out.weight.normal_(0, 0.1)
    before = {name: value.clone() for name, value in layers.state_dict().items()}
    tracker = VideoTracker(base, name="nano", memory="uamp", layers=layers)
    taught = rehearse(tracker, frames, {0: {1: Prompt.mask(region)}}, steps=2)
    assert taught.layers is not None
    assert taught.settings == tracker.settings
    after = taught.layers.state_dict()
    assert all(torch.equal(layers.state_dict()[name], value) for name, value in before.items())
    moved = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert moved
    assert all(name.startswith("adapter.") for name in moved)


def test_nano_begins_at_layers_of_its_own_and_other_weights_at_none(
    tracker: VideoTracker, frames: Frames, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = []

    def watch(begun: VideoTracker, *more: Any) -> dict[int, _Seen]:
        watching.append(begun)
        return _watch(begun, *more)

    monkeypatch.setattr(rehearsal, "_watch", watch)
    start = load_rehearsal_start(tracker.base, base_model="nano")
    assert start is not None
    assert start.trained_parts == ("adapt",)
    prompts = {0: {1: Prompt.mask(region)}}
    ours = rehearse(tracker, frames, prompts, steps=1)
    same = rehearse(tracker.with_layers(start), frames, prompts, steps=1)
    assert ours.layers is not None
    assert same.layers is not None
    assert ours.layers.sizes == start.sizes
    assert [begun.layers.sizes for begun in watching if begun.layers is not None] == [start.sizes] * 2
    states = ours.layers.state_dict(), same.layers.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    other = load_tracker("nano", device="cpu", precision="fp32", exact=False, image_size=128)
    with torch.no_grad():
        next(other.base.parameters()).mul_(1.001)
    assert load_rehearsal_start(other.base, base_model="nano") is None
    taught = rehearse(other, frames, prompts, steps=1)
    assert taught.layers is not None
    assert taught.layers.sizes.rank == RANK
    assert load_rehearsal_start(other.base, base_model="sam2.1-hiera-tiny") is None


def test_where_there_is_nothing_to_learn_the_tracker_itself_comes_back(
    tracker: VideoTracker, frames: Frames, region: Region
) -> None:
    prompts = {0: {1: Prompt.mask(region)}}
    plain = tracker.with_memory("sam2")
    assert rehearse(plain, frames, prompts, steps=5) is plain
    assert rehearse(tracker, frames, prompts, steps=0) is tracker
    assert rehearse(tracker, frames, {}, steps=5) is tracker


def test_boxes_and_points_are_not_learned_from(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    box, mask = Prompt.box(2, 60, 20, 90), Prompt.mask(region)
    with pytest.raises(InputError, match="cannot take -1 steps"):
        rehearse(tracker, frames, {0: {1: mask}}, steps=-1)
    with pytest.raises(InputError, match="learns from masks"):
        rehearse(tracker, frames, {0: {1: box, 2: Prompt.points([[20, 70]])}}, steps=1)
    mixed = {0: {1: box, 2: mask}, 1: {3: box}}
    assert _with_masks(mixed) == {0: (2,)}
    assert rehearse(tracker, frames, mixed, steps=1).layers is not None


def test_prompts_that_cannot_be_right_are_refused(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    given = {1: Prompt.mask(region)}
    for seen in (frames, []):
        with pytest.raises(InputError, match="no frame 99 to rehearse on"):
            rehearse(tracker, seen, {99: given}, steps=1)
    with pytest.raises(InputError, match="by frame and object"):
        rehearse(tracker, frames, given, steps=1)  # type: ignore[arg-type]


def test_learned_strengths_are_not_added_twice() -> None:
    base = build_model("nano", image_size=64).requires_grad_(False)
    layers = UampLayers(base, LayerSizes.of(base)).requires_grad_(False)
    layers.write.fill_(0.25)
    tracker = VideoTracker(base, name="nano", memory="uamp", layers=layers)
    again = tracker.with_layers(layers)
    assert again.settings == tracker.settings
    assert again.settings.write == pytest.approx(0.25)
    assert replace(again.settings, write=0.0) == tracker.with_layers(None).settings


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_learns_whatever_the_caller_says_of_gradients(
    tracker: VideoTracker, frames: Frames, region: Region, context: Any
) -> None:
    prompts = {0: {1: Prompt.mask(region)}}
    plain = rehearse(tracker, frames, prompts, steps=1).layers
    with context():
        within = rehearse(tracker, frames, prompts, steps=1).layers
        loaded = load_tracker("nano", device="cpu", precision="fp32", exact=False, image_size=128)
        anew = rehearse(loaded, frames, prompts, steps=1).layers
    assert plain is not None
    for layers in (within, anew):
        assert layers is not None
        for name, weight in plain.state_dict().items():
            assert torch.equal(weight, layers.state_dict()[name])


def test_it_leaves_gradients_and_random_numbers_as_they_were(frames: Frames, region: Region) -> None:
    network = load_tracker("nano", device="cpu", image_size=128).model.requires_grad_()
    tracker = VideoTracker(network, name="nano", memory="uamp")
    before = torch.random.get_rng_state()
    rehearse(tracker, frames, {0: {1: Prompt.mask(region)}}, steps=1)
    assert all(weight.grad is None for weight in network.parameters())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("prompts", [None, {0: {1: "box"}}, {0: None}])
def test_prompts_of_another_form_are_refused(tracker: VideoTracker, frames: Frames, prompts: Any) -> None:
    with pytest.raises(InputError, match="by frame and object"):
        rehearse(tracker, frames, prompts, steps=1)


def test_half_a_step_is_refused(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    with pytest.raises(InputError, match="whole number"):
        rehearse(tracker, frames, {0: {1: Prompt.mask(region)}}, steps=1.5)  # type: ignore[arg-type]
