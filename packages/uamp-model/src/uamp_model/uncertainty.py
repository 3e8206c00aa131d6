"""Where a mask is doubtful: the training-free prior. Shapes: see `types.py`.

The prior is the probability that a pixel of the mask is wrong. SAM 2's own probability for the chosen hypothesis is too
sure of itself to say so; the mean of all hypotheses, toned down by the predicted IoU and the presence, is not. Of the
forms compared on training sequences (docs/method.md) it tells wrong pixels best.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def consensus(hypotheses: Tensor, iou: Tensor) -> Tensor:
    """What the hypotheses say together.

    Args:
        hypotheses: N×K×H×W mask logits, before absence is taken into account.
        iou: N predicted IoU of the chosen one.

    Returns:
        N×1×H×W logits: the hypotheses' mean, times the predicted IoU.
    """
    return hypotheses.mean(dim=1, keepdim=True) * iou[:, None, None, None]


def prior_uncertainty(logits: Tensor, agreed: Tensor, presence: Tensor) -> Tensor:
    """Probability that each pixel of a mask is wrong: |[m > 0] − σ(o)·σ(c)|.

    Args:
        logits: …×H×W mask logits m.
        agreed: …×H×W `consensus` c.
        presence: logits o that the object is in view, broadcast to the maps.

    Returns:
        …×H×W in [0, 1].
    """
    foreground: Tensor = presence.sigmoid() * agreed.sigmoid()
    return ((logits > 0).to(foreground.dtype) - foreground).abs()


def mean_over_object(uncertainty: Tensor, logits: Tensor) -> Tensor:
    """Mean uncertainty (N×1×H×W) over the pixels of each mask (logits above 0); N, 1 where a mask is empty."""
    inside = (logits > 0).to(uncertainty.dtype).flatten(1)
    area = inside.sum(dim=1)
    total = (uncertainty.flatten(1) * inside).sum(dim=1)
    return torch.where(area > 0, total / area.clamp_min(1), torch.ones_like(area))


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """N×1×4h×4w to N×1×H×W, bilinearly, as masks are."""
    return F.interpolate(maps.float(), size, mode="bilinear", align_corners=False)
