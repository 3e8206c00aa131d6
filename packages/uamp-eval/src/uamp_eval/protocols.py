"""Semi-supervised tracking of a benchmark's video: objects are given by a mask on one frame and followed from there.

Objects may enter at any frame. Every frame is processed; a frame's image features are computed once for all memory
settings whose network is the same: learned layers may correct it. What several objects say about a pixel is merged in
the outputs alone, never in memory.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from uamp_model import FrameResult, InputError, Prompt, VideoTracker
from uamp_model.rehearsal import Tell, rehearse, tell_nobody
from uamp_model.sam2 import ImageFeatures

from uamp_eval.sequences import Ids, Image, VideoSequence

Give = Callable[[NDArray[np.bool_]], Prompt]
"""Makes a prompt of an object's mask, H×W."""

LARGEST_ID = 254
"""255 is void."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """What the trackers say about one frame, by their names.

    Attributes:
        number: of the frame, from 0.
        labels: H×W object ids: each pixel belongs to the object that is surest of it. Empty before the first prompt.
        results: what each object's mask is by itself, and how sure.
        seconds: what the frame took with each tracker alone: the image features and its own part; the first frame also
            what rehearsing took, see `uamp_model.rehearsal`.
    """

    number: int
    labels: Mapping[str, Ids]
    results: Mapping[str, FrameResult]
    seconds: Mapping[str, float]


def run_sequence(
    trackers: Mapping[str, VideoTracker],
    sequence: VideoSequence,
    *,
    give: Give = Prompt.mask,
    tell: Tell = tell_nobody,
) -> Generator[TrackedFrame, None, None]:
    """Track a video's objects with one or more memory settings at once.

    Args:
        trackers: by a name of the caller's choice, usually the memory setting. All must share one network, as those
            made by `VideoTracker.with_memory` do.
        sequence: the video; frame f's prompts are the masks of the objects `sequence.prompts[f]` in its annotation.
        give: makes a prompt of a mask; benchmarks give the mask itself.
        tell: hears how far a rehearsal is, where a tracker's settings ask for one.

    Yields:
        Every frame in order.

    Raises:
        InputError: if the trackers have different networks, a prompt is missing, empty or of another size than its
            frame, or a frame of another size than the first. What reading the data raises is passed on.
    """
    _check_shared(trackers)
    check_prompts(sequence)
    total = len(sequence.frame_names)
    trackers, spent = _rehearsed(trackers, sequence, give, tell)
    sessions = {name: tracker.start(num_frames=total) for name, tracker in trackers.items()}
    size: tuple[int, ...] = ()
    for frame, image in enumerate(_read_ahead(sequence)):
        size = size or image.shape
        if image.shape != size:
            sizes = [f"{width}×{height}" for height, width, _ in (image.shape, size)]
            raise InputError(
                f"Frame {_name(sequence, frame)} of {sequence.name} is {sizes[0]} pixels but the first is {sizes[1]}: "
                "all frames of a video must have one size."
            )
        prompts = _prompts_at(sequence, frame, image, give)
        encoded = _Encoded(image, shared=len(sessions) > 1)
        results: dict[str, FrameResult] = {}
        labels: dict[str, Ids] = {}
        seconds: dict[str, float] = {}
        for name, session in sessions.items():
            features, shared = encoded.by(trackers[name]) if trackers[name].focus == 0 else (None, 0.0)
            began = time.perf_counter()
            results[name] = result = session.step(image, prompts, features=features)
            labels[name] = merge_logits(result.logits, result.object_ids).cpu().numpy()  # waits for the device
            seconds[name] = spent.pop(name, 0.0) + shared + time.perf_counter() - began
        yield TrackedFrame(frame, labels, results, seconds)


def merge_logits(logits: Tensor, object_ids: Sequence[int]) -> Tensor:
    """One label map of what N objects claim: each pixel goes to the object that is surest of it.

    Args:
        logits: N×H×W, above 0 where an object claims a pixel.
        object_ids: N different ids from 1 to 254, in the order of the first axis.

    Returns:
        H×W uint8 on the device of the logits: 0 where no object claims the pixel; the lowest id wins a tie.
    """
    if len(object_ids) == 0:
        return torch.zeros(logits.shape[-2:], dtype=torch.uint8, device=logits.device)
    order = sorted(range(len(object_ids)), key=object_ids.__getitem__)
    ids = torch.tensor([object_ids[row] for row in order], dtype=torch.uint8, device=logits.device)
    highest, winner = logits[order].max(dim=0)  # of equal maxima torch takes the first, here the lowest id
    return ids[winner] * (highest > 0)


def check_prompts(sequence: VideoSequence) -> None:
    """Make sure, without reading a picture, that there is something to track and every prompt has an annotation.

    Raises:
        InputError: if not.
    """
    if not any(sequence.prompts.values()):
        raise InputError(
            f"The sequence {sequence.name} has no object to track: its first annotation must mark at least one."
        )
    annotated = set(sequence.annotated)
    for frame, ids in sequence.prompts.items():
        where = f"frame {_name(sequence, frame)} of {sequence.name}"
        if not 0 <= frame < len(sequence.frame_names):
            raise InputError(f"The sequence {sequence.name} has no frame number {frame} to take a prompt from.")
        if ids and frame not in annotated:
            raise InputError(f"The mask of object {min(ids)} is to be taken from {where}, which has no annotation.")
        if ids and not (min(ids) >= 1 and max(ids) <= LARGEST_ID):
            raise InputError(f"The object ids of {where} must be from 1 to {LARGEST_ID}.")


def _rehearsed(
    trackers: Mapping[str, VideoTracker], sequence: VideoSequence, give: Give, tell: Tell
) -> tuple[dict[str, VideoTracker], dict[str, float]]:
    """The trackers, those whose settings ask for it with layers for this video, and how many seconds that took."""
    ready, spent = {}, {}
    for name, tracker in trackers.items():
        began = time.perf_counter()
        ready[name] = tracker
        if tracker.settings.rehearse:
            prompts = {frame: _prompts_at(sequence, frame, sequence.image(frame), give) for frame in sequence.prompts}
            frames = map(sequence.image, range(len(sequence.frame_names)))
            ready[name] = rehearse(tracker, frames, prompts, steps=tracker.settings.rehearse, tell=tell)
        spent[name] = time.perf_counter() - began
    return ready, spent


class _Encoded:
    """A frame's image features, computed once for all trackers whose network is the same.

    Where they are `shared`, a GPU is waited for: the first tracker would pay for them alone otherwise.
    """

    def __init__(self, image: Image, *, shared: bool) -> None:
        self._image = image
        self._shared = shared
        self._known: dict[int, tuple[ImageFeatures, float]] = {}

    def by(self, tracker: VideoTracker) -> tuple[ImageFeatures, float]:
        """The features as a tracker sees them, and how many seconds they took."""
        key = id(tracker.model)
        if key not in self._known:
            began = time.perf_counter()
            features = tracker.encode(self._image)
            if self._shared and tracker.device.type == "cuda":
                torch.cuda.synchronize(tracker.device)
            self._known[key] = features, time.perf_counter() - began
        return self._known[key]


def _check_shared(trackers: Mapping[str, VideoTracker]) -> None:
    """Make sure that all trackers are of one network.

    Raises:
        InputError: if not.
    """
    if not trackers:
        raise InputError("There is no memory setting to evaluate: name at least one.")
    first = next(iter(trackers.values()))
    if any(other.base is not first.base or other.dtype != first.dtype for other in trackers.values()):
        raise InputError("Trackers run side by side must share one network: make them with VideoTracker.with_memory.")


def _read_ahead(sequence: VideoSequence) -> Iterator[Image]:
    """The frames in order; the next one is read while the caller works on the last."""
    total = len(sequence.frame_names)
    with ThreadPoolExecutor(1, thread_name_prefix="uamp-read") as reader:
        coming = reader.submit(sequence.image, 0)
        for frame in range(total):
            image = coming.result()
            if frame + 1 < total:
                coming = reader.submit(sequence.image, frame + 1)
            yield image


def _prompts_at(sequence: VideoSequence, frame: int, image: Image, give: Give) -> dict[int, Prompt]:
    """What is given on a frame, by id."""
    wanted = sequence.prompts.get(frame, ())
    if not wanted:
        return {}
    where = f"frame {_name(sequence, frame)} of {sequence.name}"
    ids = sequence.annotation(frame)
    if ids.shape != image.shape[:2]:
        raise InputError(
            f"The annotation of {where} is {ids.shape[1]}×{ids.shape[0]} pixels but the picture is "
            f"{image.shape[1]}×{image.shape[0]}: both must have one size."
        )
    prompts = {}
    for object_id in sorted(wanted):
        region = ids == object_id
        if not region.any():
            raise InputError(
                f"Object {object_id} is to be tracked from {where}, but that frame's annotation does not show it: "
                "correct the annotation or the list of objects."
            )
        prompts[object_id] = give(region)
    return prompts


def _name(sequence: VideoSequence, frame: int) -> str:
    return sequence.frame_names[frame] if 0 <= frame < len(sequence.frame_names) else str(frame)
