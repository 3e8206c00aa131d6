"""Times the metrics beside slower implementations of the same definitions, on the same masks in the same run."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, count, islice, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from uamp_data.synthetic import generate_clip
from uamp_eval.boundaries import pair_boundaries
from uamp_eval.metrics import matching_radius, object_masks, score_frame
from uamp_eval.reference import reference_score_frame

Ids = NDArray[np.uint8]
Scores = NDArray[np.float64]
Score = Callable[[Ids, Ids, Sequence[int]], tuple[Scores, Scores]]
MaskPair = tuple[Ids, Ids]
"""Prediction and truth, H×W object ids each."""

OURS, REFERENCE, VOS_BENCHMARK = "uamp", "reference", "vos-benchmark"
STAGES = ("objects and J", "boundary maps", "matching")
AGREEMENT = 1e-9
REPETITIONS = 7

_MOST_IN_A_CLIP = 8
_FRAMES_OF_A_CLIP = 2
"""Few, so that the frames of a run show many sizes and shapes."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one number of objects came to.

    Attributes:
        objects: How many were scored in each frame.
        radius: Of the disk in which boundaries match, pixels.
        milliseconds: By implementation, the median over frames of the time for one frame with all its objects.
        differences: By implementation, the largest difference of any J or F to ours.
        stages: By stage, our time for it, taken apart from the above; milliseconds.
        j: Mean J over objects and frames, in [0, 1].
        f: Mean F likewise.
    """

    objects: int
    radius: int
    milliseconds: dict[str, float]
    differences: dict[str, float]
    stages: dict[str, float]
    j: float
    f: float

    @property
    def difference(self) -> float:
        """The largest of the differences."""
        return max(self.differences.values(), default=0.0)

    def times_faster(self, other: str) -> float:
        """How many times the time of ours the other one takes."""
        return self.milliseconds[other] / self.milliseconds[OURS]


def contenders() -> dict[str, Score]:
    """Ours, the reference and, where it is installed, the package vos-benchmark."""
    scores: dict[str, Score] = {OURS: score_frame, REFERENCE: reference_score_frame}
    try:
        evaluator = import_module("vos_benchmark.evaluator").Evaluator
    except ImportError:
        return scores

    def vos_benchmark(prediction: Ids, truth: Ids, object_ids: Sequence[int]) -> tuple[Scores, Scores]:
        judge = evaluator()
        judge.feed_frame(prediction, truth)
        # It leaves out what neither map shows, which scores 1.
        j = [judge.object_iou[i][0] if i in judge.object_iou else 1.0 for i in object_ids]
        f = [judge.boundary_f[i][0] if i in judge.boundary_f else 1.0 for i in object_ids]
        return np.array(j, np.float64), np.array(f, np.float64)

    return scores | {VOS_BENCHMARK: vos_benchmark}


def make_masks(num_objects: int, num_frames: int, size: tuple[int, int]) -> Iterator[MaskPair]:
    """Generate masks with the errors that a tracker makes; the same arguments always give the same masks.

    Args:
        num_objects: How many objects each truth has, from 1 to 254.
        num_frames: How many frames, from 1.
        size: Height and width, each from 32.
    """
    rng = np.random.default_rng([num_objects, *size])
    clips = (_truths(num_objects, size, rng) for _ in count())
    for truth in islice(chain.from_iterable(clips), num_frames):
        yield _tracked(truth, num_objects, rng), truth


def _truths(num_objects: int, size: tuple[int, int], rng: np.random.Generator) -> Ids:
    """Masks of a clip; where a clip cannot hold all objects, of several ones laid over each other."""
    truths = np.zeros((_FRAMES_OF_A_CLIP, *size), np.uint8)
    for first in range(0, num_objects, _MOST_IN_A_CLIP):
        number = min(_MOST_IN_A_CLIP, num_objects - first)
        seed = int(rng.integers(1 << 30))
        clip = generate_clip(seed, num_frames=_FRAMES_OF_A_CLIP, size=size, num_objects=number)
        truths = np.where(clip.masks > 0, clip.masks + np.uint8(first), truths)
    return truths


def _tracked(truth: Ids, num_objects: int, rng: np.random.Generator) -> Ids:
    """What a tracker might make of a truth: contours a few pixels off, pieces lost or given to others."""
    height, width = truth.shape
    diagonal = float(np.hypot(height, width))
    coarse = (2, height // 60 + 2, width // 60 + 2)
    drift = 0.002 * diagonal * rng.normal(size=coarse) + rng.normal(size=(2, 1, 1))
    grid = np.indices(truth.shape).astype(np.float32)
    dy, dx = (cv2.resize(part.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) for part in drift)
    prediction = np.asarray(cv2.remap(truth, grid[1] + dx, grid[0] + dy, cv2.INTER_NEAREST), np.uint8)
    places = np.argwhere(truth)
    for y, x in places[rng.integers(len(places), size=1 + num_objects)] if len(places) else ():
        radius, object_id = int(diagonal * rng.uniform(0.005, 0.02)), int(rng.integers(num_objects + 1))
        cv2.circle(prediction, (int(x), int(y)), max(radius, 1), (object_id,), cv2.FILLED)
    return prediction


def measure(frames: Sequence[MaskPair], num_objects: int, scores: dict[str, Score]) -> Measurement:
    """Time all implementations in turns on one core and compare what they answer.

    Args:
        frames: Predictions and truths, all of one size.
        num_objects: Objects 1 to this number are scored.
        scores: The implementations by name; one of them is ours.
    """
    ids = range(1, num_objects + 1)
    differences = {name: 0.0 for name in scores if name != OURS}
    ours = []
    with _one_thread():
        for prediction, truth in frames:
            ours.append(np.array(score_frame(prediction, truth, ids)))
            for name in differences:
                off = np.abs(np.array(scores[name](prediction, truth, ids)) - ours[-1])
                differences[name] = max(differences[name], float(off.max()))
        seconds, stages = _time_in_turns(frames, ids, scores)
    j, f = np.mean(ours, axis=(0, 2))
    return Measurement(
        objects=num_objects,
        radius=matching_radius(frames[0][1].shape),
        milliseconds={name: 1e3 * statistics.median(values) for name, values in seconds.items()},
        differences=differences,
        stages={name: 1e3 * statistics.median(values) for name, values in stages.items()},
        j=float(j),
        f=float(f),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _time_in_turns(
    frames: Sequence[MaskPair], ids: Sequence[int], scores: dict[str, Score]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Let each implementation go through all frames, as in real work, then the next, and all of them again.

    What slows the machine down for a while then slows all of them down.

    Returns:
        By implementation, and by stage of ours, the seconds for each frame: the best of all repetitions, because
        other work on the machine only ever adds to them.
    """
    seconds = {name: [math.inf] * len(frames) for name in scores}
    stages = {stage: [math.inf] * len(frames) for stage in STAGES}
    for _ in range(REPETITIONS):
        for name, score in scores.items():
            for n, (prediction, truth) in enumerate(frames):
                start = time.perf_counter()
                score(prediction, truth, ids)
                seconds[name][n] = min(seconds[name][n], time.perf_counter() - start)
        for n, (prediction, truth) in enumerate(frames):
            for stage, duration in zip(STAGES, _time_stages(prediction, truth, ids), strict=True):
                stages[stage][n] = min(stages[stage][n], duration)
    return seconds, stages


def _time_stages(prediction: Ids, truth: Ids, ids: Sequence[int]) -> list[float]:
    """Seconds of the stages of ours, which are called here one after the other as `score_frame` does."""
    radius = matching_radius(truth.shape)
    clock = [time.perf_counter()]
    masks = list(object_masks(prediction, truth, ids))
    areas = [(np.count_nonzero(ours | true), np.count_nonzero(ours & true)) for ours, true in masks]
    clock.append(time.perf_counter())
    unlike = [pair for pair, (union, both) in zip(masks, areas, strict=True) if both < union]
    boundaries = [pair_boundaries(ours, true, radius) for ours, true in unlike]
    clock.append(time.perf_counter())
    for pair in boundaries:
        pair.count()
        pair.count_matched()
    clock.append(time.perf_counter())
    return [after - before for before, after in pairwise(clock)]
