"""One video being tracked: one frame in, one result out, whatever its length. Shapes: see `types.py`."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from uamp_model.budget import Share
from uamp_model.core import Doubt, FrameOutput, PromptBatch, read_in_part, readable_share, track_frame, write_memory
from uamp_model.devices import check_default_dtype, inference
from uamp_model.errors import InputError
from uamp_model.focus import UNSEEN, Focus, Window, extent, is_clicks
from uamp_model.layers import Past
from uamp_model.memory import MemoryBank, MemoryEntry, Retention, Selection, gather, select_best, select_recent
from uamp_model.preprocess import check_frame
from uamp_model.prompt_batches import batch_prompts
from uamp_model.propagation import Expectation, ObjectMotion, choose_hypothesis, expect, learn_motion, memory_quality
from uamp_model.results import Seen, empty_result, make_result
from uamp_model.sam2 import ImageFeatures, MemoryTokens
from uamp_model.stages import RESULT, stage
from uamp_model.types import FrameResult, Prompt
from uamp_model.uncertainty import mean_over_object

if TYPE_CHECKING:
    from uamp_model.tracker import VideoTracker

Frame = npt.NDArray[np.uint8]
Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class TrackedObject:
    """One object of a session: what it remembers, how it was seen last, and what the motion filter knows."""

    bank: MemoryBank = field(default_factory=MemoryBank)
    seen: Seen | None = None
    motion: ObjectMotion = field(default_factory=ObjectMotion)


@dataclass(slots=True, eq=False)
class TrackingSession:
    """One video being tracked. All state lives here; sessions of one tracker never touch.

    Make it with `VideoTracker.start`.

    Attributes:
        tracker: the network and its settings.
        direction: 1 forward, −1 in reverse.
        next_frame: number of the frame that is given next.
        age_span: the age in frames that counts as 1 in the pointers' temporal encoding.
        objects: what is followed, by id, in the order in which it was first prompted.
        features: image features of what was looked at of the last frame; None before the first.
        before: those of the frame before it.
        picture: H×W×3 uint8, the last frame, where outlines or a focus need it.
        size: H and W of the last frame.
        focus: which part of a frame is looked at.
    """

    tracker: "VideoTracker"
    direction: int
    next_frame: int
    age_span: int
    objects: dict[int, TrackedObject] = field(default_factory=dict)
    features: ImageFeatures | None = None
    before: ImageFeatures | None = None
    picture: Tensor | None = None
    size: tuple[int, int] = (0, 0)
    focus: Focus = field(default_factory=Focus)

    @property
    def frame_index(self) -> int:
        """Number of the frame that was given last."""
        return self.next_frame - self.direction

    def step(
        self, frame: Frame, prompts: Mapping[int, Prompt] | None = None, *, features: ImageFeatures | None = None
    ) -> FrameResult:
        """Give the next frame, and prompts for objects that appear on it or are to be pinned down anew.

        Args:
            frame: H×W×3 uint8 RGB.
            prompts: by object id. A new id adds an object; a known one makes this a further conditioning frame of it.
            features: what `encode` of this tracker, or of another one with the same `model`, says about this very
                frame, if it was asked already: trackers that differ in memory alone then share the encoder's work.
                They are not used where the session looks at a part of the frame alone, see `focus.py`.

        Raises:
            InputError: if the frame, its features or a prompt is wrong; the session is then as it was before the call.
        """
        check_default_dtype()
        frame = check_frame(frame)
        if features is not None:
            _check_features(features, self.tracker)
        prompts = prompts or {}
        size = (frame.shape[0], frame.shape[1])
        batches = self._prepare(prompts, Window.whole(size))
        boxes = self._boxes_to_meet(frame, prompts, features) if prompts and self.focus.margin > 0 else None
        self.size = size
        window = self._look(boxes)
        if not window.is_whole:
            batches = self._prepare(prompts, window)
        if features is None or not window.is_whole:
            features = self.tracker.encode(window.cut(frame))
        self.features, self.before = features, self.features
        settings = self.tracker.settings
        keeps = settings.outline > 0 or self.focus.margin > 0
        self.picture = torch.tensor(frame, device=self.tracker.device) if keeps else None
        index = self.next_frame
        self.next_frame += self.direction
        with self._computing():
            self._follow([i for i in self.objects if i not in prompts], index)
            with self._enrolled(prompts):
                for ids, batch in batches:
                    self._read_prompt(ids, batch, index)
            return self._result(index)

    def correct(self, prompts: Mapping[int, Prompt]) -> FrameResult:
        """Prompt again on the frame that was given last: objects start from their mask there and what they remember.

        As in SAM 2, the corrected mask replaces the frame's entry in memory, and points are read together with the
        mask they correct; points of earlier calls are not repeated. A new id adds an object on this frame.

        Raises:
            InputError: if no frame was given yet, or a prompt is wrong.
        """
        if self.features is None:
            raise InputError("There is no frame to correct yet: call step with a frame first.")
        check_default_dtype()
        batches = self._prepare(prompts, Window.whole(self.size))
        window = self._look_again(prompts)
        if not window.is_whole:
            batches = self._prepare(prompts, window)
        index = self.frame_index
        tracked = {i for i, known in self.objects.items() if index not in known.bank.conditioning}
        with self._computing():
            with self._enrolled(prompts):
                for ids, batch in batches:
                    for row, i in enumerate(ids):  # corrections are rare: one by one, as memories differ in shape
                        self._read_prompt([i], batch.pick(slice(row, row + 1)), index, tracked=i in tracked)
            return self._result(index)

    def remove(self, object_id: int) -> None:
        """Stop following an object and forget it.

        Raises:
            InputError: if there is no such object.
        """
        if object_id not in self.objects:
            known = ", ".join(map(str, self.objects)) or "none"
            raise InputError(f"There is no object {object_id} to remove: this session follows {known}.")
        del self.objects[object_id]

    def propagate(
        self, frames: Sequence[Frame], prompts: Mapping[int, Prompt], *, start: int = 0
    ) -> Iterator[tuple[int, FrameResult]]:
        """Track a whole video in both directions from prompts on frame `start`.

        Either direction remembers its own frames alone, as SAM 2's predictor does if its state is reset between both.

        Yields:
            (frame number, result): `start` to the last frame, then `start` − 1 down to 0.

        Raises:
            InputError: as soon as the first result is asked for, if the frames cannot be had in any order, `start` is
                not one of them, a frame or a prompt is wrong, or the session has begun.
        """
        if not hasattr(frames, "__len__") or not hasattr(frames, "__getitem__"):
            raise InputError(
                f"Frames that go both ways must be a list or an array, not {type(frames).__name__}: give list(frames)."
            )
        if not isinstance(start, Integral) or not 0 <= start < len(frames):
            raise InputError(f"Frame {start} is not in the video, which has {len(frames)} frames, numbered from 0.")
        if self.features is not None:
            raise InputError("A session that has seen frames cannot propagate a whole video: start a new one.")
        for reverse in (False, True):
            session = self.tracker.start(first_frame=start, reverse=reverse, num_frames=len(frames))
            order = range(start, -1, -1) if reverse else range(start, len(frames))
            for index in order:
                result = session.step(frames[index], prompts if index == start else None)
                if not (reverse and index == start):
                    yield index, result
            if start == 0:
                return

    def _look(self, boxes: Tensor | None) -> Window:
        """Choose what to look at of the next frame; what motion filters know is carried over to it.

        Args:
            boxes: K×4, of what is prompted there and what is known, in pixels of the frame; None without prompts.
        """
        before = self.focus.window
        if boxes is None:
            window = self.focus.follow(self._known_logits(), self.size)
        elif before is not None and before.frame != self.size and self._known_logits():  # which may be anywhere on it
            window = self.focus.see_whole(self.size)
        else:
            window = self.focus.meet(boxes, self.size)
        if before is not None:
            self._carry_motion(before, window)
        return window

    def _boxes_to_meet(self, frame: Frame, prompts: Mapping[int, Prompt], features: ImageFeatures | None) -> Tensor:
        """Where what is known was, and where what is prompted is: K×4 boxes in pixels of the frame."""
        boxes = [extent(prompt) for prompt in prompts.values()]
        window, known = self.focus.window, self._known_logits()
        if window is not None and known:
            found, there = window.boxes(torch.cat(known)[:, 0])
            boxes.append(found[there])
        clicked = {i: p for i, p in prompts.items() if is_clicks(p) and i not in self.objects}
        if clicked:  # how large it is what one clicks on, only the network can say
            seen = self.tracker.encode(frame) if features is None else features
            whole = Window.whole((frame.shape[0], frame.shape[1]))
            with self._computing():
                for ids, batch in self._prepare(clicked, whole):
                    output = track_frame(
                        self.tracker.model, seen.expand(len(ids)), None, batch, fast=self.tracker.forms
                    )
                    found, there = whole.boxes(output.logits[:, 0])
                    boxes.append(found[there])
        return torch.cat(boxes)

    def _look_again(self, prompts: Mapping[int, Prompt]) -> Window:
        """The window of the last frame if it holds what is to be corrected there; if not, see the frame whole."""
        before = self.focus.window
        if before is None or before.is_whole or self.picture is None or not prompts:
            return before or Window.whole(self.size)
        if before.holds(torch.cat([extent(prompt) for prompt in prompts.values()])):
            return before
        window = self.focus.see_whole(self.size)
        self.features = self.tracker.encode(self.picture.cpu().numpy())
        self._carry_motion(before, window)
        for known in self.objects.values():
            if known.seen is not None:
                logits = before.seen_through(window, known.seen.logits, UNSEEN)
                agreed = before.seen_through(window, known.seen.agreed, UNSEEN)
                known.seen = replace(known.seen, logits=logits, agreed=agreed)
        return window

    def _seen(self, ids: Iterable[int]) -> list[Seen]:
        """Objects as they were seen last; those that never were are left out."""
        return [seen for i in ids if (seen := self.objects[i].seen) is not None]

    def _known_logits(self) -> list[Tensor]:
        """1×1×4h×4w of each object that has been seen."""
        return [seen.logits for seen in self._seen(self.objects)]

    def _carry_motion(self, before: Window, window: Window) -> None:
        """Motion filters count in cells of what is seen: tell them if another part of the frame is."""
        if window == before or window.frame != before.frame:
            return
        side = self.tracker.image_size // 4
        scale, shift = before.to_cells_of(window, side)
        for known in self.objects.values():
            if known.motion.filter is not None:
                known.motion = replace(known.motion, filter=known.motion.filter.moved(scale, shift))

    def _computing(self) -> AbstractContextManager[None]:
        return inference(self.tracker.device, self.tracker.dtype, plainly=self.tracker.exact)

    def _prepare(self, prompts: Mapping[int, Prompt], window: Window) -> list[tuple[list[int], PromptBatch]]:
        return batch_prompts(prompts, window, self.tracker.image_size, self.tracker.device)

    @contextmanager
    def _enrolled(self, prompts: Mapping[int, Prompt]) -> Iterator[None]:
        """Give new objects their place, in the order of the prompts; if finding them fails, they lose it again."""
        try:
            for object_id in prompts:
                self.objects.setdefault(object_id, TrackedObject())
            yield
        finally:
            self.objects = {i: known for i, known in self.objects.items() if known.seen is not None}

    def _follow(self, ids: Sequence[int], index: int) -> None:
        """Track objects without a prompt, those whose memories have one shape in one batch."""
        selections = {i: self._select(i, index) for i in ids}
        for group in _group(ids, lambda i: selections[i].layout):
            features = self._features(len(group))
            tokens = self._gather([selections[i] for i in group])
            expectation = self._expect(group)
            choose = partial(choose_hypothesis, expectation=expectation)
            output = track_frame(
                self.tracker.model,
                features,
                tokens,
                present_above=self.tracker.settings.presence_above,
                choose=choose,
                learned=self.tracker.learned,
                past=self._past(group, index),
                separately=self.tracker.exact,
                fast=self.tracker.forms,
            )
            self._remember(group, features, output, index, expectation=expectation)

    def _read_prompt(self, ids: Sequence[int], batch: PromptBatch, index: int, *, tracked: bool = False) -> None:
        """Find objects by their prompts.

        What was `tracked` on this frame is read with its memory, too; for others this becomes a conditioning frame.
        Either is corrected, and its mask here read as well, if it was found on this very frame before.
        """
        features = self._features(len(ids))
        corrected = tracked or all(index in self.objects[i].bank.conditioning for i in ids)
        output = track_frame(
            self.tracker.model,
            features,
            self._gather([self._select(i, index) for i in ids]) if tracked else None,
            batch,
            previous=torch.cat([seen.logits for seen in self._seen(ids)]) if corrected else None,
            present_above=self.tracker.settings.presence_above,
            separately=self.tracker.exact,
            fast=self.tracker.forms,
        )
        given = batch.masks is not None
        self._remember(ids, features, output, index, prompted=True, conditioning=not tracked, given=given)

    def _select(self, object_id: int, index: int) -> Selection:
        model, bank, kept = self.tracker.model, self.objects[object_id].bank, self._retention()
        if kept.quality > 0:
            return select_best(model, bank, index, self.direction, kept)
        return select_recent(model, bank, index, self.direction)

    def _retention(self) -> Retention:
        model, settings = self.tracker.model, self.tracker.settings
        return Retention(model.num_maskmem, model.max_obj_ptrs_in_encoder, settings.select, settings.pool)

    def _gather(self, selections: Sequence[Selection]) -> MemoryTokens:
        settings = self.tracker.settings
        share = self._readable_share()
        return gather(selections, age_span=self.age_span, read=settings.read, anchor=settings.anchor, share=share)

    def _readable_share(self) -> Share | None:
        """How many cells are read where not all are."""
        return readable_share(self.tracker.model, self.tracker.memory_budget)

    def _past(self, ids: Sequence[int], index: int) -> Past | None:
        """The last frame as the objects saw it, if learned layers ask."""
        if self.tracker.learned is None or self.before is None:
            return None
        seen = self._seen(ids)
        entries = [self.objects[i].bank.last(index, self.direction) for i in ids]
        doubts = [s.uncertainty for s in seen if s.uncertainty is not None]
        memories = [e.features for e in entries if e is not None and e.features is not None]
        if not len(doubts) == len(memories) == len(ids):
            return None
        fine = self.before.expand(len(ids)).stride4
        return Past(fine, torch.cat([s.logits for s in seen]), torch.cat(doubts), torch.cat(memories))

    def _expect(self, ids: Sequence[int]) -> Expectation | None:
        """Where motion says the objects are, if anything asks."""
        settings = self.tracker.settings
        if not settings.follows_motion:
            return None
        return expect([self.objects[i].motion for i in ids], settings, self.tracker.device)

    def _features(self, count: int) -> ImageFeatures:
        if self.features is None:
            raise RuntimeError("a frame must be encoded first")
        return self.features.expand(count)

    def _remember(
        self,
        ids: Sequence[int],
        features: ImageFeatures,
        output: FrameOutput,
        index: int,
        *,
        prompted: bool = False,
        conditioning: bool = False,
        given: bool = False,
        expectation: Expectation | None = None,
    ) -> None:
        """Write a batch's result into its objects' memories."""
        entry = self._write(ids, features, output, index, prompted=prompted)
        if self._readable_share() is not None:
            entry = read_in_part(entry, output)
        ious = output.chosen_iou[:, 0]
        scores = (ious * output.presence[:, 0].sigmoid()).clamp(0, 1)
        qualities = self._qualities(output, ious, expectation)
        uncertainty = None if self.tracker.learned is None else output.uncertainty * (not given)
        self._learn_motion(ids, output, ious, expectation)
        for row, object_id in enumerate(ids):
            known, own = self.objects[object_id], _entry_of(entry, row, qualities[row])
            if conditioning:
                known.bank.remember_prompted(own)
            else:
                known.bank.remember(own, self._retention())
            known.seen = Seen(
                logits=output.logits[row : row + 1],
                agreed=output.agreed[row : row + 1],
                correction=None if output.correction is None else output.correction[row : row + 1],
                uncertainty=None if uncertainty is None else uncertainty[row : row + 1],
                presence=output.presence[row, 0],
                score=scores[row],
                given=given,
            )

    def _write(
        self, ids: Sequence[int], features: ImageFeatures, output: FrameOutput, index: int, *, prompted: bool
    ) -> MemoryEntry:
        """What the objects of a batch are to remember of a frame."""
        doubt = None if prompted else self._doubt(ids, output, index)
        return write_memory(
            self.tracker.model,
            features,
            output,
            index,
            prompted=prompted,
            doubt=doubt,
            separately=self.tracker.exact,
            fast=self.tracker.forms,
        )

    def _doubt(self, ids: Sequence[int], output: FrameOutput, index: int) -> Doubt | None:
        """What is doubtful about a tracked frame, if anything asks."""
        settings = self.tracker.settings
        if not settings.doubts:
            return None
        past = [self.objects[i].bank.last(index, self.direction) for i in ids]
        known = [entry.features for entry in past if entry is not None and entry.features is not None]
        return Doubt(
            output.uncertainty,
            torch.cat(known) if len(known) == len(ids) else None,
            settings.write,
            settings.keep,
        )

    def _qualities(self, output: FrameOutput, ious: Tensor, expectation: Expectation | None) -> list[float]:
        """How good the frame is to be remembered by, for each object."""
        settings = self.tracker.settings
        if settings.select <= 0:
            return [1.0] * len(ious)
        agreement = torch.ones_like(ious) if expectation is None else expectation.agreement(output.logits > 0)[:, 0]
        doubt = mean_over_object(output.uncertainty, output.logits)
        qualities: list[float] = memory_quality(ious, output.presence[:, 0], doubt, agreement, settings).tolist()
        return qualities

    def _learn_motion(
        self, ids: Sequence[int], output: FrameOutput, ious: Tensor, expectation: Expectation | None
    ) -> None:
        settings = self.tracker.settings
        if not settings.follows_motion:
            return
        motions = [self.objects[i].motion for i in ids]
        learned = learn_motion(motions, expectation, output.logits, ious.tolist(), settings)
        for object_id, motion in zip(ids, learned, strict=True):
            self.objects[object_id].motion = motion

    @stage(RESULT)
    def _result(self, index: int) -> FrameResult:
        found = {i: known.seen for i, known in self.objects.items() if known.seen is not None}
        if not found:
            return empty_result(index, self.size, self.tracker.device)
        window, outline = self.focus.window or Window.whole(self.size), self.tracker.settings.outline
        return make_result(found, index, window, picture=self.picture, outline=outline)


def _check_features(features: ImageFeatures, tracker: "VideoTracker") -> None:
    if not isinstance(features, ImageFeatures):
        raise InputError(f"Image features must be what `encode` gives, not {type(features).__name__}.")
    cells = tracker.image_size // int(tracker.model.backbone_stride)
    fits = features.stride16.shape[0] == 1 and features.stride16.shape[-2:] == (cells, cells)
    if not fits or features.stride16.device != tracker.device:
        raise InputError(
            "The image features are of another model, device or number of images: encode one frame with this tracker."
        )


def _entry_of(entry: MemoryEntry, row: int, quality: float) -> MemoryEntry:
    """One object's part of a batch's entry, its features in bfloat16, as SAM 2's predictor stores them."""
    features = None if entry.features is None else entry.features[row : row + 1].to(torch.bfloat16, copy=True)
    doubt = None if entry.doubt is None else entry.doubt[row : row + 1].clone()
    reading = None if entry.reading is None else entry.reading.of(row)
    return MemoryEntry(entry.frame, features, entry.pointer[row : row + 1].float(), doubt, quality, reading)


def _group(ids: Sequence[int], key: Callable[[int], Key]) -> list[list[int]]:
    """Split ids into lists of equal key, keeping their order."""
    groups: dict[Key, list[int]] = defaultdict(list)
    for i in ids:
        groups[key(i)].append(i)
    return list(groups.values())
