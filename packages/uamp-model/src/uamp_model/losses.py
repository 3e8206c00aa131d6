"""The loss terms as pure functions of logits and targets.

Shapes: N objects, K hypotheses, h×w cells of the mask decoder (stride 4 of the input).

Masks are compared at stride 4, where the decoder speaks, against the *share* of each cell that the object covers. A
soft target keeps the sub-cell position of the outline, since a logit of 0 then means a half-covered cell, exactly
where bilinear upsampling and a threshold at 0 put the border. It costs a sixteenth of a comparison at full size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
"""Of SAM 2's training recipe."""
SMALLEST_PROBABILITY = 1e-4
"""Keeps the cross-entropy of a map that is sure finite."""


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What the terms count for against each other, by default as in SAM 2's recipe."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0
    uncertainty: float = 1.0


@dataclass(frozen=True, slots=True)
class FrameLoss:
    """The terms of one frame, one entry per object; 0 where a term does not apply.

    Attributes:
        focal, dice: N, of the best hypothesis.
        iou: N, mean over the hypotheses.
        presence: N.
        uncertainty: N.
    """

    focal: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor
    uncertainty: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """Weighted sum per object, N."""
        return (
            weights.focal * self.focal
            + weights.dice * self.dice
            + weights.iou * self.iou
            + weights.presence * self.presence
            + weights.uncertainty * self.uncertainty
        )


def cell_shares(masks: Tensor, stride: int = 4) -> Tensor:
    """Share of each cell that a mask covers: …×H×W in {0, 1} → …×H/stride×W/stride in [0, 1]."""
    flat = masks.float().flatten(0, -3).unsqueeze(1)
    pooled = F.avg_pool2d(flat, stride).squeeze(1)
    return pooled.view(*masks.shape[:-2], *pooled.shape[-2:])


def sigmoid_focal(logits: Tensor, targets: Tensor, valid: Tensor | None = None) -> Tensor:
    """Focal loss, mean over the cells: …×h×w → ….

    Args:
        logits: mask logits.
        targets: in [0, 1].
        valid: weight of each cell in [0, 1] (0 where the truth is unknown), or None for 1 everywhere.

    Source: Lin et al., "Focal Loss for Dense Object Detection", with the soft targets entering linearly.
    """
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets.expand_as(logits), reduction="none")
    agreement = probability * targets + (1 - probability) * (1 - targets)
    balance = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    loss = balance * (1 - agreement) ** FOCAL_GAMMA * cross_entropy
    return loss.mean((-2, -1)) if valid is None else (loss * valid).mean((-2, -1))


def dice(logits: Tensor, targets: Tensor, valid: Tensor | None = None) -> Tensor:
    """Dice loss, 1 − (2·overlap + 1) / (sum of both + 1), in cells: …×h×w → …."""
    probability = logits.sigmoid()
    if valid is not None:
        probability, targets = probability * valid, targets * valid
    overlap = (probability * targets).sum((-2, -1))
    both = probability.sum((-2, -1)) + targets.sum((-2, -1))
    return 1 - (2 * overlap + 1) / (both + 1)


def mask_iou(logits: Tensor, targets: Tensor, valid: Tensor | None = None) -> Tensor:
    """IoU of the thresholded masks with the covered shares: …×h×w → …, in [0, 1]; 1 where both are empty."""
    predicted = (logits > 0).float()
    if valid is not None:
        predicted, targets = predicted * valid, targets * valid
    overlap = (predicted * targets).sum((-2, -1))
    union = predicted.sum((-2, -1)) + targets.sum((-2, -1)) - overlap
    return torch.where(union > 0, overlap / union.clamp_min(1e-6), torch.ones_like(union))


def frame_loss(
    hypotheses: Tensor,
    ious: Tensor,
    presence: Tensor,
    targets: Tensor,
    present: Tensor,
    weights: LossWeights,
    valid: Tensor | None = None,
    uncertainty: Tensor | None = None,
) -> FrameLoss:
    """The loss of one frame: mask terms on the hypothesis that fits best, IoU on all of them.

    Args:
        hypotheses: N×K×h×w mask logits.
        ious: N×K predicted IoU.
        presence: N×1 logits.
        targets: N×h×w covered shares.
        present: N booleans; without the object there is neither mask nor IoU to learn.
        weights: decide which hypothesis fits best.
        valid: N×h×w weights of the cells, or None.
        uncertainty: N loss of the uncertainty map, where it is learned.
    """
    targets = targets.unsqueeze(1)
    valid = None if valid is None else valid.unsqueeze(1)
    here = present.float()
    focal_all = sigmoid_focal(hypotheses, targets, valid)  # N×K
    dice_all = dice(hypotheses, targets, valid)
    fit = (weights.focal * focal_all + weights.dice * dice_all).detach()
    best = fit.argmin(dim=1, keepdim=True)
    with torch.no_grad():
        reached = mask_iou(hypotheses, targets, valid)
    return FrameLoss(
        focal=focal_all.gather(1, best).squeeze(1) * here,
        dice=dice_all.gather(1, best).squeeze(1) * here,
        iou=(ious - reached).abs().mean(dim=1) * here,
        presence=F.binary_cross_entropy_with_logits(presence.squeeze(1), here, reduction="none"),
        uncertainty=torch.zeros_like(here) if uncertainty is None else uncertainty,
    )


def uncertainty_target(kind: str, logits: Tensor, targets: Tensor, before: Tensor) -> Tensor:
    """What an uncertainty map is to say of each cell: …×h×w in [0, 1].

    Args:
        kind: "error": where the mask is wrong; "change": where the object is not what it was on the frame before, which
            is MatAnyone's target (Yang et al., 2025); "both": where either holds.
        logits: …×h×w mask logits.
        targets: …×h×w covered shares.
        before: …×h×w covered shares on the frame before.
    """
    wrong = ((logits > 0).float() - targets).abs()
    changed = (targets - before).abs()
    return {"error": wrong, "change": changed, "both": torch.maximum(wrong, changed)}[kind]


def uncertainty_loss(uncertainty: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of an uncertainty map, mean over the cells: …×h×w → …."""
    sure = uncertainty.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    loss = -(target * sure.log() + (1 - target) * (1 - sure).log())
    return loss.mean((-2, -1)) if valid is None else (loss * valid).mean((-2, -1))
