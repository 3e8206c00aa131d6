"""What a tracked frame says about doubt: which pixels count, which are wrong, and how doubtful each is."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_eval.boxes import Box, box_of
from uamp_eval.calibration import EDGE, ENTROPY, FRAME, ONE_MINUS_SCORE, UNCERTAINTY, Calibration
from uamp_eval.scoring import ScoringPlan, ScoringRule, plan_scoring
from uamp_eval.sequences import Ids, VideoSequence

if TYPE_CHECKING:
    from uamp_model import FrameResult

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

EDGE_REACH = 16
"""Pixels within which an edge's surroundings count."""

FRAME_STEP = 4
"""Of the whole frame every fourth pixel of every fourth row counts: logits come from a grid at least as coarse."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class DoubtCollector:
    """Compares one video's masks with the truth while they are made.

    Attributes:
        calibrations: by memory setting, what was counted.
    """

    def __init__(self, sequence: VideoSequence, rule: ScoringRule, memories: Sequence[str]) -> None:
        """Prepare for a video whose objects and frames count by `rule`.

        Raises:
            InputError: by that rule nothing of it counts.
        """
        self._sequence = sequence
        self._rule = rule
        self._plan = plan_scoring(sequence, rule)
        self._frames = frozenset(self._plan.frames)
        self._truth = _Truth(self._plan)
        self.calibrations = {memory: Calibration(truth=self._truth.digest()) for memory in memories}

    def add(self, frame: int, results: "Mapping[str, FrameResult]") -> None:
        """Count a frame's pixels if the frame counts; `results` by memory setting."""
        if frame not in self._frames:
            return
        truth = self._sequence.annotation(frame)
        self._truth.add(frame, truth)
        void = self._rule.void(truth)
        for memory, calibration in self.calibrations.items():
            calibration.truth = self._truth.digest()
            add_frame(calibration, results[memory], truth, self._plan.active(frame), void)


class _Truth:
    """A digest of the objects, frames and annotations that count."""

    def __init__(self, plan: ScoringPlan) -> None:
        counts = [sorted(plan.objects.items()), plan.frames]
        self._hash = hashlib.sha256(json.dumps(counts).encode())

    def add(self, frame: int, truth: Ids) -> None:
        self._hash.update(f"{frame} {truth.shape}".encode())
        self._hash.update(truth.tobytes())

    def digest(self) -> str:
        return self._hash.hexdigest()[:16]


def truth_digest(sequence: VideoSequence, rule: ScoringRule) -> str:
    """Tell what a video's masks are compared with from any other truth; reads the annotations that count by `rule`.

    Raises:
        InputError: by that rule nothing of it counts. What reading the annotations raises is passed on.
    """
    plan = plan_scoring(sequence, rule)
    truth = _Truth(plan)
    for frame in plan.frames:
        truth.add(frame, sequence.annotation(frame))
    return truth.digest()


def add_frame(
    calibration: Calibration,
    result: "FrameResult",
    truth: Ids,
    object_ids: Sequence[int],
    void: Mask | None = None,
) -> None:
    """Count the pixels of one frame.

    A pixel is wrong where an object's own mask, before objects are merged, differs from the truth.

    Args:
        calibration: where to.
        result: what the tracker says.
        truth: H×W object ids.
        object_ids: the objects that count on this frame; those that are not tracked are left out.
        void: H×W, the pixels that do not count.
    """
    rows = {number: row for row, number in enumerate(result.object_ids)}
    known = [number for number in object_ids if number in rows]
    if not known:
        return
    logits: Floats = result.logits.cpu().numpy()
    uncertainty: Floats = result.uncertainty.cpu().numpy()
    scores = result.scores.tolist()
    everywhere = (slice(FRAME_STEP // 2, None, FRAME_STEP),) * 2
    for number in known:
        row = rows[number]
        own, mask = truth == number, logits[row] > 0
        doubts = logits[row], uncertainty[row], 1 - scores[row]
        box, near = edge_region(mask, own)
        for region, place, counted in ((EDGE, box, near), (FRAME, everywhere, None)):
            if void is not None:
                counted = ~void[place] if counted is None else counted & ~void[place]
            wrong = mask[place] != own[place]
            _count(calibration, region, doubts, place, wrong, counted)


def edge_region(mask: Mask, truth: Mask) -> tuple[Box, Mask]:
    """Find the pixels within `EDGE_REACH` of an edge of either H×W mask.

    An edge are the pixels that have a neighbour, beside, above or below, on the other side; the frame's border is none.

    Returns:
        A box, and for each pixel in it whether it is in the region; outside of the box none is.
    """
    boxes = [box for box in (box_of(mask), box_of(truth)) if box[0].stop]
    if not boxes:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.bool_)
    box = tuple(
        slice(
            max(min(one[axis].start for one in boxes) - EDGE_REACH, 0),
            min(max(one[axis].stop for one in boxes) + EDGE_REACH, mask.shape[axis]),
        )
        for axis in (0, 1)
    )
    inside = box[0], box[1]
    gradients = [cv2.morphologyEx(one[inside].view(np.uint8), cv2.MORPH_GRADIENT, _CROSS) for one in (mask, truth)]
    edges = cv2.bitwise_or(*gradients)
    if not edges.any():
        return inside, np.zeros(edges.shape, np.bool_)
    distance = cv2.distanceTransform(1 - edges, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return inside, distance <= EDGE_REACH


def mask_entropy(logits: Floats) -> Floats:
    """Entropy in bits, in [0, 1], of the foreground probability that logits stand for."""
    size = np.abs(logits)
    small = np.exp(-size)
    nats = np.log1p(small) + size * small / (1 + small)
    bits: Floats = nats / np.float32(np.log(2))
    return bits


def _count(
    calibration: Calibration,
    region: str,
    doubts: tuple[Floats, Floats, float],
    place: Box,
    wrong: Mask,
    counted: Mask | None,
) -> None:
    """Count an object's pixels in one region, of all sources; `doubts` are logits, uncertainty and 1 − score."""
    histograms = calibration.histograms[region]
    logits, uncertainty = doubts[0][place], doubts[1][place]
    if counted is not None:
        logits, uncertainty, wrong = logits[counted], uncertainty[counted], wrong[counted]
    histograms[UNCERTAINTY].add(uncertainty, wrong)
    histograms[ENTROPY].add(mask_entropy(logits), wrong)
    bad = int(np.count_nonzero(wrong))
    histograms[ONE_MINUS_SCORE].add_equal(doubts[2], wrong.size - bad, bad)
