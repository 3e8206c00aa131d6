"""Masks that have lost a part, as tracking loses them: an arm, the dark half of a dress, and nothing brings it back.

Layers that read such masks in memory, and the whole object on the frame that was given, can learn to find it again.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from uamp_model.core import PROMPT_LOGIT, FrameOutput

LARGEST_OFFSET = 1.0
"""Where the cut lies, at most, in standard deviations of the mask beside its middle; at 0 half of it is lost."""


def losing_parts(objects: int, share: float, device: torch.device) -> Callable[[FrameOutput], FrameOutput] | None:
    """What changes the outputs of N objects on the frames of a clip, by torch's random numbers; None for nothing.

    Args:
        objects: N.
        share: of them that lose a part, in [0, 1]: what lies on one side of a line, which goes with the mask.
        device: of the outputs.
    """
    if share == 0:
        return None
    loses = torch.rand(objects, device=device) < share
    angle, offset = (
        2 * math.pi * torch.rand(objects, device=device),
        LARGEST_OFFSET * torch.rand(objects, device=device),
    )

    def change(output: FrameOutput) -> FrameOutput:
        lost = beyond_line(output.logits > 0, angle, offset) & loses.view(-1, 1, 1, 1)
        return replace(output, logits=torch.where(lost, output.logits.clamp(max=-PROMPT_LOGIT), output.logits))

    return change


def beyond_line(masks: Tensor, angle: Tensor, offset: Tensor) -> Tensor:
    """N×1×H×W booleans: the pixels on the far side of a line through a mask.

    Args:
        masks: N×1×H×W booleans.
        angle: N directions of the far side, in radians.
        offset: N distances of the line from the mask's middle, in its standard deviations along that direction.
    """
    weight = masks.float()
    size = weight.sum((1, 2, 3), keepdim=True).clamp_min(1)
    y = torch.arange(masks.shape[-2], device=masks.device).view(1, 1, -1, 1)
    x = torch.arange(masks.shape[-1], device=masks.device).view(1, 1, 1, -1)
    angle = angle.view(-1, 1, 1, 1)
    along = x * angle.cos() + y * angle.sin()
    middle = (along * weight).sum((1, 2, 3), keepdim=True) / size
    spread = ((along - middle).square() * weight).sum((1, 2, 3), keepdim=True).div(size).sqrt()
    return along - middle > offset.view(-1, 1, 1, 1) * spread
