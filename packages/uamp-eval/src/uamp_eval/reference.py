"""J and F spelled out as the DAVIS evaluation defines them: whole frames, one object at a time, no short cuts.

`uamp_eval.metrics` computes the same numbers far faster; this module is what it is tested and timed against.
Shapes: H×W pixels. Nothing here needs torch.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_eval.sequences import Ids

Mask = NDArray[np.bool_]
Scores = NDArray[np.float64]


def reference_score_frame(
    prediction: Ids, truth: Ids, object_ids: Sequence[int], void: Mask | None = None, bound: float = 0.008
) -> tuple[Scores, Scores]:
    """Measure J and F of several objects in one frame, one after the other.

    Args:
        prediction: H×W object ids.
        truth: H×W object ids.
        object_ids: Which objects.
        void: H×W bool; pixels that do not count.
        bound: As for `reference_f`.

    Returns:
        J and F, one value per object in the order of `object_ids`, each in [0, 1].
    """
    j, f = np.zeros(len(object_ids)), np.zeros(len(object_ids))
    for n, object_id in enumerate(object_ids):
        predicted, true = prediction == object_id, truth == object_id
        j[n] = reference_jaccard(predicted, true, void)
        f[n] = reference_f(predicted, true, void, bound)
    return j, f


def reference_jaccard(prediction: Mask, truth: Mask, void: Mask | None = None) -> float:
    """Intersection over union of two H×W masks without their void pixels; 1 where there is no union."""
    counted = np.ones_like(truth) if void is None else ~void
    intersection, union = np.sum(prediction & truth & counted), np.sum((prediction | truth) & counted)
    return 1.0 if union == 0 else float(intersection / union)


def reference_f(prediction: Mask, truth: Mask, void: Mask | None = None, bound: float = 0.008) -> float:
    """Harmonic mean of boundary precision and recall of two H×W masks.

    Args:
        prediction: H×W bool.
        truth: H×W bool.
        void: H×W bool; pixels taken out of both masks before their boundaries are drawn.
        bound: Radius of the matching disk: a share of the frame's diagonal, rounded up to whole pixels, or, from 1 on,
            whole pixels.

    Returns:
        F in [0, 1].
    """
    radius = int(bound) if bound >= 1 else int(np.ceil(bound * np.linalg.norm(truth.shape)))
    counted = np.ones_like(truth) if void is None else ~void
    predicted_edges = reference_boundary(prediction & counted)
    true_edges = reference_boundary(truth & counted)
    disk = _disk(radius)
    around_predicted = cv2.dilate(predicted_edges.astype(np.uint8), disk).astype(np.bool_)
    around_true = cv2.dilate(true_edges.astype(np.uint8), disk).astype(np.bool_)

    predicted_count, true_count = np.sum(predicted_edges), np.sum(true_edges)
    # What is not there is found without mistake, and nothing of it is missed.
    precision = 1.0 if predicted_count == 0 else float(np.sum(predicted_edges & around_true) / predicted_count)
    recall = 1.0 if true_count == 0 else float(np.sum(true_edges & around_predicted) / true_count)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def reference_boundary(mask: Mask) -> Mask:
    """Mark the pixels of an H×W mask that differ from the pixel to the right, below, or to the lower right.

    The last row has nothing below and compares to the right alone, the last column downwards alone; the last corner
    has nothing to compare with and is never marked.
    """
    right, below, lower_right = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1] = mask[:, 1:]
    below[:-1, :] = mask[1:, :]
    lower_right[:-1, :-1] = mask[1:, 1:]
    edges: Mask = (mask ^ right) | (mask ^ below) | (mask ^ lower_right)
    edges[-1, :] = mask[-1, :] ^ right[-1, :]
    edges[:, -1] = mask[:, -1] ^ below[:, -1]
    edges[-1, -1] = False
    return edges


def _disk(radius: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk: NDArray[np.uint8] = (y**2 + x**2 <= radius**2).astype(np.uint8)
    return disk
