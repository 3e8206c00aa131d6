"""Region similarity J and boundary accuracy F, as the DAVIS benchmarks define them.

J is the intersection over union of two masks. F is the harmonic mean of boundary precision and recall, where a
boundary pixel counts as found if the other boundary passes within a small disk around it (Perazzi et al., CVPR 2016;
Pont-Tuset et al., 2017). The conventions at the edges (empty masks, borders, rounding) are those of the
davis2017-evaluation tool, so that numbers can be compared with published ones.

Shapes: T frames, H×W pixels. Nothing here needs torch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uamp_eval.boundaries import pair_boundaries
from uamp_eval.boxes import box_of, boxes_of
from uamp_eval.sequences import Ids

Mask = NDArray[np.bool_]
Scores = NDArray[np.float64]

BOUNDARY_TOLERANCE = 0.008
"""Radius of the disk in which boundaries match, as a share of the frame's diagonal."""

RECALL_THRESHOLD = 0.5
DECAY_BINS = 4
VOID_ID = 255


@dataclass(frozen=True, slots=True)
class ObjectScores:
    """One measure of one object, summed up over the frames of a sequence.

    Attributes:
        mean: Mean over frames, in [0, 1].
        recall: Share of the frames that score above 0.5.
        decay: Mean of the first quarter of the frames minus mean of the last, in [-1, 1]; negative if it got better.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True, slots=True)
class SequenceScores:
    """J and F of one object in every frame that was scored.

    Attributes:
        jaccard: J of each scored frame, in [0, 1].
        boundary: F of each scored frame, in [0, 1].
    """

    jaccard: Scores
    boundary: Scores

    @property
    def j(self) -> ObjectScores:
        """J summed up over the frames."""
        return object_scores(self.jaccard)

    @property
    def f(self) -> ObjectScores:
        """F summed up over the frames."""
        return object_scores(self.boundary)


def jaccard(prediction: Mask, truth: Mask, void: Mask | None = None) -> float:
    """Measure the intersection over union of two masks.

    Args:
        prediction: H×W bool.
        truth: H×W bool.
        void: H×W bool; pixels that do not count.

    Returns:
        J in [0, 1]; 1 where both masks are empty.

    Raises:
        ValueError: The shapes differ or are not H×W.
    """
    prediction, truth = _without_void(prediction, truth, void)
    union = np.count_nonzero(prediction | truth)
    return 1.0 if union == 0 else float(np.count_nonzero(prediction & truth) / union)


def boundary_f(prediction: Mask, truth: Mask, void: Mask | None = None, bound: float = BOUNDARY_TOLERANCE) -> float:
    """Measure how well the boundaries of two masks agree.

    Args:
        prediction: H×W bool.
        truth: H×W bool.
        void: H×W bool; pixels taken out of both masks before their boundaries are drawn.
        bound: Radius of the matching disk: a share of the frame's diagonal, rounded up to whole pixels, or, from 1 on,
            pixels.

    Returns:
        F in [0, 1]; 1 where neither mask has a boundary, 0 where only one has.

    Raises:
        ValueError: The shapes differ or are not H×W.
    """
    prediction, truth = _without_void(prediction, truth, void)
    box = box_of(prediction | truth)
    return _boundary_f(prediction[box], truth[box], matching_radius(truth.shape, bound))


def score_frame(
    prediction: Ids, truth: Ids, object_ids: Sequence[int], void: Mask | None = None
) -> tuple[Scores, Scores]:
    """Measure J and F of several objects in one frame.

    Args:
        prediction: H×W object ids, 0 for background.
        truth: H×W object ids, 0 for background.
        object_ids: Which objects, from 1; one that neither map shows scores 1 in both measures.
        void: H×W bool; pixels that do not count. An id of 255 in the maps is an id like any other.

    Returns:
        J and F, one value per object in the order of `object_ids`, each in [0, 1].

    Raises:
        ValueError: The shapes differ or are not H×W, or an id is below 1.
    """
    jaccards, boundaries = np.ones(len(object_ids)), np.ones(len(object_ids))
    radius = matching_radius(truth.shape)
    for n, (predicted, true) in enumerate(object_masks(prediction, truth, object_ids, void)):
        union, intersection = np.count_nonzero(predicted | true), np.count_nonzero(predicted & true)
        if intersection < union:  # equal masks, also empty ones, score 1
            jaccards[n] = intersection / union
            boundaries[n] = _boundary_f(predicted, true, radius)
    return jaccards, boundaries


def object_masks(
    prediction: Ids, truth: Ids, object_ids: Sequence[int], void: Mask | None = None
) -> Iterator[tuple[Mask, Mask]]:
    """Tell the objects of a frame apart.

    Args:
        prediction: H×W object ids, 0 for background.
        truth: H×W object ids, 0 for background.
        object_ids: Which objects, from 1.
        void: H×W bool; pixels to take out of all masks.

    Yields:
        Predicted and true mask of each object, bool, cut to a box that holds both, and one pixel more on each side
        where the frame has one.

    Raises:
        ValueError: The shapes differ or are not H×W, or an id is below 1.
    """
    _check_shapes(prediction, truth, void)
    if any(object_id < 1 for object_id in object_ids):
        raise ValueError(f"Objects have ids from 1, 0 is background; to be scored are {list(object_ids)}.")
    if len(object_ids) == 1:  # the box of all objects holds it, is hardly larger as a rule, and is found faster
        anything = prediction | truth
        boxes = [box_of(anything if anything.dtype == np.uint8 else anything != 0)]
    else:
        boxes = boxes_of(prediction, truth, object_ids)
    for object_id, box in zip(object_ids, boxes, strict=True):
        predicted, true = prediction[box] == object_id, truth[box] == object_id
        if void is not None:
            counted = ~void[box]
            predicted &= counted
            true &= counted
        yield predicted, true


def sequence_scores(prediction: Mask, truth: Mask, void: Mask | None = None, *, trim: bool = True) -> SequenceScores:
    """Score one object in every frame of a sequence.

    Args:
        prediction: T×H×W bool.
        truth: T×H×W bool.
        void: T×H×W bool; pixels that do not count.
        trim: Leave out the first frame, whose mask is given, and the last, as the semi-supervised DAVIS protocol does.

    Returns:
        J and F of the scored frames: T−2 of them, or T where `trim` is off.

    Raises:
        ValueError: The shapes differ, are not T×H×W, or leave no frame to score.
    """
    shapes = [part.shape for part in (prediction, truth, void) if part is not None]
    if len(set(shapes)) > 1 or truth.ndim != 3:
        raise ValueError(f"Prediction, truth and void pixels must all be T×H×W; they are {shapes}.")
    frames = range(1, len(truth) - 1) if trim else range(len(truth))
    if not frames:
        raise ValueError(f"A sequence of {len(truth)} frames leaves none to score; give more, or set trim=False.")

    def scores(measure: Callable[[Mask, Mask, Mask | None], float]) -> Scores:
        values = [measure(prediction[t], truth[t], None if void is None else void[t]) for t in frames]
        return np.array(values, dtype=np.float64)

    return SequenceScores(jaccard=scores(jaccard), boundary=scores(boundary_f))


def object_scores(values: Scores) -> ObjectScores:
    """Sum up one measure over the frames of a sequence.

    Neighbouring bins of the decay share the frame at their border, as in the evaluation tool. That tool counts frames
    in eight bits and so differs for sequences of more than 256 frames, which DAVIS does not have.

    Args:
        values: The measure in each scored frame, in order; at least one.

    Returns:
        Mean, recall and decay.
    """
    borders = np.round(np.linspace(1, len(values), DECAY_BINS + 1) + 1e-10).astype(int) - 1
    first, last = values[borders[0] : borders[1] + 1], values[borders[-2] : borders[-1] + 1]
    return ObjectScores(
        mean=float(np.mean(values)),
        recall=float(np.mean(values > RECALL_THRESHOLD)),
        decay=float(np.mean(first) - np.mean(last)),
    )


def clip_scores(
    prediction: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]], *, trim: bool = True
) -> dict[str, float]:
    """Score all objects of a clip: the mean over objects of their means over frames.

    Args:
        prediction: T×H×W object ids, 0 for background. Ids that the truth never shows are not scored.
        truth: T×H×W object ids, 0 for background, 255 for pixels that do not count.
        trim: Leave out the first and the last frame; clips of one or two frames are always scored whole.

    Returns:
        `J-Mean`, `F-Mean` and their mean `J&F-Mean`, each in [0, 1].

    Raises:
        ValueError: The shapes differ, are not T×H×W, or the truth shows no object.
    """
    ids = [int(i) for i in np.unique(truth) if i not in (0, VOID_ID)]
    if not ids:
        raise ValueError("The truth shows no object in any frame, so there is nothing to score.")
    void = truth == VOID_ID
    trim = trim and len(truth) > 2
    per_object = [sequence_scores(prediction == i, truth == i, void, trim=trim) for i in ids]
    j = float(np.mean([scores.j.mean for scores in per_object]))
    f = float(np.mean([scores.f.mean for scores in per_object]))
    return {"J-Mean": j, "F-Mean": f, "J&F-Mean": (j + f) / 2}


def matching_radius(shape: tuple[int, ...], bound: float = BOUNDARY_TOLERANCE) -> int:
    """Return the radius, in pixels, of the disk in which boundaries match in a frame of that shape (H, W)."""
    return math.floor(bound) if bound >= 1 else math.ceil(bound * math.hypot(*shape))


def _boundary_f(prediction: Mask, truth: Mask, radius: int) -> float:
    """Measure F of two masks that are cut to their box, which is one pixel wider than both where the frame is."""
    if not truth.size:
        return 1.0
    boundaries = pair_boundaries(prediction, truth, radius)
    predicted_count, true_count = boundaries.count()
    if predicted_count == 0 or true_count == 0:
        # Precision 1 and recall 0, or the reverse, give 0; two masks without boundary agree.
        return 1.0 if predicted_count == true_count else 0.0
    predicted_matched, true_matched = boundaries.count_matched()
    precision, recall = predicted_matched / predicted_count, true_matched / true_count
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _check_shapes(prediction: Ids | Mask, truth: Ids | Mask, void: Mask | None) -> None:
    if prediction.shape != truth.shape or truth.ndim != 2:
        raise ValueError(f"Prediction and truth must both be H×W; they are {prediction.shape} and {truth.shape}.")
    if void is not None and void.shape != truth.shape:
        raise ValueError(f"Void pixels must be given as {truth.shape}, like the masks; they are {void.shape}.")


def _without_void(prediction: Mask, truth: Mask, void: Mask | None) -> tuple[Mask, Mask]:
    """Check shapes, and empty the void pixels of both masks."""
    _check_shapes(prediction, truth, void)
    prediction, truth = prediction.astype(np.bool_, copy=False), truth.astype(np.bool_, copy=False)
    return (prediction, truth) if void is None else (prediction & ~void, truth & ~void)
