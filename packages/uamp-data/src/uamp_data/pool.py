"""A pool of generated clips on disk: rendered once, memory-mapped, cut into training clips in milliseconds."""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.atomic import unwritable
from uamp_data.download import require_space
from uamp_data.errors import DataError
from uamp_data.synthetic import FAMILIES, GENERATOR_VERSION, generate_clip

_log = logging.getLogger(__name__)
_HEAD = "pool.json"
# The head's name until the arrays are made; arrays beside it are those of a pool, not of somebody else.
_BEGUN = "pool.json.part"
_FORMAT = 1
# Frames of the whole clips, of which a pool holds windows: as many as scored clips have, so that the pace is the same.
_STORY = 48
_MIXED = ("mixed",)
# An object counts as visible in a training clip from this share of the picture on.
_SMALLEST_SHARE = 0.003

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PoolClip:
    """A training clip: frames T×S×S×3 uint8 RGB and masks T×S×S uint8 with object ids (0 is background)."""

    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What a pool holds; its head on disk."""

    clips: int
    num_frames: int
    size: int
    seed: int
    families: tuple[str, ...] = _MIXED
    story: int = _STORY
    generator: int = GENERATOR_VERSION
    format: int = _FORMAT

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the arrays, by file."""
        m, t, s = self.clips, self.num_frames, self.size
        return {"frames.npy": (m, t, s, s, 3), "masks.npy": (m, t, s, s), "done.npy": (m,)}


def build_pool(
    folder: Path | str,
    *,
    clips: int,
    num_frames: int = 24,
    size: int = 256,
    seed: int = 0,
    families: Sequence[str] = _MIXED,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ClipPool:
    """Render windows of ``clips`` clips into ``folder``; an interrupted build goes on where it stopped.

    Args:
        folder: Where the pool lies; made if missing.
        clips: Number of clips M.
        num_frames: Frames of each window; the clips are planned 48 frames long, so that they keep their pace.
        size: Side of the square frames in pixels.
        seed: The pool's seed; clip i depends on it and on i alone.
        families: What the clips show, in turn; a name may come more than once.
        workers: Processes that render; 1 renders in this one.
        progress: Called with (done, clips) at the start and after every clip.

    Raises:
        DataError: There is no such family; the folder holds a pool of another recipe or files that are none, or cannot
            be written; or a process was ended from outside.
    """
    folder = Path(folder)
    if not families or not set(families) <= set(FAMILIES):
        raise DataError(f"A pool's families are some of {', '.join(FAMILIES)}, not {' '.join(families) or 'none'}.")
    recipe = _Recipe(clips, num_frames, size, seed, tuple(families), story=max(_STORY, num_frames))
    try:
        done = _prepare(folder, recipe)
        missing = [int(i) for i in np.flatnonzero(done == 0)]
        finished = clips - len(missing)
        if progress:
            progress(finished, clips)
        for index in _render(folder, recipe, missing, workers):
            _store(folder / "done.npy", index, np.ones((), np.uint8))
            finished += 1
            if progress:
                progress(finished, clips)
    except OSError as error:
        raise unwritable(folder / "frames.npy", error) from error
    except BrokenProcessPool as error:
        raise DataError(
            f"A process that renders clips for {folder} was ended, perhaps for want of memory: use fewer (num_workers)."
        ) from error
    return ClipPool(folder)


def _prepare(folder: Path, recipe: _Recipe) -> NDArray[np.uint8]:
    """Make the arrays of a new pool, or check an existing one; returns which clips are finished."""
    if (folder / _HEAD).is_file():
        found = _read_head(folder)
        if found != recipe:
            was, wanted = asdict(found), asdict(recipe)
            named = ", ".join(
                f"{key} {_said(was[key])} instead of {_said(wanted[key])}" for key in was if was[key] != wanted[key]
            )
            raise DataError(
                f"{folder} holds a clip pool made with another recipe ({named}): choose another folder or delete it."
            )
    else:
        _begin(folder, recipe)
    # all of them, so that a damaged one is noticed before anything is rendered
    arrays = {name: _load(folder, name) for name in recipe.shapes}
    return arrays["done.npy"]


def _begin(folder: Path, recipe: _Recipe) -> None:
    """Make the arrays of a new pool, unless files of somebody else are in the way."""
    begun = folder / _BEGUN
    # arrays beside it are an aborted start and are made anew
    if not begun.is_file() and any((folder / name).exists() for name in recipe.shapes):
        raise DataError(f"{folder} holds files that are no clip pool: choose another folder.")
    require_space(folder, sum(math.prod(shape) for shape in recipe.shapes.values()))
    folder.mkdir(parents=True, exist_ok=True)
    begun.write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    for name, shape in recipe.shapes.items():
        # Sparse files: nothing is read before "done" says so.
        np.lib.format.open_memmap(folder / name, mode="w+", dtype=np.uint8, shape=shape).flush()
    begun.replace(folder / _HEAD)


def _load(folder: Path, name: str) -> NDArray[np.uint8]:
    """One of a pool's arrays, read from the file as it is used."""
    try:
        array: NDArray[np.uint8] = np.load(folder / name, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"The clip pool in {folder} is damaged ({name}: {error}): delete it and build it again."
        ) from error
    return array


def _said(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _read_head(folder: Path) -> _Recipe:
    try:
        found = json.loads((folder / _HEAD).read_text())
        families = tuple(str(name) for name in found.pop("families", _MIXED))  # older pools are mixed
        return _Recipe(**{str(key): int(value) for key, value in found.items()}, families=families)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{folder} holds no readable clip pool ({_HEAD}: {error}): build it first.") from error


def _render_one(folder: Path, recipe: _Recipe, index: int) -> int:
    clip = generate_clip(
        (recipe.seed << 32) + index,  # 2^32 apart, so that pools with neighbouring seeds share no clip
        num_frames=recipe.story,
        size=(recipe.size, recipe.size),
        family=recipe.families[index % len(recipe.families)],
        window=recipe.num_frames,
    )
    _store(folder / "frames.npy", index, clip.frames)
    _store(folder / "masks.npy", index, clip.masks)
    return index


def _store(path: Path, index: int, values: NDArray[np.uint8]) -> None:
    """Write one item of an array; not through a memory map, where a full disk would end the process."""
    array = np.lib.format.open_memmap(path, mode="r")
    with path.open("r+b") as file:
        file.seek(array.offset + index * values.nbytes)
        file.write(np.ascontiguousarray(values).data)
        file.flush()
        os.fsync(file.fileno())


def _one_thread() -> None:
    # The worker process is ours alone: with one process per core, threads inside each only get in the way.
    cv2.setNumThreads(1)


def _render(folder: Path, recipe: _Recipe, missing: list[int], workers: int) -> Iterator[int]:
    if workers <= 1 or len(missing) < 2:
        for index in missing:
            yield _render_one(folder, recipe, index)
        return
    # Forking a process that runs threads (torch, OpenCV) can hang, hence "spawn".
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(missing)), mp_context=context, initializer=_one_thread) as executor:
        waiting = [executor.submit(_render_one, folder, recipe, index) for index in missing]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


class ClipPool:
    """A finished pool on disk, opened read-only; the frames stay in the file until they are used.

    Args:
        folder: A folder that ``build_pool`` has filled.

    Raises:
        DataError: There is no pool, or it is not complete.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        recipe = _read_head(self.folder)
        self._frames, self._masks, done = (_load(self.folder, name) for name in recipe.shapes)
        if not done.all():
            raise DataError(
                f"The clip pool in {self.folder} is not complete ({done.sum()} of {len(done)} clips): build it again."
            )
        self.generator_version = recipe.generator
        self.num_frames, self.size = recipe.num_frames, recipe.size

    def __reduce__(self) -> tuple[type[ClipPool], tuple[Path]]:
        return ClipPool, (self.folder,)  # another process opens the files too, instead of being sent what is in them

    def __len__(self) -> int:
        return len(self._frames)

    def stored(self, index: int) -> PoolClip:
        """Pool clip ``index`` as it was rendered, whole; its arrays are read from the file as they are used."""
        return PoolClip(self._frames[index], self._masks[index])

    def clip(self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4) -> PoolClip:
        """Cut a training clip out of pool clip ``index`` and augment it the same way on all its frames.

        Everything random comes from ``rng``: a window with a random stride and direction, crop, flip, colour, blur,
        noise and JPEG. At least one object covers 0.3 % of the first frame.

        Args:
            index: Which pool clip, 0 to len - 1.
            rng: Source of randomness.
            num_frames: Frames to return, at most the pool's.
            size: Side of the returned square frames in pixels.
            max_stride: Largest distance between frames.

        Raises:
            DataError: More frames are asked for than the pool's clips have.
        """
        if not 1 <= num_frames <= self.num_frames:
            raise DataError(
                f"The pool's clips have {self.num_frames} frames: ask for 1 to {self.num_frames}, not {num_frames}."
            )
        window = self._window(index, rng, num_frames, max_stride)
        frames, masks = _crop(*window, rng, size)
        frames, masks = _flip(frames, masks, rng)
        return PoolClip(_degrade(_recolour(frames, rng), rng), masks)

    def _window(
        self, index: int, rng: np.random.Generator, num_frames: int, max_stride: int
    ) -> tuple[list[Image], list[Image]]:
        longest = (self.num_frames - 1) // max(num_frames - 1, 1)
        times = np.arange(num_frames)
        for _ in range(6):
            stride = int(rng.integers(1, max(1, min(max_stride, longest)) + 1))
            start = int(rng.integers(self.num_frames - (num_frames - 1) * stride))
            picked = start + stride * np.arange(num_frames)
            if rng.random() < 0.5:
                picked = picked[::-1]
            if _largest(np.asarray(self._masks[index, picked[0]])) >= _SMALLEST_SHARE:
                times = picked
                break
        # When no try succeeded: frame 0 of every window shows an object well.
        return [self._frames[index, t] for t in times], [self._masks[index, t] for t in times]


def _largest(mask: Image) -> float:
    """Share of the picture that the largest object covers."""
    counts = np.bincount(mask.ravel(), minlength=2)[1:]
    return float(counts.max()) / mask.size


def _crop(frames: list[Image], masks: list[Image], rng: np.random.Generator, size: int) -> tuple[Image, Image]:
    """Crop all frames alike around an object of the first frame, and resize them to size×size."""
    height, width = masks[0].shape
    ids = np.unique(masks[0])
    y0, x0, h, w = 0, 0, height, width
    if rng.random() < 0.8 and ids.max() > 0:
        chosen = int(rng.choice(ids[ids > 0]))
        rows, columns = (np.flatnonzero((masks[0] == chosen).any(axis)) for axis in (1, 0))
        share, aspect = rng.uniform(0.45, 1.0), np.exp(rng.uniform(-0.2, 0.2))
        h, w = int(min(height, height * share * aspect)), int(min(width, width * share / aspect))
        # The crop holds the middle of the object, so that most of it is in view.
        y0 = _place(rng, float(rows.mean()), h, height)
        x0 = _place(rng, float(columns.mean()), w, width)
        if _largest(np.ascontiguousarray(masks[0][y0 : y0 + h, x0 : x0 + w])) < _SMALLEST_SHARE:
            y0, x0, h, w = 0, 0, height, width
    smooth = cv2.INTER_AREA if min(h, w) >= size else cv2.INTER_LINEAR
    out_frames = np.empty((len(frames), size, size, 3), np.uint8)
    out_masks = np.empty((len(frames), size, size), np.uint8)
    for t, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        window = np.s_[y0 : y0 + h, x0 : x0 + w]
        out_frames[t] = cv2.resize(np.ascontiguousarray(frame[window]), (size, size), interpolation=smooth)
        out_masks[t] = cv2.resize(
            np.ascontiguousarray(mask[window]), (size, size), interpolation=cv2.INTER_NEAREST_EXACT
        )
    return out_frames, out_masks


def _place(rng: np.random.Generator, middle: float, length: int, full: int) -> int:
    low, high = max(0, int(middle - 0.85 * length)), min(full - length, int(middle - 0.15 * length))
    return int(rng.integers(low, high + 1)) if high >= low else min(max(low, 0), full - length)


def _flip(frames: Image, masks: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    horizontal, vertical = rng.random() < 0.5, rng.random() < 0.05
    if horizontal:
        frames, masks = frames[:, :, ::-1], masks[:, :, ::-1]
    if vertical:
        frames, masks = frames[:, ::-1], masks[:, ::-1]
    return np.ascontiguousarray(frames), np.ascontiguousarray(masks)


def _recolour(frames: Image, rng: np.random.Generator) -> Image:
    """Permute and mix the channels, then bend each one's brightness curve."""
    count, size = frames.shape[:2]
    mix = np.eye(3)
    if rng.random() < 0.4:
        mix = mix[rng.permutation(3)]
    saturation = 0.0 if rng.random() < 0.08 else float(rng.uniform(0.5, 1.5))
    luma = np.tile([[0.299, 0.587, 0.114]], (3, 1))
    mix = (luma + saturation * (np.eye(3) - luma)) @ mix
    gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.06, 3))
    contrast, gamma = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.2, 1) + rng.normal(0, 0.04, 3))
    levels = (np.arange(256)[:, None] / 255.0) ** gamma * gain
    table = np.clip(((levels - 0.45) * contrast + 0.45) * 255, 0, 255).astype(np.uint8)
    tall = frames.reshape(count * size, size, 3)
    mixed = cv2.transform(tall, mix.astype(np.float32))
    return np.asarray(cv2.LUT(mixed, table[None]), np.uint8).reshape(frames.shape)


def _degrade(frames: Image, rng: np.random.Generator) -> Image:
    """Now and then: a mild blur, sensor noise, JPEG blocks."""
    size = frames.shape[1]
    if rng.random() < 0.15:
        sigma = float(rng.uniform(0.4, 1.3))
        frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
    if rng.random() < 0.2:
        grain = rng.integers(-128, 128, (size + 16, size + 16, 3)).astype(np.float32) * np.float32(
            rng.uniform(0.01, 0.09)
        )
        frames = frames.copy()
        for frame in frames:
            y, x = rng.integers(0, 17, 2)
            cv2.add(frame, np.ascontiguousarray(grain[y : y + size, x : x + size]), dst=frame, dtype=cv2.CV_8U)
    if rng.random() < 0.15:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 85))]
        coded = [cv2.imencode(".jpg", frame, quality)[1] for frame in frames]
        frames = np.stack([np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8) for code in coded])
    return np.ascontiguousarray(frames, dtype=np.uint8)
