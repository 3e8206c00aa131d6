"""The learned layers: untrained they change nothing, trained they do, and their files fit one base alone."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from uamp_model import CheckpointError, Prompt, VideoTracker
from uamp_model.core import FrameOutput, Learned, PromptBatch, _decide
from uamp_model.layers import LayerSizes, UampLayers, doubt_correction
from uamp_model.layers_file import load_layers, save_layers, weights_digest
from uamp_model.presets import SAM2, UAMP, MemorySettings
from uamp_model.sam2 import ABSENT_LOGIT, Sam2, build_model
from uamp_model.types import FrameResult
from uamp_model.unroll import unroll

SIZE = 64
Frames = list[npt.NDArray[np.uint8]]


@pytest.fixture(scope="module")
def model() -> Sam2:
    """nano's architecture with random weights that see something, at 64 px for speed."""
    torch.manual_seed(3)
    model = build_model("nano", image_size=SIZE)
    with torch.no_grad():
        model.get_parameter("sam_mask_decoder.pred_obj_score_head.layers.2.bias").fill_(3.0)
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def frames() -> Frames:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 80, 3), dtype=np.uint8) for _ in range(7)]


def prompts() -> dict[int, Prompt]:
    region = np.zeros((48, 80), bool)
    region[10:30, 20:50] = True
    return {1: Prompt.mask(region), 2: Prompt.mask(region[::-1, ::-1]), 3: Prompt.box(1, 1, 30, 30)}


def untrained(model: Sam2) -> UampLayers:
    torch.manual_seed(0)
    return UampLayers(model, LayerSizes.of(model))


def trained(model: Sam2) -> UampLayers:
    """Layers that do something: random where untrained ones are zero."""
    layers = untrained(model)
    with torch.no_grad():
        for end in chain.from_iterable(layers.last_weights.values()):
            end.normal_(0, 0.3)
        layers.write.fill_(0.3)
        layers.keep.fill_(0.2)
        layers.read.fill_(0.5)
    return layers.requires_grad_(False)


def track(tracker: VideoTracker, frames: Frames, objects: dict[int, Prompt]) -> list[FrameResult]:
    session = tracker.start()
    return [session.step(f, objects if t == 0 else None) for t, f in enumerate(frames)]


def tracker_of(model: Sam2, settings: MemorySettings, layers: UampLayers | None) -> VideoTracker:
    return VideoTracker(model, name="nano", memory="mine", settings=settings, layers=layers)


def test_untrained_layers_equal_the_training_free_setting_bit_for_bit(model: Sam2, frames: Frames) -> None:
    settings = MemorySettings(write=0.5, keep=0.3, read=0.5, adapt=1, learned=1, refine=1, second_look=1)
    plain = track(tracker_of(model, settings, None), frames, prompts())
    layered = track(tracker_of(model, settings, untrained(model)), frames, prompts())
    for a, b in zip(plain, layered, strict=True):
        assert torch.equal(a.logits, b.logits)
        assert torch.equal(a.uncertainty, b.uncertainty)
        assert torch.equal(a.scores, b.scores)


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(MemorySettings(adapt=1.0), id="adapt"),
        pytest.param(MemorySettings(learned=1.0), id="learned"),
        pytest.param(MemorySettings(refine=1.0), id="refine"),
        pytest.param(MemorySettings(second_look=1.0), id="second_look"),
    ],
)
def test_each_trained_part_changes_something(model: Sam2, frames: Frames, part: MemorySettings) -> None:
    plain = track(tracker_of(model, SAM2, trained(model)), frames, prompts())
    changed = track(tracker_of(model, part, trained(model)), frames, prompts())
    assert torch.equal(plain[0].logits, changed[0].logits) == (part.adapt == 0), "it alone acts on a prompted frame"
    assert not torch.equal(plain[-1].uncertainty, changed[-1].uncertainty)
    assert all(((r.uncertainty >= 0) & (r.uncertainty <= 1)).all() for r in changed)
    assert not torch.equal(plain[-1].logits, changed[-1].logits)


def test_the_second_mask_decides_only_where_the_first_is_doubtful(model: Sam2, frames: Frames) -> None:
    first = track(tracker_of(model, SAM2, trained(model)), frames[:2], prompts())[1]
    settings = MemorySettings(second_look=1, second_look_above=0.999)
    assert torch.equal(
        track(tracker_of(model, settings, trained(model)), frames[:2], prompts())[1].logits, first.logits
    )
    settings = MemorySettings(second_look=1, second_look_above=float(first.uncertainty.median()))
    some = track(tracker_of(model, settings, trained(model)), frames[:2], prompts())[1]
    everywhere = track(tracker_of(model, MemorySettings(second_look=1), trained(model)), frames[:2], prompts())[1]
    assert not torch.equal(some.logits, everywhere.logits)
    assert not torch.equal(some.logits, first.logits)


def test_a_mask_and_what_memory_is_told_agree_on_whether_an_object_is_there(model: Sam2) -> None:
    logits, row = torch.full((2, 1, 16, 16), -9.0), torch.ones(2, 1)
    logits[0, :, :8] = 9.0
    first = FrameOutput(logits, row, row, torch.zeros(2, dtype=torch.long), logits, row, row, logits)
    gone = torch.full_like(logits, ABSENT_LOGIT)
    second = replace(first, logits=gone, present=torch.tensor([[0.0], [1.0]]))
    decided = _decide(second, first, torch.zeros_like(logits, dtype=torch.bool))
    assert (decided.logits[0] == ABSENT_LOGIT).all()
    assert torch.equal(decided.logits[1], first.logits[1])


def test_the_base_and_trackers_without_the_adapter_are_left_as_they_are(model: Sam2, frames: Frames) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tracker = tracker_of(model, MemorySettings(adapt=1), trained(model))
    seen = tracker.encode(frames[0])
    assert torch.equal(
        tracker.start().step(frames[0], prompts(), features=seen).logits,
        track(tracker, frames[:1], prompts())[0].logits,
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    plain = tracker.with_memory("sam2")
    assert plain.model is model is tracker.base
    assert not torch.equal(plain.encode(frames[0]).stride4, seen.stride4)
    assert tracker.acting_layers is tracker.layers
    assert plain.acting_layers is None


def test_what_is_not_corrected_is_shared_with_the_base(model: Sam2) -> None:
    layers = trained(model)
    twin = tracker_of(model, MemorySettings(adapt=1), layers).model
    corrected = layers.adapter.weights(model)
    assert corrected.keys() > {
        "image_encoder.trunk.patch_embed.proj.weight",
        "memory_attention.layers.0.linear1.weight",
    }
    for name, weight in twin.named_parameters():
        own = model.get_parameter(name)
        assert torch.equal(weight, corrected.get(name, own))
        assert (weight.data_ptr() == own.data_ptr()) == (name not in corrected)


def test_without_the_encoder_features_stay_those_of_the_base(model: Sam2, frames: Frames) -> None:
    layers = UampLayers(model, LayerSizes.of(model, encoder=False))
    with torch.no_grad():
        for end in layers.adapter.up.values():
            end.normal_(0, 0.3)
    tracker = tracker_of(model, MemorySettings(adapt=1), layers.requires_grad_(False))
    seen, plain = tracker.encode(frames[0]), tracker.with_memory("sam2").encode(frames[0])
    assert torch.equal(seen.stride16, plain.stride16)
    assert torch.equal(seen.stride4, plain.stride4)
    both = [track(one, frames[:2], prompts())[1].logits for one in (tracker, tracker.with_memory("sam2"))]
    assert not torch.equal(*both)


def test_other_memory_settings_leave_trained_layers_alone(model: Sam2, frames: Frames) -> None:
    with_layers = VideoTracker(model, name="nano", memory="uamp", layers=trained(model)).with_memory("sam2")
    plain = track(VideoTracker(model, name="nano", memory="sam2"), frames, prompts())
    assert all(
        torch.equal(a.logits, b.logits) for a, b in zip(plain, track(with_layers, frames, prompts()), strict=True)
    )


def test_objects_together_equal_objects_alone(model: Sam2, frames: Frames) -> None:
    tracker = tracker_of(model, UAMP, trained(model))
    together = track(tracker, frames, prompts())
    for row, (object_id, prompt) in enumerate(prompts().items()):
        alone = track(tracker, frames, {object_id: prompt})
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a.logits[row], b.logits[0], atol=1e-3, rtol=1e-3)


def test_interleaved_sessions_equal_sessions_alone_bit_for_bit(model: Sam2, frames: Frames) -> None:
    tracker = tracker_of(model, UAMP, trained(model))
    forward, backward = track(tracker, frames, prompts()), track(tracker, frames[::-1], prompts())
    one, other = tracker.start(), tracker.start()
    for t in range(len(frames)):
        start = prompts() if t == 0 else None
        assert torch.equal(one.step(frames[t], start).logits, forward[t].logits)
        assert torch.equal(other.step(frames[-1 - t], start).logits, backward[t].logits)


def test_training_unrolls_what_a_session_does(model: Sam2, frames: Frames) -> None:
    layers = trained(model)
    tracker = tracker_of(model, UAMP, layers)
    region = np.zeros((48, 80), bool)
    region[10:30, 20:50] = True
    session = tracker.start()
    seen = [session.step(f, {1: Prompt.mask(region)} if t == 0 else None) for t, f in enumerate(frames)]
    from uamp_model.preprocess import prepare_frame, prepare_mask

    images = torch.cat([prepare_frame(f, SIZE) for f in frames])[None]
    mask = PromptBatch(masks=prepare_mask(region, 48, 80, SIZE))
    with torch.inference_mode():
        outputs = unroll(
            model,
            images,
            torch.zeros(1, dtype=torch.long),
            mask,
            learned=Learned(layers, second_look_above=UAMP.second_look_above),
            weights=layers.adapter.weights(model),
        )
    assert len(outputs) == len(seen)
    last = torch.nn.functional.interpolate(outputs[-1].logits, (48, 80), mode="bilinear", align_corners=False)[0, 0]
    # a session stores memory in bfloat16
    assert ((last > 0) == seen[-1].masks[0]).float().mean() > 0.97


@pytest.mark.parametrize("how", ["frozen", "without gradients", "only tracked"])
def test_learned_strengths_act_whether_they_are_learning_or_not(model: Sam2, how: str) -> None:
    def unrolled(*, learning: bool, grad: bool, free: int = 0) -> list[torch.Tensor]:
        with torch.set_grad_enabled(grad):
            outputs = unroll(
                model,
                images,
                torch.zeros(1, dtype=torch.long),
                mask,
                learned=Learned(trained(model).requires_grad_(learning)),
                free=free,
            )
        return [output.logits.detach() for output in outputs]

    torch.manual_seed(4)
    images = torch.randn(1, 4, 3, SIZE, SIZE)
    mask = PromptBatch(masks=(torch.rand(1, 1, SIZE, SIZE) > 0.5).float())
    cases = {
        "frozen": unrolled(learning=False, grad=True),
        "without gradients": unrolled(learning=True, grad=False),
        "only tracked": unrolled(learning=True, grad=True, free=2),
    }
    torch.testing.assert_close(cases[how], unrolled(learning=True, grad=True))


def test_gradients_reach_every_layer_and_nothing_else(model: Sam2) -> None:
    layers = untrained(model)
    with torch.no_grad():
        for end in chain.from_iterable(layers.last_weights.values()):
            end.normal_(0, 0.1)
    images = torch.randn(1, 4, 3, SIZE, SIZE)
    mask = PromptBatch(masks=(torch.rand(1, 1, SIZE, SIZE) > 0.5).float())
    weights = layers.adapter.weights(model)
    outputs = unroll(model, images, torch.zeros(1, dtype=torch.long), mask, learned=Learned(layers), weights=weights)
    last = outputs[-1]
    (last.logits.mean() + last.uncertainty.mean() + last.ious.mean() + last.presence.mean()).backward()
    idle = {name for name, p in layers.named_parameters() if p.grad is None or not p.grad.any()}
    # the decoder has a mask for unambiguous prompts, which is not asked for while an object is tracked
    assert all("sam_mask_decoder/output_hypernetworks_mlps/0/" in name for name in idle)
    assert all(p.grad is None for p in model.parameters())


def test_no_change_of_the_prior_is_exactly_none() -> None:
    prior = torch.rand(1000)
    assert torch.equal(doubt_correction(prior, torch.zeros(1000)), torch.zeros(1000))
    moved = prior + doubt_correction(prior, torch.full((1000,), 2.0))
    assert (moved > prior).all()


def test_files_come_back_and_know_their_base(model: Sam2, tmp_path: Path) -> None:
    layers, path = trained(model), tmp_path / "uamp_finetuned.safetensors"
    save_layers(path, layers, base_model="nano", base_digest=weights_digest(model))
    again = load_layers(path, model, base_model="nano")
    assert all(
        torch.equal(a, b) for a, b in zip(layers.state_dict().values(), again.state_dict().values(), strict=True)
    )
    with pytest.raises(CheckpointError, match=r"for nano, not for sam2\.1-hiera-tiny"):
        load_layers(path, model, base_model="sam2.1-hiera-tiny")
    other, renamed = build_model("nano", image_size=SIZE), path.rename(tmp_path / "layers.pth")
    with pytest.raises(CheckpointError, match="trained on other weights of nano"):
        load_layers(renamed, other, base_model="nano")


def test_the_pth_spelling_loads_and_other_files_do_not(model: Sam2, tmp_path: Path) -> None:
    layers, path = trained(model), tmp_path / "uamp_finetuned.pth"
    torch.save(layers.state_dict(), path)
    again = load_layers(path, model, base_model="nano")
    assert torch.equal(again.second_look.out.weight, layers.second_look.out.weight)
    torch.save(model.state_dict(), path)
    with pytest.raises(CheckpointError, match="no UAMP layers"):
        load_layers(path, model, base_model="nano")
