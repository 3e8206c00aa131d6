"""The tracker in its `sam2` setting gives the masks of the sam2 package's own `SAM2VideoPredictor`.

Both are told the same story: the frames, the prompts and corrections of several objects, and the direction. One object
goes through the same arithmetic and comes out equal to the last bit. Several objects read their memories in one batch:
where a CPU's kernels round that differently, memories, stored in bfloat16, carry it on, and a pixel whose logit is as
good as 0 may fall on the other side.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import uamp_model
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor, nn
from uamp_model.catalog import find_model
from uamp_model.checkpoint import load_state_dict, save_state_dict
from uamp_model.load import load_tracker
from uamp_model.sam2 import ABSENT_LOGIT, build_model, model_config
from uamp_model.tracker import VideoTracker
from uamp_model.types import BOX_CORNER_0, Prompt

pytestmark = pytest.mark.timeout(1200)  # the longest takes 80 s on two busy cores

Frames = Sequence[npt.NDArray[np.uint8]]
Seen = dict[int, dict[int, Tensor]]
"""Frame number → object id → H×W mask logits."""


@dataclass(frozen=True)
class Story:
    """What a person does with a video.

    Attributes:
        prompts: by frame, then object id: given when the frame comes.
        corrections: by frame, then object id: given once the frame has been seen.
        reverse: whether the frames come from the last to the first.
    """

    prompts: Mapping[int, Mapping[int, Prompt]]
    corrections: Mapping[int, Mapping[int, Prompt]] = field(default_factory=dict)
    reverse: bool = False

    def order(self, count: int) -> list[int]:
        """The frames from the first prompt on, as they come."""
        if self.reverse:
            return list(range(max(self.prompts), -1, -1))
        return list(range(min(self.prompts), count))


def moving_discs(count: int, height: int, width: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """A clip of three coloured discs that move over a drifting pattern of squares; two of them meet."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    y, x = y / height, x / width
    cell = max(height, width) // 32
    pattern = rng.integers(0, 255, (height // cell + 1, width // cell + 1, 3)).repeat(cell, 0).repeat(cell, 1)
    discs = [
        (0.3, 0.3, 0.02, 0.01, 0.12, (255, 40, 40)),
        (0.7, 0.6, -0.015, 0.01, 0.15, (40, 255, 80)),
        (0.5, 0.8, 0.01, -0.025, 0.1, (60, 80, 255)),
    ]
    frames = []
    for t in range(count):
        frame = 0.5 * np.roll(pattern, (2 * t, 3 * t), (0, 1))[:height, :width]
        for cx, cy, vx, vy, radius, colour in discs:
            frame[np.hypot(x - cx - vx * t, y - cy - vy * t) < radius] = colour
        frames.append(np.clip(frame + rng.normal(0, 4, frame.shape), 0, 255).astype(np.uint8))
    return frames


def disc_mask(height: int, width: int, cx: float, cy: float, radius: float) -> npt.NDArray[np.bool_]:
    """A disc in units of the picture's sides."""
    y, x = np.mgrid[:height, :width]
    return np.asarray(np.hypot(x / width - cx, y / height - cy) < radius)


def lively_weights(name: str) -> dict[str, Tensor]:
    """Random weights whose masks depend on the picture, on the prompt and on memory, frame after frame.

    As initialised, a network's random layers shrink what passes through them, so that every prompt ends in the same
    mask and a wrong memory would not be noticed. Larger weights from memory to mask keep the differences alive.
    """
    torch.manual_seed(0)
    model = build_model(name)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.ndim >= 2 and key.startswith(("memory_attention", "memory_encoder", "obj_ptr_proj")):
                value.mul_(2)
            if value.ndim >= 2 and key.startswith("sam_mask_decoder"):
                value.mul_(2)
        model.get_parameter("sam_mask_decoder.pred_obj_score_head.layers.2.bias").fill_(3)  # in view
    return {key: value.clone() for key, value in model.state_dict().items()}


def official_predictor(name: str, weights: Mapping[str, Tensor], *, image_size: int | None = None) -> Any:
    """`SAM2VideoPredictor` without postprocessing, from the model's own configuration."""
    config = model_config(name, image_size=image_size)
    config["_target_"] = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    predictor = instantiate(config)
    assert isinstance(predictor, nn.Module)
    predictor.load_state_dict(weights)
    return predictor.eval()


def track_officially(predictor: Any, frames: Frames, story: Story, folder: Path) -> Seen:
    """Tell the story to the sam2 package's predictor; `folder` takes the frames, as it wants to read them itself."""
    for index, frame in enumerate(frames):
        # the predictor only looks at the name's ending, so that the pixels can be stored without loss
        Image.fromarray(frame).save(folder / f"{index}.jpg", format="PNG")
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        state = predictor.init_state(str(folder))
        order = story.order(len(frames))
        seen: Seen = {}
        # propagation runs from one event to the next
        starts = sorted({order.index(f) for f in story.prompts} | {order.index(f) + 1 for f in story.corrections})
        for begin, end in zip(starts, [*starts[1:], len(order)], strict=True):
            if begin == end:
                continue
            for object_id, prompt in story.prompts.get(order[begin], {}).items():
                _prompt_officially(predictor, state, order[begin], object_id, prompt)
                if object_id in story.corrections.get(order[begin], {}):  # before it is tracked, as ours
                    _prompt_officially(
                        predictor, state, order[begin], object_id, story.corrections[order[begin]][object_id]
                    )
            for index, ids, logits in predictor.propagate_in_video(
                state, start_frame_idx=order[begin], max_frame_num_to_track=end - begin - 1, reverse=story.reverse
            ):
                seen[index] = _by_object(ids, logits)
            for object_id, prompt in story.corrections.get(order[end - 1], {}).items():
                if object_id in story.prompts.get(order[end - 1], {}):
                    continue
                ids, logits = _prompt_officially(predictor, state, order[end - 1], object_id, prompt)
                seen[order[end - 1]] = _by_object(ids, logits)
    return seen


def _prompt_officially(
    predictor: Any, state: Any, frame: int, object_id: int, prompt: Prompt
) -> tuple[Sequence[int], Tensor]:
    if prompt.region is not None:
        _, ids, logits = predictor.add_new_mask(state, frame, object_id, prompt.region)
        return ids, logits
    corners = 2 if prompt.labels[0] == BOX_CORNER_0 else 0
    box = prompt.xy[:2].reshape(4) if corners else None
    points = (prompt.xy[corners:], prompt.labels[corners:]) if len(prompt.labels) > corners else (None, None)
    _, ids, logits = predictor.add_new_points_or_box(
        state, frame, object_id, points=points[0], labels=points[1], box=box
    )
    return ids, logits


def _by_object(ids: Sequence[int], logits: Tensor) -> dict[int, Tensor]:
    return {object_id: logits[row, 0].clone() for row, object_id in enumerate(ids)}


def track_ourselves(tracker: VideoTracker, frames: Frames, story: Story, *, num_frames: int | None = None) -> Seen:
    """Tell the story to one of our sessions."""
    order = story.order(len(frames))
    session = tracker.start(first_frame=order[0], reverse=story.reverse, num_frames=num_frames)
    seen: Seen = {}
    for index in order:
        result = session.step(frames[index], story.prompts.get(index))
        if index in story.corrections:
            result = session.correct(story.corrections[index])
        assert result.frame_index == index
        assert torch.equal(result.masks, result.logits > 0)
        seen[index] = dict(zip(result.object_ids, result.logits, strict=True))
    return seen


SIZE = 128
"""Side of the input in most tests, half of nano's own, to be quick."""
BOX = Prompt.box(20, 20, 55, 55)
POINT = Prompt.points([[90, 75]])
POINTS = Prompt.points([[38, 38], [45, 35], [100, 100]], [1, 1, 0])
BOX_AND_POINT = BOX.with_points([[25, 25]], [0])
MASK = Prompt.mask(disc_mask(SIZE, SIZE, 0.5, 0.8, 0.1))
AWAY = Prompt.points([[50, 50]], [0])


@dataclass(frozen=True)
class Pair:
    """The same weights in both trackers."""

    ours: VideoTracker
    theirs: Any

    def compare(self, frames: Frames, story: Story, folder: Path, *, exact: bool) -> Seen:
        """Tell both the story, hold their masks equal, and return the official ones."""
        with torch.inference_mode():
            expected = track_officially(self.theirs, frames, story, folder)
        found = track_ourselves(self.ours, frames, story, num_frames=len(frames))
        assert list(found) == story.order(len(frames))
        assert found.keys() == expected.keys()
        for index, objects in expected.items():
            assert list(found[index]) == list(objects)
            for object_id, logits in objects.items():
                own = found[index][object_id]
                margin = 0.0 if exact else 1e-3
                torch.testing.assert_close(own, logits, rtol=0, atol=1e-5 if exact else 1e-3)
                wrong = ((own > 0) != (logits > 0)) & (logits.abs() > margin)
                assert not wrong.any(), f"{int(wrong.sum())} pixels of object {object_id} differ on frame {index}"
        return expected


def assert_telling(seen: Seen) -> None:
    """The masks are worth comparing: no object is all or nothing for long, or keeps still."""
    for object_id in {i for objects in seen.values() for i in objects}:
        masks = [objects[object_id] > 0 for objects in seen.values() if object_id in objects]
        mixed = [bool(mask.any() and not mask.all()) for mask in masks]
        assert sum(mixed) > len(mixed) / 2
        assert any((a != b).any() for a, b in pairwise(masks))


def small_pair(name: str = "nano") -> Pair:
    """A model's architecture with lively random weights on a small input."""
    weights = lively_weights(name)
    model = build_model(name, image_size=SIZE)
    model.load_state_dict(weights)
    return Pair(VideoTracker(model, name=name, exact=True), official_predictor(name, weights, image_size=SIZE))


@pytest.fixture(scope="module")
def nano() -> Pair:
    return small_pair()


@pytest.fixture(scope="module")
def clip() -> Frames:
    return moving_discs(10, SIZE, SIZE)


@pytest.mark.parametrize(
    "prompt", [BOX, POINT, POINTS, BOX_AND_POINT, MASK], ids=["box", "point", "points", "box and point", "mask"]
)
def test_one_object_from_every_kind_of_prompt(nano: Pair, clip: Frames, prompt: Prompt, tmp_path: Path) -> None:
    assert_telling(nano.compare(clip, Story({0: {1: prompt}}), tmp_path, exact=True))


def test_a_clip_longer_than_the_memory(nano: Pair, tmp_path: Path) -> None:
    story = Story({0: {1: BOX}})
    frames = moving_discs(22, SIZE, SIZE)
    assert_telling(nano.compare(frames, story, tmp_path, exact=True))


def test_frames_and_prompts_of_another_size_than_the_models(nano: Pair, tmp_path: Path) -> None:
    frames = moving_discs(5, 60, 107)
    mask = Prompt.mask(disc_mask(60, 107, 0.5, 0.8, 0.1))
    assert_telling(nano.compare(frames, Story({0: {1: Prompt.box(10, 8, 47, 27.5)}}), tmp_path, exact=True))
    assert_telling(nano.compare(frames, Story({0: {1: mask}}), tmp_path, exact=True))


@pytest.mark.parametrize("correction", [AWAY, POINTS, BOX, MASK], ids=["point", "points", "box", "mask"])
def test_a_correction_of_a_tracked_frame(nano: Pair, clip: Frames, correction: Prompt, tmp_path: Path) -> None:
    plain = track_ourselves(nano.ours, clip, Story({0: {1: BOX}}), num_frames=len(clip))
    story = Story({0: {1: BOX}}, {5: {1: correction}})
    corrected = nano.compare(clip, story, tmp_path, exact=True)
    assert_telling(corrected)
    assert torch.equal(plain[4][1], corrected[4][1])
    assert not torch.equal(plain[5][1] > 0, corrected[5][1] > 0)
    assert not torch.equal(plain[6][1] > 0, corrected[6][1] > 0)


def test_a_correction_of_the_prompted_frame(nano: Pair, clip: Frames, tmp_path: Path) -> None:
    assert_telling(nano.compare(clip[:4], Story({0: {1: BOX}}, {0: {1: AWAY}}), tmp_path, exact=True))


def test_a_second_prompt_on_a_later_frame(nano: Pair, clip: Frames, tmp_path: Path) -> None:
    assert_telling(nano.compare(clip, Story({0: {1: BOX}, 6: {1: POINT}}), tmp_path, exact=True))


def test_an_object_that_is_added_later(nano: Pair, clip: Frames, tmp_path: Path) -> None:
    seen = nano.compare(clip, Story({0: {1: BOX}, 4: {2: POINT}}), tmp_path, exact=True)
    assert_telling(seen)
    assert [list(objects) for objects in seen.values()] == [[1]] * 4 + [[1, 2]] * 6


def test_three_objects_of_different_prompts(nano: Pair, clip: Frames, tmp_path: Path) -> None:
    story = Story({0: {1: BOX, 2: POINT, 3: MASK}}, {5: {2: AWAY}})
    assert_telling(nano.compare(clip, story, tmp_path, exact=False))


def test_objects_that_come_and_are_corrected_on_different_frames(nano: Pair, tmp_path: Path) -> None:
    frames = moving_discs(12, SIZE, SIZE)
    story = Story({0: {7: BOX, 3: POINT}, 3: {1: MASK}, 8: {7: POINTS}}, {5: {3: AWAY}, 8: {1: POINT}})
    seen = nano.compare(frames, story, tmp_path, exact=False)
    assert_telling(seen)
    assert list(seen[11]) == [7, 3, 1]


def test_reverse(nano: Pair, clip: Frames, tmp_path: Path) -> None:
    story = Story({9: {1: BOX}, 6: {2: MASK}}, {4: {1: AWAY}}, reverse=True)
    assert_telling(nano.compare(clip, story, tmp_path, exact=True))


class WrittenPresence(nn.Module):
    """Stands for the head that judges presence, and judges as it is told, call after call."""

    def __init__(self, script: Sequence[int]) -> None:
        super().__init__()
        self.script = list(script)

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.full((len(tokens), 1), float(self.script.pop(0)))


def test_an_object_that_is_judged_absent_on_some_frames(clip: Frames, tmp_path: Path) -> None:
    pair = small_pair()
    for model in (pair.ours.model, pair.theirs):
        model.sam_mask_decoder.pred_obj_score_head = WrittenPresence([1, 1, -1, -1, 1, 1, 1, -1, 1, 1])
    seen = pair.compare(clip, Story({0: {1: MASK}}), tmp_path, exact=True)
    absent = [bool((objects[1] == ABSENT_LOGIT).all()) for objects in seen.values()]
    assert absent == [False, False, True, True, False, False, False, True, False, False]


@pytest.mark.parametrize("name", ["sam2-hiera-tiny", "sam2.1-hiera-tiny"])
@pytest.mark.parametrize("reverse", [False, True])
def test_both_generations_of_sam2_on_a_small_input(name: str, reverse: bool, clip: Frames, tmp_path: Path) -> None:
    # in reverse, SAM 2 cannot begin again at frame 0, so that the correction must come earlier
    first, later, corrected = (5, 3, 2) if reverse else (0, 2, 4)
    prompts = {first: {1: BOX, 2: POINT, 3: MASK}, later: {4: POINTS}}
    story = Story(prompts, {corrected: {1: AWAY}}, reverse=reverse)
    assert_telling(small_pair(name).compare(clip[:6], story, tmp_path, exact=False))


def test_memory_matters_to_these_weights(nano: Pair, clip: Frames) -> None:
    """Without this, a wrong memory could pass the tests above."""
    one, other = (track_ourselves(nano.ours, clip, Story({0: {1: prompt}})) for prompt in (BOX, MASK))
    for index in range(1, len(clip)):
        assert (one[index][1] - other[index][1]).abs().mean() > 0.05 * one[index][1].std()


def test_nano_as_it_is_loaded(tmp_path: Path) -> None:
    weights = lively_weights("nano")
    save_state_dict(tmp_path / "random.safetensors", weights)
    random = tmp_path / "random.safetensors"
    ours = load_tracker("nano", checkpoint=random, memory="sam2", device="cpu", precision="fp32", exact=True)
    assert ours.image_size == 448
    frames = moving_discs(6, 240, 320)
    story = Story({0: {1: Prompt.box(60, 35, 130, 110)}}, {3: {1: Prompt.points([[110, 60]])}})
    (tmp_path / "frames").mkdir()
    seen = Pair(ours, official_predictor("nano", weights)).compare(frames, story, tmp_path / "frames", exact=True)
    assert_telling(seen)


NANO_FILE = Path(uamp_model.__file__).parent / find_model("nano").checkpoint


@pytest.mark.skipif(not NANO_FILE.is_file(), reason="nano has not been trained yet")
@pytest.mark.parametrize("reverse", [False, True])
def test_nano_as_it_is_trained(reverse: bool, tmp_path: Path) -> None:
    frames = moving_discs(9, 240, 320)
    ours = load_tracker("nano", memory="sam2", device="cpu", precision="fp32", exact=True)
    pair = Pair(ours, official_predictor("nano", load_state_dict(NANO_FILE)))
    first, last = (8, 0) if reverse else (0, 8)
    shift = 0.02 * first
    prompts = {
        1: Prompt.box(320 * (0.18 + shift), 240 * (0.18 + shift / 2), 320 * (0.42 + shift), 240 * (0.42 + shift / 2)),
        2: Prompt.points([[320 * (0.7 - 0.015 * first), 240 * (0.6 + 0.01 * first)]]),
        3: Prompt.mask(disc_mask(240, 320, 0.5 + 0.01 * first, 0.8 - 0.025 * first, 0.1)),
    }
    correction = {4: {2: Prompt.points([[320 * 0.64, 240 * 0.64]])}}
    seen = pair.compare(frames, Story({first: prompts}, correction, reverse=reverse), tmp_path, exact=False)
    assert sum(bool((seen[last][i] > 0).any()) for i in prompts) > 0


def tiny_pair(folder: Path) -> Pair:
    """sam2.1-hiera-tiny with lively random weights, from a file like those that SAM 2 publishes."""
    weights = lively_weights("sam2.1-hiera-tiny")
    torch.save({"model": weights}, folder / "sam2.1_hiera_tiny.pt")
    ours = load_tracker("sam2.1-hiera-tiny", checkpoint=folder, device="cpu", precision="fp32", exact=True)
    return Pair(ours, official_predictor("sam2.1-hiera-tiny", weights))


@pytest.mark.slow
def test_tiny_at_full_size(tmp_path: Path) -> None:
    pair = tiny_pair(tmp_path)
    assert pair.ours.image_size == 1024
    frames = moving_discs(2, 480, 640)
    pair.compare(frames, Story({0: {1: Prompt.points([[450, 290]])}}), tmp_path, exact=True)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("reverse", [False, True])
def test_tiny_at_full_size_with_everything(reverse: bool, tmp_path: Path) -> None:
    pair = tiny_pair(tmp_path)
    frames = moving_discs(5, 480, 640)
    one, two = (4, 2) if reverse else (0, 2)
    prompts = {
        one: {
            1: Prompt.box(115, 86, 270, 200),
            2: Prompt.points([[450, 290]]),
            3: Prompt.mask(disc_mask(480, 640, 0.5, 0.8, 0.1)),
        },
        two: {4: Prompt.points([[200, 300], [300, 300]], [1, 0])},
    }
    story = Story(prompts, {two: {1: Prompt.points([[140, 100]], [0])}}, reverse=reverse)
    assert_telling(pair.compare(frames, story, tmp_path, exact=False))
