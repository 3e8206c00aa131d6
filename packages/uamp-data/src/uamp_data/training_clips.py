"""Training clips cut out of the sequences of data sets. Shapes: T frames, H×W pixels, S output side."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import cv2
import numpy as np

from uamp_data.augmentation import Array, Augmentation, augment, visible_ids
from uamp_data.errors import DataError
from uamp_data.paste import paste, whole_ids
from uamp_data.picture_cache import PictureCache
from uamp_data.words import counted

_log = logging.getLogger(__name__)

CACHE_BYTES = 1 << 30
"""About what 27 sequences of DAVIS at 640×360 take."""
_LARGEST_SIDE = 480
"""Pictures are kept with a shorter side of at most this many pixels, unless larger clips are asked for."""
_TRIES = 8
_PASTE_TRIES = 4
"""Sequences that are looked at for an object to paste."""
_LEAVING_SHARE, _LEAVING_TRIES = 0.25, 3
"""Share of the clips for which frames are sought where an object leaves the picture, and how many are tried."""


class MaskedSequence(Protocol):
    """What is needed of a video with masks; those of the data sets here satisfy it."""

    @property
    def name(self) -> str:
        """Its name in the data set."""

    @property
    def annotated(self) -> Sequence[int]:
        """Numbers of the frames that have a mask, rising."""

    def image(self, frame: int) -> Array:
        """H×W×3, RGB."""

    def annotation(self, frame: int) -> Array:
        """H×W object ids: 0 background, 255 void."""


@dataclass(frozen=True, slots=True)
class SequenceClip:
    """A training clip.

    Attributes:
        frames: T×S×S×3 uint8, RGB.
        masks: T×S×S uint8 object ids: 0 background, 255 void.
        name: The sequence and the numbers of its frames, for messages.
    """

    frames: Array
    masks: Array
    name: str = ""


class ClipSource(Protocol):
    """Anything that training clips can be drawn from."""

    def __len__(self) -> int: ...

    def clip(self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4) -> Clip:
        """Cut a clip out of number `index`."""


class Clip(Protocol):
    """A clip of any source."""

    @property
    def frames(self) -> Array:
        """T×S×S×3, RGB."""

    @property
    def masks(self) -> Array:
        """T×S×S."""


class TrainingClips:
    """Clips of the annotated frames of sequences, changed by chance; threads may share it.

    What a clip looks like depends on the arguments of `clip` and the pictures on disk alone. Decoded pictures are kept
    in memory up to a bound.
    """

    def __init__(
        self,
        sequences: Sequence[MaskedSequence],
        augmentation: Augmentation | None = None,
        *,
        max_bad_samples: int = 10,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Keeps the sequences; no picture is read yet.

        Args:
            sequences: At least one, each with at least two annotated frames.
            augmentation: How clips are changed; None as by default.
            max_bad_samples: How many clips that cannot be read are replaced by others before it is an error.
            cache_bytes: Memory for decoded pictures.

        Raises:
            DataError: There is no sequence, or one has a single annotated frame.
        """
        if not sequences:
            raise DataError("There is no sequence to train on: hold out fewer or name at least one.")
        for sequence in sequences:
            if len(sequence.annotated) < 2:
                count = counted(len(sequence.annotated), "annotated frame")
                raise DataError(
                    f"The sequence {sequence.name} has {count}, from which nothing can be learned about time: "
                    "leave it out."
                )
        self._sequences = list(sequences)
        self._augmentation = augmentation or Augmentation()
        self._max_bad, self._bad = max_bad_samples, 0
        self._lock = threading.Lock()
        self._cache = PictureCache(cache_bytes)

    def __reduce__(self) -> tuple[Callable[..., TrainingClips], tuple[object, ...]]:
        # another process keeps pictures and counts what cannot be read on its own
        rebuild = partial(TrainingClips, max_bad_samples=self._max_bad, cache_bytes=self._cache.limit)
        return rebuild, (self._sequences, self._augmentation)

    @property
    def names(self) -> tuple[str, ...]:
        """The sequences' names, in order."""
        return tuple(sequence.name for sequence in self._sequences)

    def __len__(self) -> int:
        return len(self._sequences)

    def clip(
        self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4
    ) -> SequenceClip:
        """Cut a clip whose first frame shows an object.

        Frames are consecutive or strided, forwards or backwards; a sequence that is too short is gone through to and
        fro. Every now and then a clip is looked for in which an object leaves, and perhaps returns.

        Args:
            index: Which sequence, 0 to len - 1. If it cannot be read, it is named in a warning and another is drawn.
            rng: The only source of chance.
            num_frames: T.
            size: S.
            max_stride: Largest distance between frames, counted in annotated frames.

        Raises:
            DataError: More clips than allowed could not be read, or torchvision is missing.
        """
        reader, numbers, frames, masks = self._cut(index, rng, num_frames, max(_LARGEST_SIDE, size), max_stride)
        if self._augmentation.paste and rng.random() < self._augmentation.paste:
            frames, masks = self._paste(reader, frames, masks, rng, max_stride)
        frames, masks = augment(frames, masks, self._augmentation, rng, size)
        return SequenceClip(frames, masks, f"{reader.sequence.name} frames {' '.join(map(str, numbers))}")

    def _cut(
        self, index: int, rng: np.random.Generator, num_frames: int, side: int, max_stride: int
    ) -> tuple[_Reader, list[int], Array, Array]:
        """The sequence, or another if it cannot be read, with the numbers, pictures and masks of the frames drawn."""
        while True:
            reader = _Reader(self._sequences[index], self._cache, side)
            try:
                numbers = _draw_frames(reader, rng, num_frames, max_stride)
                return reader, numbers, *reader.read(numbers)
            except DataError as error:
                self._count_bad(reader.sequence, error)
                index = int(rng.integers(len(self)))

    def _paste(
        self, own: _Reader, frames: Array, masks: Array, rng: np.random.Generator, max_stride: int
    ) -> tuple[Array, Array]:
        """The clip with an object of another sequence in front, or as it is if none is found that is whole."""
        rest = [other for other in self._sequences if other is not own.sequence]
        for place in rng.permutation(len(rest))[:_PASTE_TRIES]:
            other = rest[place]
            try:
                reader = _Reader(other, self._cache, own.side)
                numbers = _draw_frames(reader, rng, len(frames), max_stride)
                whole = whole_ids(reader.masks(numbers))
                if not whole:
                    continue
                others, other_masks = reader.read(numbers)
            except DataError as error:
                self._count_bad(other, error)
                continue
            return paste(frames, masks, others, other_masks, int(rng.choice(whole)), rng)
        return frames, masks

    def _count_bad(self, sequence: MaskedSequence, error: DataError) -> None:
        with self._lock:
            self._bad += 1
            bad = self._bad
        reason = str(error).rstrip(".")
        if bad > self._max_bad:
            raise DataError(
                f"More than {self._max_bad} training clips could not be read, the last because of {sequence.name} "
                f"({reason}): mend the data set, which uamp data check examines, or raise max_bad_samples."
            ) from error
        _log.warning(
            "A clip of %s is replaced by another (%d of at most %d): %s.", sequence.name, bad, self._max_bad, reason
        )


class MixedClips:
    """Clips of several sources, drawn by weight."""

    def __init__(self, parts: Sequence[tuple[ClipSource, float]]) -> None:
        """Keeps the parts.

        Args:
            parts: Sources with their weights, which are relative.

        Raises:
            DataError: There is no part, or a weight is not above 0.
        """
        if not parts or min(weight for _, weight in parts) <= 0:
            raise DataError("A mix needs at least one part, each with a weight above 0: name them.")
        self._sources = [source for source, _ in parts]
        weights = np.array([weight for _, weight in parts], np.float64)
        self._shares = weights / weights.sum()

    def __len__(self) -> int:
        """Clips of an epoch: as many as all parts have."""
        return sum(len(source) for source in self._sources)

    def clip(self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4) -> Clip:
        """Cut a clip out of a part drawn by weight.

        Args:
            index: Added to a place drawn in the part, and wrapped around, so that all its places are equally likely.
            rng: The only source of chance.
            num_frames: T.
            size: S.
            max_stride: Largest distance between frames.

        Raises:
            DataError: What the part raises.
        """
        source = self._sources[int(rng.choice(len(self._sources), p=self._shares))]
        place = (index + int(rng.integers(len(source)))) % len(source)
        return source.clip(place, rng, num_frames, size, max_stride)


class _Reader:
    """The pictures of one sequence, by way of the cache, none with a shorter side above `side`."""

    def __init__(self, sequence: MaskedSequence, cache: PictureCache, side: int) -> None:
        self.sequence, self.side, self._cache = sequence, side, cache

    def read(self, numbers: Sequence[int]) -> tuple[Array, Array]:
        frames = _stack(self.sequence, [self._get("image", number) for number in numbers])
        masks = self.masks(numbers)
        if frames.shape[:3] != masks.shape:
            name = self.sequence.name
            raise DataError(f"The masks of {name} are not of the size of its frames: mend it or leave it out.")
        return frames, masks

    def mask(self, frame: int) -> Array:
        return self._get("mask", frame)

    def masks(self, frames: Sequence[int]) -> Array:
        return _stack(self.sequence, [self.mask(frame) for frame in frames])

    def visible(self, frame: int) -> bool:
        return len(visible_ids(self.mask(frame))) > 0

    def _get(self, kind: str, frame: int) -> Array:
        return self._cache.get((kind, id(self.sequence), frame, self.side), lambda: self._read(kind, frame))

    def _read(self, kind: str, frame: int) -> Array:
        image = kind == "image"
        picture = self.sequence.image(frame) if image else self.sequence.annotation(frame)
        height, width = picture.shape[:2]
        scale = self.side / min(height, width)
        if scale >= 1:
            return picture
        size = (round(width * scale), round(height * scale))
        smooth = cv2.INTER_AREA if image else cv2.INTER_NEAREST_EXACT
        return np.asarray(cv2.resize(picture, size, interpolation=smooth), np.uint8)


def _stack(sequence: MaskedSequence, pictures: list[Array]) -> Array:
    if len({picture.shape for picture in pictures}) > 1:
        raise DataError(f"The pictures of {sequence.name} are of several sizes: mend it or leave it out.")
    return np.stack(pictures)


def _draw_frames(reader: _Reader, rng: np.random.Generator, num_frames: int, max_stride: int) -> list[int]:
    """Numbers of the frames of a clip whose first frame shows an object."""
    annotated = reader.sequence.annotated
    if num_frames > 1 and rng.random() < _LEAVING_SHARE:
        for _ in range(_LEAVING_TRIES):
            picked = _window(rng, annotated, num_frames, max_stride)
            if reader.visible(picked[0]) and _leaves(reader, picked):
                return picked
    for _ in range(_TRIES):
        picked = _window(rng, annotated, num_frames, max_stride)
        if reader.visible(picked[0]):
            return picked
    return _from_first_object(reader, num_frames)


def _window(rng: np.random.Generator, annotated: Sequence[int], num_frames: int, max_stride: int) -> list[int]:
    count = len(annotated)
    longest = (count - 1) // max(num_frames - 1, 1)
    stride = int(rng.integers(1, max(1, min(max_stride, longest)) + 1))
    reach = min(count - 1, (num_frames - 1) * stride)
    start = int(rng.integers(count - reach))
    positions = _to_and_fro(start, stride, num_frames, count)
    if rng.random() < 0.5:
        positions = [2 * start + reach - position for position in positions]
    return [annotated[position] for position in positions]


def _to_and_fro(start: int, stride: int, num_frames: int, count: int) -> list[int]:
    """Positions below `count`, turning back at the end."""
    period = 2 * (count - 1)
    steps = [(start + stride * t) % period for t in range(num_frames)]
    return [min(step, period - step) for step in steps]


def _leaves(reader: _Reader, picked: list[int]) -> bool:
    """Whether an object of the first frame is gone in the middle or at the end."""
    ids = set(visible_ids(reader.mask(picked[0])).tolist())
    return any(ids - set(visible_ids(reader.mask(n), 0).tolist()) for n in (picked[len(picked) // 2], picked[-1]))


def _from_first_object(reader: _Reader, num_frames: int) -> list[int]:
    """Where chance found none: frames from the first that shows any object on."""
    annotated = reader.sequence.annotated
    for position, number in enumerate(annotated):
        if len(visible_ids(reader.mask(number), 0)):
            return [annotated[p] for p in _to_and_fro(position, 1, num_frames, len(annotated))]
    raise DataError(f"No mask of {reader.sequence.name} shows an object: replace them or leave it out.")
