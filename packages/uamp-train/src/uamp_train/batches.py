"""From clips to the tensors of a step. Shapes: B clips, T frames, N objects, P points, S input side."""

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from uamp_train.config import Stage, TrainConfig
from uamp_train.errors import ConfigError
from uamp_train.feature_store import FeatureStore, StoredFrame
from uamp_train.prompts import PromptKind, click_count, draw_kind, draw_points

VOID = 255
DRAWS_PER_CLIP = 20
CLIPS = 1
"""Sets the random numbers of clips apart from those of a batch."""
PREFETCHED_PER_WORKER = 2


class TrainingClip(Protocol):
    """A clip with the truth."""

    @property
    def frames(self) -> npt.NDArray[np.uint8]:
        """T×S×S×3, RGB."""

    @property
    def masks(self) -> npt.NDArray[np.uint8]:
        """T×S×S object numbers: 0 background, 255 void."""


class ClipSource(Protocol):
    """Where clips come from. Must give the same clip for the same arguments, from any thread."""

    def __len__(self) -> int: ...

    def clip(
        self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4
    ) -> TrainingClip:
        """Cut `num_frames` frames of `size`×`size` pixels from clip `index`, augmented by chance."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A step's input on the CPU or the device.

    Attributes:
        images: B×T×3×S×S uint8.
        clip_of_object: N integers below B.
        masks: N×T×S×S uint8 in {0, 1}.
        valid: N×T×S×S uint8, 0 where the truth is unknown; None where it is known everywhere.
        present: N×T bool, whether the object is in view.
        kind: of the prompts, the same for all objects.
        points, labels: N×P×2 float and N×P int32; None for mask prompts.
        clips: B names of the clips, for messages.
        stored: what the feature cache has of the B·T frames, if there is one.
    """

    images: Tensor
    clip_of_object: Tensor
    masks: Tensor
    valid: Tensor | None
    present: Tensor
    kind: PromptKind
    points: Tensor | None
    labels: Tensor | None
    clips: tuple[str, ...] = ()
    stored: tuple[StoredFrame, ...] = ()

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The batch where a GPU can fetch it while others work; torch's loader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: move(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True, slots=True)
class Place:
    """Which batch of a run it is: together with the seed it decides everything random in it."""

    step: int
    rank: int = 0
    micro: int = 0

    def rng(self, seed: int) -> np.random.Generator:
        """The source of what is random within the network, such as dropout."""
        return np.random.default_rng([seed, self.step, self.rank, self.micro])

    def clip_rng(self, seed: int, number: int) -> np.random.Generator:
        """The source of everything random about clip `number` of a step."""
        return np.random.default_rng([seed, self.step, 0, number, CLIPS])


def make_batch(source: ClipSource, config: TrainConfig, stage: Stage, place: Place) -> Batch:
    """Build the batch of one place: a pure function of the source, the configuration and the place.

    Raises:
        ConfigError: if hardly any clip shows an object of the size asked for.
    """
    # What decides the cost of a step is drawn without the rank, so that no process waits for another.
    shared = np.random.default_rng([config.seed, place.step])
    share = config.still_share if stage.still_share is None else stage.still_share
    still = bool(shared.random() < share) or stage.num_frames == 1
    kind = draw_kind(shared, config.prompt_shares, still=still)

    clicks = click_count(shared, kind)
    clips, frames = (stage.batch_size * stage.num_frames, 1) if still else (stage.batch_size, stage.num_frames)
    # Counted through all processes and batches of a step: two with one clip each see what one with two clips sees.
    first = (place.rank * config.gradient_accumulation + place.micro) * clips
    images, masks, valid, owner, names, points = [], [], [], [], [], []
    for number in range(clips):
        rng = place.clip_rng(config.seed, first + number)
        index, clip, ids = _draw_clip(source, config, stage, frames, rng)
        truth = np.stack([clip.masks == identity for identity in ids])
        images.append(clip.frames)
        masks.append(truth)
        valid.extend([clip.masks != VOID] * len(ids))
        owner.extend([number] * len(ids))
        names.append(str(getattr(clip, "name", f"clip {index}")))
        if kind != "mask":
            points.append(draw_points(rng, truth[:, 0], kind, clicks))
    truth, known = np.concatenate(masks), np.stack(valid)
    return Batch(
        images=torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(0, 1, 4, 2, 3))),
        clip_of_object=torch.tensor(owner),
        masks=torch.from_numpy(truth.view(np.uint8)),
        valid=None if known.all() else torch.from_numpy(known.view(np.uint8)),
        present=torch.from_numpy(truth.any((2, 3))),
        kind=kind,
        points=torch.from_numpy(np.concatenate([xy for xy, _ in points])) if points else None,
        labels=torch.from_numpy(np.concatenate([labels for _, labels in points])) if points else None,
        clips=tuple(names),
    )


def first_batch(source: ClipSource, config: TrainConfig, stage: Stage) -> Batch:
    """A batch of whole clips that stays the same through a stage, to be looked at."""
    moving = stage.model_copy(update={"still_share": 0.0})
    return make_batch(source, config, moving, Place(0))


def _draw_clip(
    source: ClipSource, config: TrainConfig, stage: Stage, frames: int, rng: np.random.Generator
) -> tuple[int, TrainingClip, list[int]]:
    """A clip with its index, and the numbers of the objects to follow in it."""
    for _ in range(DRAWS_PER_CLIP):
        index = int(rng.integers(len(source)))
        clip = source.clip(index, rng, frames, stage.image_size, stage.max_stride)
        areas = np.bincount(clip.masks[0].ravel(), minlength=256)
        areas[[0, VOID]] = 0
        ids = np.flatnonzero(areas >= max(1.0, config.min_object_area * stage.image_size**2))
        if len(ids):
            return index, clip, sorted(rng.permutation(ids)[: config.max_objects].tolist())
    raise ConfigError(
        f"{DRAWS_PER_CLIP} clips in a row show no object of at least {config.min_object_area:.1%} of the first frame: "
        "lower min_object_area or use other clips."
    )


def prefetch(
    source: ClipSource,
    config: TrainConfig,
    stage: Stage,
    places: Sequence[Place],
    store: FeatureStore | None = None,
) -> Generator[tuple[Place, Batch]]:
    """The batches of these places in their order, prepared ahead by `num_workers` threads or processes.

    Without any, each is made when it is asked for. Since a batch depends on nothing but its place, the number of
    workers changes nothing but the speed. At most `PREFETCHED_PER_WORKER` batches per worker, and one more, are in
    memory at a time. With a `store`, what it has of a batch's frames is read along with it.
    """

    def prepare(place: Place) -> Batch:
        batch = make_batch(source, config, stage, place)
        return batch if store is None else replace(batch, stored=store.look_up(batch.images))

    if config.num_workers == 0:
        yield from ((place, prepare(place)) for place in places)
    elif config.worker_processes:
        yield from zip(places, _in_processes(source, config, stage, places), strict=True)
    else:
        yield from _in_threads(prepare, places, config.num_workers)


def _in_processes(source: ClipSource, config: TrainConfig, stage: Stage, places: Sequence[Place]) -> Iterator[Batch]:
    loader = DataLoader(
        _Batches(source, config, stage, places),
        batch_size=None,
        num_workers=config.num_workers,
        prefetch_factor=PREFETCHED_PER_WORKER,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_begin_process,
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _begin_process(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what Ctrl-C ends is decided by the process that trains
    cv2.setNumThreads(0)  # its threads are not there in a process that was split off


@dataclass(frozen=True, slots=True)
class _Batches(Dataset[Batch | Exception]):
    """The batches of a stage as torch's loader wants them, or what went wrong, which it would wrap into a traceback."""

    source: ClipSource
    config: TrainConfig
    stage: Stage
    places: Sequence[Place]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Batch | Exception:
        try:
            return make_batch(self.source, self.config, self.stage, self.places[number])
        except Exception as error:
            return error


def _in_threads(
    prepare: Callable[[Place], Batch], places: Sequence[Place], threads: int
) -> Iterator[tuple[Place, Batch]]:
    with ThreadPoolExecutor(threads, thread_name_prefix="batches") as workers:
        waiting: deque[tuple[Place, Future[Batch]]] = deque()
        try:
            for place in places:
                waiting.append((place, workers.submit(prepare, place)))
                if len(waiting) > PREFETCHED_PER_WORKER * threads:
                    ready, future = waiting.popleft()
                    yield ready, future.result()
            while waiting:
                ready, future = waiting.popleft()
                yield ready, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
