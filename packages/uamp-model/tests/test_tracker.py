"""Sessions: objects come, are corrected and go; batching, order and other sessions change nothing."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from uamp_model import DeviceError, InputError, Prompt, VideoTracker, load_tracker
from uamp_model.core import PromptBatch
from uamp_model.memory import MAX_CONDITIONING
from uamp_model.preprocess import prepare_frame, prepare_mask
from uamp_model.sam2 import build_model
from uamp_model.suggest import _distinct
from uamp_model.unroll import unroll

SIZE = 64
Frames = list[npt.NDArray[np.uint8]]
Region = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def tracker() -> VideoTracker:
    """nano's architecture with random weights that see something everywhere, at 64 px for speed."""
    torch.manual_seed(3)
    model = build_model("nano", image_size=SIZE)
    with torch.no_grad():
        model.get_parameter("sam_mask_decoder.pred_obj_score_head.layers.2.bias").fill_(3.0)
    return VideoTracker(model, name="nano")


@pytest.fixture(scope="module")
def frames() -> Frames:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 80, 3), dtype=np.uint8) for _ in range(12)]


@pytest.fixture(scope="module")
def region() -> Region:
    region = np.zeros((48, 80), bool)
    region[10:30, 20:50] = True
    return region


def track(tracker: VideoTracker, frames: Frames, prompts: dict[int, Prompt]) -> list[torch.Tensor]:
    session = tracker.start()
    return [session.step(frames[0], prompts).logits, *(session.step(f).logits for f in frames[1:])]


def test_a_result_has_the_shapes_and_ranges_it_promises(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    session = tracker.start()
    session.step(frames[0], {5: Prompt.mask(region), 2: Prompt.box(3, 4, 40, 30)})
    result = session.step(frames[1])
    assert result.frame_index == 1
    assert result.object_ids == (5, 2)
    assert result.masks.shape == result.logits.shape == result.uncertainty.shape == (2, 48, 80)
    assert result.masks.dtype == torch.bool
    assert torch.equal(result.masks, result.logits > 0)
    assert 0 <= float(result.uncertainty.min()) <= float(result.uncertainty.max()) <= 1
    assert result.scores.shape == (2,)
    assert ((result.scores >= 0) & (result.scores <= 1)).all()


def test_a_prompt_mask_comes_back_as_the_mask_of_its_frame(
    tracker: VideoTracker, frames: Frames, region: Region
) -> None:
    mask = tracker.start().step(frames[0], {1: Prompt.mask(region)}).masks[0].numpy()
    assert (mask & region).sum() / (mask | region).sum() > 0.85


def test_objects_in_one_batch_equal_objects_alone(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    prompts = {1: Prompt.mask(region), 2: Prompt.mask(region[::-1, ::-1]), 3: Prompt.box(1, 1, 30, 30)}
    together = track(tracker, frames[:6], prompts)
    for row, (object_id, prompt) in enumerate(prompts.items()):
        alone = track(tracker, frames[:6], {object_id: prompt})
        for both, one in zip(together, alone, strict=True):
            torch.testing.assert_close(both[row], one[0], atol=1e-3, rtol=1e-3)


def test_interleaved_sessions_equal_sessions_alone_bit_for_bit(
    tracker: VideoTracker, frames: Frames, region: Region
) -> None:
    first, second = {1: Prompt.mask(region)}, {1: Prompt.box(30, 5, 70, 40)}
    alone = [track(tracker, frames, first), track(tracker, frames[::-1], second)]
    sessions = [tracker.start(), tracker.start()]
    for t in range(len(frames)):
        for number, (session, order, prompts) in enumerate(
            zip(sessions, (frames, frames[::-1]), (first, second), strict=True)
        ):
            result = session.step(order[t], prompts if t == 0 else None)
            assert torch.equal(result.logits, alone[number][t])


def test_objects_are_added_and_removed_at_any_frame(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    session = tracker.start()
    assert session.step(frames[0]).object_ids == ()
    assert session.step(frames[1], {1: Prompt.mask(region)}).object_ids == (1,)
    assert session.step(frames[2], {4: Prompt.points([[5, 5]])}).object_ids == (1, 4)
    session.step(frames[3])
    session.remove(1)
    assert session.step(frames[4]).object_ids == (4,)
    with pytest.raises(InputError, match="no object 1"):
        session.remove(1)


def test_an_object_added_later_does_not_change_the_others(
    tracker: VideoTracker, frames: Frames, region: Region
) -> None:
    alone = track(tracker, frames[:6], {1: Prompt.mask(region)})
    session = tracker.start()
    session.step(frames[0], {1: Prompt.mask(region)})
    for t in range(1, 6):
        result = session.step(frames[t], {2: Prompt.box(5, 5, 30, 30)} if t == 2 else None)
        torch.testing.assert_close(result.logits[0], alone[t][0], atol=1e-3, rtol=1e-3)


def test_a_correction_changes_the_mask_and_what_follows(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    plain = track(tracker, frames[:4], {1: Prompt.mask(region)})
    session = tracker.start()
    session.step(frames[0], {1: Prompt.mask(region)})
    session.step(frames[1])
    corrected = session.correct({1: Prompt.points([[40, 20]], [0])})
    assert corrected.frame_index == 1
    assert not torch.equal(corrected.logits, plain[1])
    after = session.step(frames[2])
    assert after.frame_index == 2
    assert not torch.equal(after.logits, plain[2])


def test_a_correction_that_reaches_beyond_the_picture_leaves_others_alone(
    tracker: VideoTracker, frames: Frames, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole frame is not looked at again: it has been encoded, and maps would be resampled."""
    session = tracker.with_memory("uamp").start()
    session.step(frames[0], {1: Prompt.mask(region), 2: Prompt.mask(~region)})
    before = session.step(frames[1])
    with monkeypatch.context() as patched:
        patched.setattr(VideoTracker, "encode", None)
        after = session.correct({1: Prompt.box(-9, 4, 40, 50)})
    assert torch.equal(after.logits[1], before.logits[1])


def test_there_is_nothing_to_correct_before_the_first_frame(tracker: VideoTracker) -> None:
    with pytest.raises(InputError, match="no frame to correct"):
        tracker.start().correct({1: Prompt.box(0, 0, 4, 4)})


def test_a_rejected_prompt_leaves_the_session_as_it_was(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    alone = track(tracker, frames[:3], {1: Prompt.mask(region)})
    session = tracker.start()
    session.step(frames[0], {1: Prompt.mask(region)})
    with pytest.raises(InputError, match="outside the picture"):
        session.step(frames[1], {2: Prompt.box(100, 100, 120, 120)})
    assert torch.equal(session.step(frames[1]).logits, alone[1])


def test_propagate_covers_the_video_in_both_directions(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    prompts = {1: Prompt.mask(region)}
    results = dict(tracker.start().propagate(frames[:7], prompts, start=3))
    assert list(results) == [3, 4, 5, 6, 2, 1, 0]
    for reverse, order in ((False, (3, 4, 5, 6)), (True, (3, 2, 1, 0))):  # of a video as short as this one is
        session = tracker.start(first_frame=3, reverse=reverse, num_frames=7)
        for index in order:
            alone = session.step(frames[index], prompts if index == 3 else None)
            assert torch.equal(results[index].logits, alone.logits)
    for start in (7, -1, 1.5):
        with pytest.raises(InputError, match="not in the video"):
            next(tracker.start().propagate(frames[:7], prompts, start=start))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"not list_iterator: give list\(frames\)"):
        next(tracker.start().propagate(iter(list(frames)), prompts))  # type: ignore[arg-type]


def test_memory_does_not_grow_with_the_video(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    session = tracker.start()
    for t in range(60):
        session.step(frames[t % 12], {1: Prompt.mask(region)} if t % 2 == 0 else None)
    bank = session.objects[1].bank
    assert len(bank.conditioning) == MAX_CONDITIONING
    assert min(bank.conditioning) == 0
    assert len(bank.recent) <= tracker.model.max_obj_ptrs_in_encoder
    assert sum(e.features is not None for e in bank.recent.values()) <= tracker.model.num_maskmem


@pytest.mark.parametrize("budget", [1.0, 0.25])
def test_training_and_sessions_share_one_core(
    tracker: VideoTracker, frames: Frames, region: Region, budget: float
) -> None:
    images = torch.stack([prepare_frame(f, SIZE)[0] for f in frames[:5]]).unsqueeze(0)
    masks = prepare_mask(region, 48, 80, SIZE)
    objects = torch.zeros(1, dtype=torch.long)
    outputs = unroll(tracker.model, images, objects, PromptBatch(masks=masks), budget=budget)
    session = VideoTracker(tracker.base, name="nano", memory_budget=budget).start()
    for t, output in enumerate(outputs):
        session.step(frames[t], {1: Prompt.mask(region)} if t == 0 else None)
        mine = session._seen([1])[0].logits
        assert mine is not None
        # A session keeps memories in bfloat16, training in float32.
        torch.testing.assert_close(mine, output.logits, atol=0.05, rtol=0.02)


@pytest.mark.parametrize("budget", [1.0, 0.25])
def test_gradients_reach_every_part_through_the_memory(frames: Frames, region: Region, budget: float) -> None:
    model = build_model("nano", image_size=SIZE)
    images = torch.stack([prepare_frame(f, SIZE)[0] for f in frames[:3]]).unsqueeze(0)
    prompts = PromptBatch(masks=prepare_mask(region, 48, 80, SIZE))
    present = torch.ones(1, 3, dtype=torch.bool)
    outputs = unroll(model, images, torch.zeros(1, dtype=torch.long), prompts, present=present, budget=budget)
    outputs[-1].logits.mean().backward()
    for part in ("image_encoder", "memory_attention", "memory_encoder", "sam_mask_decoder", "obj_ptr_proj"):
        gradients = [p.grad for p in model.get_submodule(part).parameters() if p.grad is not None]
        assert any(bool(g.abs().sum() > 0) for g in gradients), part


def test_features_encoded_before_give_the_same_masks(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    plain = track(tracker, frames[:4], {1: Prompt.mask(region)})
    twin = tracker.with_memory("sam2")
    assert twin.model is tracker.model
    assert (twin.name, twin.memory, twin.dtype) == (tracker.name, "sam2", tracker.dtype)
    sessions = tracker.start(), twin.start()
    for t in range(4):
        features = tracker.encode(frames[t])
        for session in sessions:
            result = session.step(frames[t], {1: Prompt.mask(region)} if t == 0 else None, features=features)
            assert torch.equal(result.logits, plain[t])


def test_features_and_memory_settings_that_do_not_fit_are_refused(tracker: VideoTracker, frames: Frames) -> None:
    features = tracker.encode(frames[0])
    with pytest.raises(InputError, match="image features"):
        tracker.start().step(frames[0], features=features.expand(2))
    with pytest.raises(InputError, match="image features"):
        VideoTracker(build_model("nano", image_size=2 * SIZE), name="nano").start().step(frames[0], features=features)
    with pytest.raises(InputError, match="Unknown memory setting"):
        tracker.with_memory("elephant")


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        "x",
    ],
)
def test_wrong_frames_are_named(tracker: VideoTracker, frame: object) -> None:
    with pytest.raises(InputError, match="frame"):
        tracker.start().step(frame)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (17, 4000), (2, 2)])
def test_odd_frame_sizes_work(tracker: VideoTracker, size: tuple[int, int]) -> None:
    frame = np.full((*size, 3), 90, np.uint8)
    session = tracker.start()
    session.step(frame, {1: Prompt.mask(np.ones(size, bool))})
    assert session.step(frame).masks.shape == (1, *size)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("exact", [True, False])
def test_a_context_of_the_caller_changes_no_precision(
    frames: Frames, region: Region, exact: bool, kind: torch.dtype
) -> None:
    tracker = load_tracker("nano", device="cpu", precision="fp32", exact=exact, image_size=SIZE)
    plain = track(tracker, frames[:4], {1: Prompt.mask(region)})
    with torch.autocast("cpu", dtype=kind):
        within = track(tracker, frames[:4], {1: Prompt.mask(region)})
    assert all(torch.equal(a, b) for a, b in zip(plain, within, strict=True))


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_another_default_dtype_is_refused(
    tracker: VideoTracker, frames: Frames, region: Region, kind: torch.dtype
) -> None:
    alone = track(tracker, frames[:2], {1: Prompt.mask(region)})
    session, features = tracker.start(), tracker.encode(frames[1])
    session.step(frames[0], {1: Prompt.mask(region)})
    torch.set_default_dtype(kind)
    try:
        with pytest.raises(InputError, match="default dtype"):
            session.step(frames[1], features=features)
        with pytest.raises(InputError, match="default dtype"):
            session.correct({2: Prompt.mask(region)})
        with pytest.raises(InputError, match="default dtype"):
            load_tracker("nano")
    finally:
        torch.set_default_dtype(torch.float32)
    after = session.step(frames[1])
    assert (after.frame_index, after.object_ids) == (1, (1,))
    assert torch.equal(after.logits, alone[1])


@pytest.mark.parametrize("call", ["step", "correct"])
def test_an_object_that_could_not_be_found_is_not_followed(
    tracker: VideoTracker, frames: Frames, region: Region, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory is short, or the user interrupts: the session can be used on."""
    session = tracker.start()
    session.step(frames[0], {1: Prompt.mask(region)})

    def fail(*given: object, **named: object) -> None:
        torch.empty(2**50)

    with monkeypatch.context() as patched:
        patched.setattr(type(session), "_read_prompt", fail)
        with pytest.raises(DeviceError, match="Memory ran out on cpu"):
            getattr(session, call)(*([frames[1]] if call == "step" else []), {2: Prompt.mask(region)})
    assert session.step(frames[2]).object_ids == (1,)


def test_sessions_can_be_told_apart(tracker: VideoTracker, frames: Frames, region: Region) -> None:
    sessions = [tracker.start(), tracker.start()]
    for session in sessions:
        session.step(frames[0], {1: Prompt.mask(region)})
    assert sessions.index(sessions[1]) == 1
    assert len(set(sessions)) == 2


def test_features_of_another_kind_are_refused(tracker: VideoTracker, frames: Frames) -> None:
    with pytest.raises(InputError, match="what `encode` gives"):
        tracker.start().step(frames[0], features=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [0, -1])
def test_fewer_than_one_suggestion_are_none(most: int) -> None:
    assert _distinct(torch.ones(1, 4, 4, dtype=torch.bool), torch.tensor([0]), most) == []


@pytest.mark.parametrize("exact", [True, False])
def test_rotary_tables_are_where_the_network_is_and_can_be_trained_through(exact: bool) -> None:
    """sam2 would move them in the first frame, in inference mode."""
    model = build_model("nano", image_size=SIZE).to("meta")
    with torch.inference_mode():
        VideoTracker(model, name="nano", exact=exact)
    tables: list[torch.Tensor] = [part.freqs_cis for part in model.modules() if hasattr(part, "freqs_cis")]  # type: ignore[misc]
    assert len(tables) == 4
    assert all(table.is_meta and not table.is_inference() for table in tables)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("memory", ["sam2", "uamp"])
def test_frames_turned_round_without_a_copy(exact: bool, memory: str, frames: Frames, region: Region) -> None:
    """As BGR becomes RGB: an array whose strides are negative."""
    tracker = VideoTracker(build_model("nano", image_size=SIZE), name="nano", memory=memory, exact=exact)
    turned = [frame[..., ::-1] for frame in frames[:3]]
    copies = [frame.copy() for frame in turned]
    prompts = {1: Prompt.mask(region)}
    for a, b in zip(track(tracker, turned, prompts), track(tracker, copies, prompts), strict=True):
        assert torch.equal(a, b)
    assert len(tracker.encode_together([turned[0], turned[1]])) == 2
    assert tracker.encode_together([]) == []


@pytest.mark.parametrize(
    "prompts", [[Prompt.box(1, 1, 9, 9)], {1: (5, 5, 40, 40)}, {1: None}], ids=["a list", "a tuple", "nothing"]
)
def test_what_is_no_prompt_is_refused(prompts: object, tracker: VideoTracker, frames: Frames) -> None:
    with pytest.raises(InputError, match=r"Prompt\.box"):
        tracker.start().step(frames[0], prompts)  # type: ignore[arg-type]
