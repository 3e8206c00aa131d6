"""Tracking for the page: masks at once where people click, whole videos in the background, and from any frame on."""

import copy
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from uamp_model.errors import InputError

from uamp_cli.models import fetch_weights
from uamp_cli.overlay import object_box
from uamp_cli.page.clips import Clip
from uamp_cli.page.jobs import Job
from uamp_cli.page.marks import Drawing, Marks, unpack_mask
from uamp_cli.page.results import Found, Results
from uamp_cli.tracking import Ids, ObjectState, merge_masks, object_state

if TYPE_CHECKING:
    from uamp_data.frames import Frame
    from uamp_model import FrameResult, Prompt, TrackingSession, VideoTracker
    from uamp_model.sam2 import ImageFeatures

MOST_SNAPSHOTS = 16
"""Sessions that are kept to go back to; beyond, every second one is dropped."""
BACKWARD_BYTES = 256 * 2**20
"""How much of a video is decoded at a time where it is read backwards."""


@dataclass(slots=True)
class Trackers:
    """Loads models when they are first asked for; the last one stays, all tabs share it.

    Attributes:
        device: where to compute.
        checkpoints: by model name, weights to use instead of the bundled or downloaded ones.
        layers: likewise, fine-tuned UAMP layers.
        memory_budget: share of the memory that is read.
        image_size: side of the square that frames are resized to; None is each model's own.
        compiled: whether networks are compiled.
    """

    device: str = "auto"
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    layers: Mapping[str, Path] = field(default_factory=dict)
    memory_budget: float = 1.0
    image_size: int | None = None
    compiled: bool = False
    _loaded: "VideoTracker | None" = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, model: str, memory: str) -> "VideoTracker":
        """A tracker.

        Raises:
            UampError: if its weights cannot be had or loaded.
        """
        from uamp_model import load_tracker

        with self._lock:
            if self._loaded is None or self._loaded.name != model:
                checkpoint = self.checkpoints.get(model)
                if checkpoint is None:
                    fetch_weights(model)
                self._loaded = load_tracker(
                    model,
                    checkpoint=checkpoint,
                    uamp_checkpoint=self.layers.get(model),
                    memory=memory,
                    device=self.device,
                    memory_budget=self.memory_budget,
                    image_size=self.image_size,
                    compiled=self.compiled,
                )
            loaded = self._loaded
        return loaded if loaded.memory == memory else loaded.with_memory(memory)


@dataclass(slots=True)
class Eye:
    """Looks at one frame at a time; what the network sees there is computed once for all clicks on it."""

    _index: int = -1
    _model: object = None
    _features: "ImageFeatures | None" = None

    def forget(self) -> None:
        """Another video: frame numbers mean other pictures."""
        self._features = None

    def look(
        self, tracker: "VideoTracker", frame: "Frame", marks: Mapping[int, Marks], tracked: Found | None = None
    ) -> Found:
        """What the marks on a frame say, over what tracking had found there.

        Raises:
            InputError: if the marks of an object are no prompt.
        """
        height, width = frame.image.shape[:2]
        for object_id, given in marks.items():
            given.prompt(object_id, frame.index).check_size(width, height)
        if self._features is None or self._index != frame.index or self._model is not tracker.model:
            self._features = tracker.encode(frame.image)
            self._index, self._model = frame.index, tracker.model
        return over(tracked, find(_interpret(tracker, frame, marks, self._features)), list(marks))


def _interpret(
    tracker: "VideoTracker", frame: "Frame", marks: Mapping[int, Marks], features: "ImageFeatures | None" = None
) -> "FrameResult":
    """Read the marks of one frame by themselves: corrections start from the tracked mask, the others from nothing."""
    from uamp_model import Prompt

    starting: dict[int, Prompt] = {}
    corrections: dict[int, Prompt] = {}
    for object_id, given in marks.items():
        prompt = given.prompt(object_id, frame.index).to_model()
        if given.corrects and given.tracked is not None:
            starting[object_id] = Prompt.mask(unpack_mask(given.tracked))
            corrections[object_id] = prompt
        else:
            starting[object_id] = prompt
    session = tracker.start(first_frame=frame.index)
    result = session.step(frame.image, starting, features=features)
    return session.correct(corrections) if corrections else result


def find(result: "FrameResult") -> Found:
    """The tracker's result as the page keeps it."""
    logits = result.logits.float().cpu().numpy()
    uncertainty = result.uncertainty.float().cpu().numpy()
    ids = merge_masks({i: logits[row] for row, i in enumerate(result.object_ids)}, logits.shape[1:])
    objects = {
        i: object_state(ids == i, uncertainty[row], float(result.scores[row]))
        for row, i in enumerate(result.object_ids)
    }
    doubt = cv2.convertScaleAbs(uncertainty.max(axis=0, initial=0), alpha=255)
    return Found(ids, np.asarray(doubt, np.uint8).reshape(ids.shape), dict(sorted(objects.items())))


def over(below: Found | None, found: Found, renewed: list[int]) -> Found:
    """One result over another, whose objects among `renewed` are forgotten; who is above wins a pixel."""
    if below is None:
        return found
    ids = np.where(np.isin(below.ids, renewed), np.uint8(0), below.ids)
    ids = np.where(found.ids > 0, found.ids, ids)
    return Found(ids, np.maximum(below.doubt, found.doubt), _states(ids, below.objects, renewed) | found.objects)


def under(above: Found | None, found: Found, renewed: list[int]) -> Found:
    """The same, with `found` below: it takes what is free."""
    if above is None:
        return found
    ids = np.where(np.isin(above.ids, renewed), np.uint8(0), above.ids)
    ids = np.where(ids > 0, ids, found.ids)
    objects = _states(ids, found.objects, []) | _states(ids, above.objects, renewed)
    return Found(ids, np.maximum(above.doubt, found.doubt), dict(sorted(objects.items())))


def _states(ids: Ids, objects: dict[int, ObjectState], without: list[int]) -> dict[int, ObjectState]:
    """The states of objects that may have lost pixels to others."""
    changed = {}
    for object_id, state in objects.items():
        if object_id not in without:
            mask = ids == object_id
            area = int(np.count_nonzero(mask))
            doubt = state.uncertainty if area else None
            changed[object_id] = replace(state, box=object_box(mask), area=area, uncertainty=doubt)
    return changed


@dataclass(slots=True)
class Track:
    """How far a video is tracked, and how to go on from any frame.

    Attributes:
        results: what was found.
        valid_to: from the first mark up to before this frame, the results are those of the marks as they are.
        backward: the first marks that all frames before them were last tracked backwards from, as `first_marks` gives
            them; () if that pass is to be made again.
        snapshots: by frame, the session as it was before it.
        stride: frames between snapshots.
    """

    results: Results
    valid_to: int = 0
    backward: tuple[object, ...] = ()
    snapshots: "dict[int, TrackingSession]" = field(default_factory=dict)
    stride: int = 4

    def touch(self, frame: int) -> None:
        """The marks on a frame have changed: what was found from there on no longer holds."""
        self.valid_to = min(self.valid_to, frame)
        self.snapshots = {index: session for index, session in self.snapshots.items() if index <= frame}

    def reset(self) -> None:
        """Nothing holds any more."""
        self.valid_to, self.backward, self.snapshots, self.stride = 0, (), {}, 4
        self.results.clear()

    def is_current(self, index: int, drawing: Drawing) -> bool:
        """Whether a frame's result is that of the marks as they are."""
        if index not in self.results or not (first := drawing.first_frames().values()):
            return False
        is_ahead = index < min(first) or index < self.valid_to
        return is_ahead and (index >= max(first) or self.backward == first_marks(drawing))

    def begin(self, drawing: Drawing) -> int:
        """The frame that tracking goes on from."""
        return max(min(drawing.first_frames().values(), default=0), self.valid_to)

    def run(self, job: Job, tracker: "VideoTracker", clip: Clip, drawing: Drawing) -> None:
        """Track forwards what does not hold yet, then backwards from the objects' first marks.

        Raises:
            InputError: if there are no marks, or some are no prompts.
            Cancelled: if the job was cancelled; what was tracked until then holds.
        """
        first = drawing.first_frames()
        if not first:
            raise InputError("There is nothing to track yet: click on an object first.")
        begin, reach = self.begin(drawing), max(first.values())
        source = first_marks(drawing)
        if begin < reach or source != self.backward:
            # both passes write over what was tracked backwards, and either may be cancelled halfway
            self.backward = ()
        if begin < clip.frame_count:
            self._forwards(job, tracker, clip, drawing, begin)
        if reach > 0 and source != self.backward:
            self._backwards(job, tracker, clip, drawing)
            self.backward = source

    def _forwards(self, job: Job, tracker: "VideoTracker", clip: Clip, drawing: Drawing, begin: int) -> None:
        first, count = min(drawing.first_frames().values()), clip.frame_count
        at = max((index for index in self.snapshots if first <= index <= begin), default=None)
        if at is None:
            at, session = first, tracker.start(first_frame=first, num_frames=count)
        else:
            session = copy_session(self.snapshots[at])
        job.begin("Tracking", count - at)
        for frame in job.watched(clip.frames(at)):
            index = frame.index
            if index % self.stride == 0 and index not in self.snapshots:
                self._remember(index, session)
            prompts, scores = prompts_on(tracker, frame, drawing.at(index))
            result = session.step(frame.image, prompts)
            if index >= begin:
                self.results.put(index, scored(find(result), scores))
                self.valid_to = index + 1
            job.advance(index)
        if clip.frame_count < count:  # only reading shows every damaged place
            job.note = f"Done. Left out, since damaged: {count - clip.frame_count} of {count} frames."

    def _remember(self, index: int, session: "TrackingSession") -> None:
        self.snapshots[index] = copy_session(session)
        while len(self.snapshots) > MOST_SNAPSHOTS:
            self.stride *= 2
            self.snapshots = {at: kept for at, kept in self.snapshots.items() if at % self.stride == 0}

    def _backwards(self, job: Job, tracker: "VideoTracker", clip: Clip, drawing: Drawing) -> None:
        first = drawing.first_frames()
        reach, start = max(first.values()), min(first.values())
        session = tracker.start(first_frame=reach, reverse=True, num_frames=clip.frame_count)
        job.begin("Tracking backwards", reach + 1)
        for frame in job.watched(backwards(clip, reach)):
            at = frame.index
            starting = {i: marks for i, marks in drawing.at(at).items() if first[i] == at}
            prompts, _ = prompts_on(tracker, frame, starting)
            found = find(session.step(frame.image, prompts))
            begun = [i for i in found.objects if first[i] > at]
            if begun:
                found = only(found, begun)
                above = self.results.get(at) if at >= start else None
                # whoever was tracked backwards here before, perhaps from marks that are gone
                renewed = [i for i in above.objects if first.get(i, at + 1) > at] if above is not None else []
                self.results.put(at, under(above, found, renewed))
            job.advance(at)


def first_marks(drawing: Drawing) -> tuple[object, ...]:
    """What the frames before objects' first marks are tracked backwards from; equal if it is the same."""
    return tuple((i, frame, repr(drawing.at(frame)[i])) for i, frame in drawing.first_frames().items())


def prompts_on(
    tracker: "VideoTracker", frame: "Frame", marks: Mapping[int, Marks]
) -> "tuple[dict[int, Prompt], dict[int, float]]":
    """The marks of one frame as the tracker takes them: corrections as the masks that people saw and agreed to.

    Returns:
        the prompts by object, and the scores of those masks: the tracker is certain of a mask that it is given.

    Raises:
        InputError: if corrections leave nothing of an object.
    """
    from uamp_model import Prompt

    prompts = {i: m.prompt(i, frame.index).to_model() for i, m in marks.items() if not m.corrects}
    scores: dict[int, float] = {}
    corrected = {i: m for i, m in marks.items() if m.corrects}
    if corrected:
        result = _interpret(tracker, frame, corrected)
        for row, object_id in enumerate(result.object_ids):
            mask = result.masks[row].cpu().numpy()
            if not mask.any():
                raise InputError(
                    f"The clicks on frame {frame.index} leave nothing of object {object_id}: "
                    "take one back or draw a box."
                )
            prompts[object_id] = Prompt.mask(mask)
            scores[object_id] = float(result.scores[row])
    return prompts, scores


def scored(found: Found, scores: Mapping[int, float]) -> Found:
    """The result with other scores for some of its objects."""
    objects = {i: replace(state, score=scores.get(i, state.score)) for i, state in found.objects.items()}
    return replace(found, objects=objects)


def only(found: Found, object_ids: list[int]) -> Found:
    """The result for some of the objects alone; the doubt stays that of all."""
    ids = np.where(np.isin(found.ids, object_ids), found.ids, np.uint8(0))
    return Found(ids, found.doubt, {i: state for i, state in found.objects.items() if i in object_ids})


def backwards(clip: Clip, last: int) -> Iterator["Frame"]:
    """Frames `last` down to 0, read forwards in pieces that fit into memory."""
    piece = max(BACKWARD_BYTES // (clip.width * clip.height * 3), 1)
    stop = last + 1
    while stop > 0:
        start = max(stop - piece, 0)
        yield from reversed(list(clip.frames(start, stop)))
        stop = start


def copy_session(session: "TrackingSession") -> "TrackingSession":
    """A session that goes on by itself from where this one is; the two share the network."""
    import torch

    tracker, features = session.tracker, session.features
    # Learned layers compare a frame with the one before it; nothing else looks back at features.
    light = replace(session, features=features if tracker.learned is not None else None, before=None)
    with torch.inference_mode():
        return copy.deepcopy(light, {id(tracker): tracker, id(features): features})
