"""UAMP's parts: how a hypothesis is chosen, and what of a frame enters memory and is read from it.

Each part has its own strength in `MemorySettings` and does nothing at all at 0, which leaves SAM 2. Shapes: `types.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.devices import exact_device, to_device
from uamp_model.motion import (
    MotionState,
    box_iou,
    expected_boxes,
    mask_boxes,
    predict_motion,
    start_motion,
    to_corners,
    to_motion_boxes,
    update_motion,
)
from uamp_model.presets import MemorySettings
from uamp_model.sam2 import Decoded

SAMURAI_IOU_ABOVE = 0.5
"""Predicted IoU that a frame needs to be remembered, in SAMURAI."""
SMALLEST_CERTAINTY = 1e-4
"""Keeps the read bias finite where a cell is wholly doubtful."""


@dataclass(slots=True)
class ObjectMotion:
    """What the motion filter knows of one object.

    Attributes:
        filter: of one box on the stride-4 grid, or None before the first reliable mask.
        settled: reliable frames in a row.
    """

    filter: MotionState | None = None
    settled: int = 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """Where N objects should be on this frame, kept where float64 is computed; see `exact_device`.

    Attributes:
        filters: predicted filters of those objects that have one.
        rows: which of the N they are.
        corners: N×4 expected boxes (x0, y0, x1, y1) on the stride-4 grid; zeros without a filter.
        weight: N, α of each object.
    """

    filters: MotionState | None
    rows: tuple[int, ...]
    corners: Tensor
    weight: Tensor

    def agreement(self, masks: Tensor) -> Tensor:
        """N×K float32 IoU of the boxes around masks N×K×H×W with the expected ones; 1 for objects without a filter."""
        found, _ = mask_boxes(masks)
        iou = box_iou(found, self.corners.unsqueeze(1))
        known = torch.zeros(len(iou), 1, dtype=torch.bool, device=iou.device)
        known[list(self.rows)] = True
        return torch.where(known, iou, torch.ones_like(iou)).float().to(masks.device)


def expect(motions: Sequence[ObjectMotion], settings: MemorySettings, device: torch.device) -> Expectation:
    """Let a frame pass for the filters of N objects that are tracked on a device."""
    device = exact_device(device)
    rows = tuple(row for row, motion in enumerate(motions) if motion.filter is not None)
    corners = torch.zeros(len(motions), 4, dtype=torch.float64, device=device)
    weight = torch.zeros(len(motions), device=device)
    filters = [motion.filter for motion in motions if motion.filter is not None]
    if not filters:
        return Expectation(None, rows, corners, weight)
    predicted = predict_motion(MotionState.join(filters))
    boxes, innovation = expected_boxes(predicted)
    corners[list(rows)] = to_corners(boxes)
    settled = to_device([motions[row].settled >= settings.settled for row in rows], device)
    confidence = torch.ones(len(rows), device=device) if settings.choose_steadily else trust(boxes, innovation)
    weight[list(rows)] = settings.choose * confidence * settled
    return Expectation(predicted, rows, corners, weight)


def trust(boxes: Tensor, innovation: Tensor) -> Tensor:
    """How far a filter is to be believed: 1 minus how widely the centre may miss, as a share of the box's size.

    Args:
        boxes: N×4 expected (cx, cy, aspect, height).
        innovation: N×4×4 innovation covariance.

    Returns:
        N float32 in [0, 1].
    """
    spread = torch.det(innovation[:, :2, :2]).clamp_min(0) ** 0.25  # geometric mean of the two standard deviations
    size = (boxes[:, 2].abs() * boxes[:, 3] ** 2).clamp_min(1e-12).sqrt()
    return (1 - spread / size).clamp(0, 1).float()


def choose_hypothesis(decoded: Decoded, rows: slice, *, expectation: Expectation | None) -> Tensor:
    """N index of the hypothesis with the highest (1 − α)·predicted IoU + α·motion agreement.

    Args:
        decoded: of the objects `rows`.
        rows: which objects are decoded here.
        expectation: of all objects, or None without motion.
    """
    if expectation is None or expectation.filters is None:
        return decoded.ious.argmax(dim=1)
    agreement = expectation_rows(expectation, rows).agreement(decoded.hypotheses > 0).to(decoded.ious.dtype)
    weight = expectation.weight[rows].unsqueeze(1).to(decoded.ious)
    return ((1 - weight) * decoded.ious + weight * agreement).argmax(dim=1)


def expectation_rows(expectation: Expectation, rows: slice) -> Expectation:
    """The part of an expectation about some of the objects."""
    kept = range(*rows.indices(len(expectation.corners)))
    known = tuple(kept.index(row) for row in expectation.rows if row in kept)
    return Expectation(expectation.filters, known, expectation.corners[rows], expectation.weight[rows])


def learn_motion(
    motions: Sequence[ObjectMotion],
    expectation: Expectation | None,
    logits: Tensor,
    reliability: Sequence[float],
    settings: MemorySettings,
) -> list[ObjectMotion]:
    """Tell N filters what was found.

    Args:
        motions: before the frame.
        expectation: what `expect` made of them; None on a prompted frame, where filters start.
        logits: N×1×H×W mask logits.
        reliability: predicted IoU of each mask.
        settings: the threshold.
    """
    corners, found = mask_boxes(logits.squeeze(1) > 0)
    boxes = to_motion_boxes(corners)
    seen = [there and iou > settings.reliable for there, iou in zip(found.tolist(), reliability, strict=True)]
    place = {} if expectation is None else {row: i for i, row in enumerate(expectation.rows)}
    learned = []
    for row, motion in enumerate(motions):
        if not seen[row]:
            learned.append(ObjectMotion())  # lost: begin anew at the next reliable mask
        elif expectation is None or expectation.filters is None or row not in place:
            learned.append(ObjectMotion(start_motion(boxes[row : row + 1]), 1))
        else:
            predicted = expectation.filters.pick(slice(place[row], place[row] + 1))
            learned.append(ObjectMotion(update_motion(predicted, boxes[row : row + 1]), motion.settled + 1))
    return learned


def memory_quality(
    ious: Tensor, presence: Tensor, doubt: Tensor, agreement: Tensor, settings: MemorySettings
) -> Tensor:
    """How good a frame is to be remembered by.

    Args:
        ious: N predicted IoU of the chosen masks.
        presence: N logits.
        doubt: N mean uncertainty over the object.
        agreement: N IoU with the motion filter's box, 1 without a filter.
        settings: what quality is.

    Returns:
        N in [0, 1].
    """
    if settings.select_by == "thresholds":
        return ((ious > SAMURAI_IOU_ABOVE) & (presence > 0) & (agreement > 0)).float()
    return (ious.clamp(0, 1) * presence.sigmoid() * (1 - doubt) * agreement).float()


def acts(strength: float | Tensor) -> bool:
    """Whether a part does anything: its strength is being learned, or is not 0."""
    return (isinstance(strength, Tensor) and strength.requires_grad) or bool(strength != 0)


def temper(logits: Tensor, uncertainty: Tensor, strength: float | Tensor) -> Tensor:
    """(1 − λu)·m: doubtful pixels enter the memory encoder as undecided. N×1×H×W both."""
    return (1 - strength * uncertainty) * logits


def keep_past(features: Tensor, doubt: Tensor, past: Tensor, strength: float | Tensor) -> Tensor:
    """(1 − μu)·v + μu·v̄: doubtful cells keep what memory says already. Features N×D×h×w, doubt N×1×h×w."""
    share = (strength * doubt).to(features.dtype)
    return (1 - share) * features + share * past.to(features.dtype)


def read_bias(doubt: Tensor, strength: float | Tensor) -> Tensor:
    """β·log(1 − u), what is added to the attention logits of memory cells: 0 where u = 0, very small where u = 1."""
    return strength * (1 - doubt).clamp_min(SMALLEST_CERTAINTY).log()


def to_cells(maps: Tensor, cells: tuple[int, int]) -> Tensor:
    """Maps N×1×4h×4w averaged over stride-16 cells: N×1×h×w."""
    return F.adaptive_avg_pool2d(maps.float(), cells)
