"""Where a mask is doubtful: the training-free prior. Shapes: see `types.py`.

The prior takes doubt from two sources that are independent of each other: how undecided a pixel is, and how far the
decoder's hypotheses disagree about it. A pixel is certain only if neither doubts it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def binary_entropy(logits: Tensor) -> Tensor:
    """Entropy in bits, in [0, 1], of the foreground probability that logits stand for."""
    probability = logits.sigmoid()
    nats = F.softplus(logits) - logits * probability
    return (nats / math.log(2)).clamp(0, 1)


def disagreement(hypotheses: Tensor, ious: Tensor) -> Tensor:
    """How far the hypotheses differ.

    Args:
        hypotheses: N×K×H×W mask logits.
        ious: N×K predicted IoU, the weights.

    Returns:
        N×1×H×W in [0, 1]: four times the weighted variance of the foreground probability, which is 1 where two equally
        good hypotheses say the opposite; 0 for a single hypothesis.
    """
    if hypotheses.shape[1] == 1:
        return torch.zeros_like(hypotheses)
    weights = ious.clamp_min(1e-6)
    weights = (weights / weights.sum(dim=1, keepdim=True))[..., None, None]
    probabilities = hypotheses.sigmoid()
    mean = (weights * probabilities).sum(dim=1, keepdim=True)
    variance = (weights * (probabilities - mean).square()).sum(dim=1, keepdim=True)
    return (4 * variance).clamp(0, 1)


def prior_uncertainty(logits: Tensor, spread: Tensor) -> Tensor:
    """1 − (1 − E)(1 − D) of the entropy E of mask logits and the hypotheses' disagreement D; same shape, in [0, 1]."""
    return 1 - (1 - binary_entropy(logits)) * (1 - spread)


def mean_over_object(uncertainty: Tensor, logits: Tensor) -> Tensor:
    """Mean uncertainty (N×1×H×W) over the pixels of each mask (logits above 0); N, 1 where a mask is empty."""
    inside = (logits > 0).to(uncertainty.dtype).flatten(1)
    area = inside.sum(dim=1)
    total = (uncertainty.flatten(1) * inside).sum(dim=1)
    return torch.where(area > 0, total / area.clamp_min(1), torch.ones_like(area))
