"""UAMP's parts: each one's arithmetic, off means SAM 2 bit for bit, on means something changes and nothing leaks."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from uamp_model import InputError, Prompt, VideoTracker
from uamp_model.memory import MemoryBank, MemoryEntry, Retention, select_best
from uamp_model.presets import PARTS as PARTS_OF_UAMP
from uamp_model.presets import SAM2, SAMURAI, UAMP, MemorySettings, ablation, memory_settings
from uamp_model.propagation import (
    ObjectMotion,
    choose_hypothesis,
    expect,
    keep_past,
    learn_motion,
    memory_quality,
    read_bias,
    temper,
    to_cells,
)
from uamp_model.sam2 import Decoded, ImageFeatures, MemoryTokens, Sam2, attend_memory, build_model
from uamp_model.uncertainty import consensus, mean_over_object, prior_uncertainty

SIZE = 64
ALL_PARTS = MemorySettings(choose=0.5, settled=1, reliable=0.0, select=0.05, write=0.7, keep=0.5, read=1.0, anchor=0.5)
PARTS = {
    "choose": MemorySettings(choose=1.0, choose_steadily=True, settled=1, reliable=0.0),
    "select": MemorySettings(select=0.99),
    "write": MemorySettings(write=1.0),
    "keep": MemorySettings(keep=1.0),
    "read": MemorySettings(read=2.0),
    "anchor": MemorySettings(anchor=2.0),
    "samurai": replace(SAMURAI, settled=1, reliable=0.0, choose=1.0),
    "all": ALL_PARTS,
}
Frames = list[npt.NDArray[np.uint8]]


@pytest.fixture(scope="module")
def model() -> Sam2:
    """nano's architecture with random weights that see something everywhere, at 64 px for speed."""
    torch.manual_seed(3)
    model = build_model("nano", image_size=SIZE)
    with torch.no_grad():
        model.get_parameter("sam_mask_decoder.pred_obj_score_head.layers.2.bias").fill_(3.0)
        for hypothesis in range(4):  # random hypotheses that differ visibly
            bias = model.get_parameter(f"sam_mask_decoder.output_hypernetworks_mlps.{hypothesis}.layers.2.bias")
            bias.copy_(torch.randn_like(bias))
    return model


@pytest.fixture(scope="module")
def frames() -> Frames:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 80, 3), dtype=np.uint8) for _ in range(9)]


def prompts() -> dict[int, Prompt]:
    region = np.zeros((48, 80), bool)
    region[10:30, 20:50] = True
    return {1: Prompt.mask(region), 2: Prompt.mask(region[::-1, ::-1]), 3: Prompt.box(1, 1, 30, 30)}


def track(tracker: VideoTracker, frames: Frames, objects: dict[int, Prompt]) -> torch.Tensor:
    session = tracker.start()
    return torch.stack([session.step(f, objects if t == 0 else None).logits for t, f in enumerate(frames)])


def with_settings(model: Sam2, settings: MemorySettings) -> VideoTracker:
    return VideoTracker(model, name="nano", memory="mine", settings=settings)


def test_no_strength_at_all_is_sam2_bit_for_bit(model: Sam2, frames: Frames) -> None:
    off = MemorySettings(settled=3, reliable=0.9, pool=2)  # thresholds of parts that are off
    assert torch.equal(
        track(with_settings(model, off), frames, prompts()), track(with_settings(model, SAM2), frames, prompts())
    )


@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_something(model: Sam2, frames: Frames, part: str) -> None:
    plain = track(with_settings(model, SAM2), frames, prompts())
    changed = track(with_settings(model, PARTS[part]), frames, prompts())
    assert torch.isfinite(changed).all()
    assert torch.equal(changed[0], plain[0])
    assert not torch.equal(changed[1:], plain[1:])


@pytest.mark.parametrize("part", PARTS)
def test_objects_in_one_batch_equal_objects_alone(model: Sam2, frames: Frames, part: str) -> None:
    tracker = with_settings(model, PARTS[part])
    together = track(tracker, frames, prompts())
    for row, (object_id, prompt) in enumerate(prompts().items()):
        alone = track(tracker, frames, {object_id: prompt})
        torch.testing.assert_close(together[:, row], alone[:, 0], atol=1e-3, rtol=1e-3)


def test_interleaved_sessions_equal_sessions_alone_bit_for_bit(model: Sam2, frames: Frames) -> None:
    tracker = with_settings(model, ALL_PARTS)
    backwards = frames[::-1]
    apart = track(tracker, frames, prompts()), track(tracker, backwards, prompts())
    one, other = tracker.start(), tracker.start()
    for t in range(len(frames)):
        start = prompts() if t == 0 else None
        assert torch.equal(one.step(frames[t], start).logits, apart[0][t])
        assert torch.equal(other.step(backwards[t], start).logits, apart[1][t])


def test_reverse_tracking_is_tracking_of_the_reversed_video(model: Sam2, frames: Frames) -> None:
    tracker = with_settings(model, ALL_PARTS)
    session = tracker.start(first_frame=len(frames) - 1, reverse=True)
    reverse = torch.stack([session.step(f, prompts() if t == 0 else None).logits for t, f in enumerate(frames[::-1])])
    assert torch.equal(reverse, track(tracker, frames[::-1], prompts()))


def test_memory_stays_bounded_with_selection(model: Sam2, frames: Frames) -> None:
    tracker = with_settings(model, replace(ALL_PARTS, select=0.001))
    session = tracker.start()
    for t in range(60):
        session.step(frames[t % len(frames)], prompts() if t == 0 else None)
    bank = session.objects[1].bank
    assert len(bank.recent) <= model.max_obj_ptrs_in_encoder + ALL_PARTS.pool + 1
    assert sum(e.features is not None for e in bank.recent.values()) <= ALL_PARTS.pool + 1


def test_memory_settings_by_name() -> None:
    assert memory_settings("sam2") == SAM2
    assert memory_settings("uamp", "nano") == replace(UAMP, outline=1.0, anchor=0.7)
    assert memory_settings("uamp", "sam2.1-hiera-tiny") == UAMP
    assert memory_settings("samurai", "sam2.1-hiera-tiny").choose == 0.25
    assert memory_settings("samurai", "sam2.1-hiera-large").choose == 0.15
    with pytest.raises(InputError, match=r"Did you mean samurai\?"):
        memory_settings("samuray")


def test_a_zero_bias_is_sam2s_attention(model: Sam2) -> None:
    torch.manual_seed(0)
    n, c, d, h = 2, 128, 64, SIZE // 16
    features = ImageFeatures(torch.randn(n, c, h, h), torch.empty(0), torch.empty(0), torch.randn(1, c, h, h))
    memory = MemoryTokens(
        torch.randn(n, 3, d, h, h), torch.tensor([[0, 5, 6]] * n), torch.randn(n, 2, c), torch.tensor([[0.2, 0.1]])
    )
    with torch.inference_mode():
        plain = attend_memory(model, features, memory)
        zero = attend_memory(model, features, replace(memory, bias=torch.zeros(n, 3, h, h)))
        torch.testing.assert_close(zero, plain, atol=1e-5, rtol=1e-5)
        # a memory that is wholly doubtful is as good as absent
        hidden = torch.zeros(n, 3, h, h)
        hidden[:, 1] = -1e4
        without = replace(memory, spatial=memory.spatial[:, [0, 2]], recency=memory.recency[:, [0, 2]])
        torch.testing.assert_close(
            attend_memory(model, features, replace(memory, bias=hidden)),
            attend_memory(model, features, without),
            atol=1e-5,
            rtol=1e-5,
        )


def _decoded(masks: torch.Tensor, ious: torch.Tensor) -> Decoded:
    return Decoded(masks * 20 - 10, ious, torch.zeros(len(ious), 1), torch.empty(0))


def _square(x: int, y: int) -> torch.Tensor:
    mask = torch.zeros(32, 32)
    mask[y : y + 8, x : x + 8] = 1
    return mask


def test_motion_chooses_what_is_where_it_should_be() -> None:
    settings = MemorySettings(choose=0.5, choose_steadily=True, settled=2)
    motions = [ObjectMotion(), ObjectMotion()]
    for t in range(4):  # one square moves to the right, the other stands still
        logits = torch.stack([_square(2 + 2 * t, 4), _square(20, 20)]).unsqueeze(1) * 20 - 10
        expectation = expect(motions, settings, torch.device("cpu")) if t else None
        motions = learn_motion(motions, expectation, logits, [0.9, 0.9], settings)
    assert [motion.settled for motion in motions] == [4, 4]
    expectation = expect(motions, settings, torch.device("cpu"))
    hypotheses = torch.stack(
        [torch.stack([_square(24, 24), _square(10, 4)]), torch.stack([_square(20, 20), _square(0, 0)])]
    )
    decoded = _decoded(hypotheses, torch.tensor([[0.9, 0.7], [0.6, 0.9]]))
    assert choose_hypothesis(decoded, slice(None), expectation=expectation).tolist() == [1, 0]
    assert choose_hypothesis(decoded, slice(None), expectation=None).tolist() == [0, 1]
    second = Decoded(decoded.hypotheses[1:], decoded.ious[1:], decoded.presence[1:], decoded.tokens)
    assert choose_hypothesis(second, slice(1, 2), expectation=expectation).tolist() == [0]
    fresh = expect([ObjectMotion(m.filter, 1) for m in motions], settings, torch.device("cpu"))
    assert choose_hypothesis(decoded, slice(None), expectation=fresh).tolist() == [0, 1]


def test_a_filter_starts_anew_after_an_unreliable_mask() -> None:
    settings = MemorySettings(choose=0.5)
    logits = _square(4, 4)[None, None] * 20 - 10
    [known] = learn_motion([ObjectMotion()], None, logits, [0.9], settings)
    expectation = expect([known], settings, torch.device("cpu"))
    assert learn_motion([known], expectation, logits, [0.2], settings)[0].filter is None
    assert learn_motion([known], expectation, torch.full_like(logits, -5), [0.9], settings)[0].filter is None


def test_confidence_in_motion_falls_while_it_is_not_confirmed() -> None:
    settings = MemorySettings(choose=1.0, settled=1)
    [motion] = learn_motion([ObjectMotion()], None, _square(4, 4)[None, None] * 20 - 10, [0.9], settings)
    weights = []
    for _ in range(12):
        expectation = expect([motion], settings, torch.device("cpu"))
        weights.append(float(expectation.weight[0]))
        motion = ObjectMotion(expectation.filters, 5)
    assert all(late < early for early, late in pairwise(weights))
    assert 0 <= weights[-1] < 0.5 < weights[0] <= 1


def _bank(qualities: list[float], kept: Retention) -> MemoryBank:
    bank = MemoryBank()
    bank.remember_prompted(MemoryEntry(0, torch.zeros(1, 64, 2, 2), torch.zeros(1, 128)))
    for frame, quality in enumerate(qualities, 1):
        bank.remember(MemoryEntry(frame, torch.zeros(1, 64, 2, 2), torch.zeros(1, 128), None, quality), kept)
    return bank


def test_selection_reads_the_last_frame_and_the_best_of_the_latest(model: Sam2) -> None:
    kept = Retention(7, 16, quality=0.5, pool=6)
    bank = _bank([0.9, 0.1, 0.8, 0.7, 0.2, 0.95, 0.6, 0.7, 0.9, 0.1], kept)
    selection = select_best(model, bank, 11, 1, kept)
    # candidates 3 4 6 7 8 9 of which 7 is the worst; 10 is the last frame, however bad
    assert [(r, e.frame) for r, e in selection.spatial] == [(0, 0), (1, 3), (2, 4), (3, 6), (4, 8), (5, 9), (6, 10)]
    alone = select_best(model, bank, 11, 1, Retention(7, 16, quality=0.5, pool=0))
    assert [e.frame for _, e in alone.spatial] == [0, 10]
    few = select_best(model, _bank([0.9, 0.1], kept), 3, 1, kept)
    assert [(r, e.frame) for r, e in few.spatial] == [(0, 0), (5, 1), (6, 2)]


def test_equal_quality_means_the_latest(model: Sam2) -> None:
    kept = Retention(7, 16, quality=0.5, pool=6)
    selection = select_best(model, _bank([1.0] * 10, kept), 11, 1, kept)
    assert [e.frame for _, e in selection.spatial] == [0, 5, 6, 7, 8, 9, 10]


def test_quality_by_thresholds_is_samurais() -> None:
    ious, presence = torch.tensor([0.6, 0.4, 0.6, 0.6]), torch.tensor([1.0, 1.0, -0.5, 1.0])
    agreement = torch.tensor([0.2, 0.9, 0.9, 0.0])
    assert memory_quality(ious, presence, torch.zeros(4), agreement, SAMURAI).tolist() == [1, 0, 0, 0]
    product = memory_quality(ious, presence, torch.full((4,), 0.5), agreement, SAM2)
    torch.testing.assert_close(product, ious * presence.sigmoid() * 0.5 * agreement)


def test_doubtful_pixels_and_cells() -> None:
    logits, doubt = torch.tensor([[[[8.0, -8.0]]]]), torch.tensor([[[[1.0, 0.5]]]])
    assert temper(logits, doubt, 1.0).tolist() == [[[[0.0, -4.0]]]]
    now, past = torch.ones(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
    assert keep_past(now, doubt, past, 0.5)[0, 0].tolist() == [[0.5, 0.75]]
    assert read_bias(torch.tensor([0.0, 0.5, 1.0]), 2.0).tolist() == pytest.approx(
        [0, 2 * np.log(0.5), 2 * np.log(1e-4)]
    )
    assert to_cells(torch.arange(16.0).view(1, 1, 4, 4), (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 30))
def test_uncertainty_lies_in_its_range(seed: int, scale: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    hypotheses = torch.randn(2, 3, 5, 5, generator=rng) * scale
    agreed = consensus(hypotheses, torch.rand(2, generator=rng))
    presence = torch.randn(2, 1, 1, 1, generator=rng) * scale
    doubt = prior_uncertainty(hypotheses[:, :1], agreed, presence)
    for values in (doubt, mean_over_object(doubt, hypotheses[:, :1])):
        assert 0 <= float(values.min()) <= float(values.max()) <= 1


def test_known_uncertainties() -> None:
    here, gone = torch.tensor([[[[50.0]]]]), torch.tensor([[[[-50.0]]]])
    opposite = torch.tensor([[[[50.0]], [[-50.0]]]])
    united = torch.tensor([[[[50.0]], [[50.0]]]])
    sure = torch.ones(1)
    assert float(prior_uncertainty(here, consensus(united, sure), here)) == pytest.approx(0)
    assert float(prior_uncertainty(here, consensus(opposite, sure), here)) == pytest.approx(0.5)
    assert float(prior_uncertainty(here, consensus(united, 0 * sure), here)) == pytest.approx(0.5)
    assert float(prior_uncertainty(gone, consensus(united, sure), gone)) == pytest.approx(0)
    assert float(prior_uncertainty(gone, consensus(united, sure), here)) == pytest.approx(1)
    doubt = torch.tensor([[[[0.2, 0.8]]]])
    assert mean_over_object(doubt, torch.tensor([[[[1.0, -1.0]]]])).tolist() == pytest.approx([0.2])
    assert mean_over_object(torch.zeros(1, 1, 1, 2), torch.full((1, 1, 1, 2), -1.0)).tolist() == [1.0]


def test_a_given_mask_is_beyond_doubt_and_a_tracked_one_is_not(model: Sam2, frames: Frames) -> None:
    session = with_settings(model, SAM2).start()
    first = session.step(frames[0], prompts())
    assert first.uncertainty[:2].max() == 0
    assert first.uncertainty[2].max() > 0
    assert session.step(frames[1]).uncertainty.amax((1, 2)).min() > 0


@pytest.mark.parametrize("memory", ["sam2", "uamp"])
def test_a_mask_that_corrects_a_tracked_frame_is_given(model: Sam2, frames: Frames, memory: str) -> None:
    session = VideoTracker(model, name="nano", memory=memory).start()
    session.step(frames[0], prompts())
    session.step(frames[1])
    region = np.zeros((48, 80), bool)
    region[16:32, 16:48] = True
    corrected = session.correct({1: Prompt.mask(region)})
    assert corrected.uncertainty[0].max() == 0
    assert corrected.uncertainty[2].max() > 0
    again = VideoTracker(model, name="nano", memory=memory).start().step(frames[1], {1: Prompt.mask(region)})
    assert torch.equal(corrected.masks[0], again.masks[0])


@pytest.mark.parametrize("memory", ["samurai", "sam2"])
def test_an_object_is_corrected_after_a_frame_that_is_not_worth_remembering(
    model: Sam2, frames: Frames, memory: str
) -> None:
    session = VideoTracker(model, name="nano", memory=memory).start()
    session.step(frames[0], prompts())
    for frame in frames[1:4]:
        session.step(frame)
        for known in session.objects.values():  # as where the object is hidden
            newest = known.bank.recent[session.frame_index]
            known.bank.recent[session.frame_index] = replace(newest, quality=0.0)
    assert session.correct({1: Prompt.points([[30, 20]])}).object_ids == (1, 2, 3)
    session.step(frames[4])


def test_presence_is_judged_alike_on_prompted_and_on_tracked_frames(model: Sam2, frames: Frames) -> None:
    session = with_settings(model, MemorySettings(presence_above=1e9)).start()
    box = Prompt.box(1, 1, 30, 30)
    assert not session.step(frames[0], {1: box}).masks.any()
    assert not session.step(frames[1]).masks.any()
    assert not session.correct({1: box}).masks.any()


def test_an_ablation_switches_one_part_at_a_time() -> None:
    settings = ablation()
    parts = ["+choose", "+select", "+write", "+keep", "+read", "+anchor", "+outline", "+focus"]
    assert list(settings) == ["sam2", *parts, "all"]
    for part in PARTS_OF_UAMP:
        on = {name for name, numbers in settings.items() if getattr(numbers, part) > 0}
        assert on == {f"+{part}", "all"}
