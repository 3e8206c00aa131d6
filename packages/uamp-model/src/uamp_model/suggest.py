"""Objects that stand out on a frame, for users who name none.

As SAM's automatic mask generator does: a grid of single points, the masks they give, a filter on predicted IoU and on
stability (does the mask keep its area when the threshold moves?), and removal of overlaps. What is left is ranked by
prominence: sure, stable, of middling size, not cut off by the picture's border, near its centre.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.core import PromptBatch, track_frame
from uamp_model.devices import inference
from uamp_model.forms import FAST
from uamp_model.preprocess import check_frame
from uamp_model.types import Prompt, Suggestion

if TYPE_CHECKING:
    from uamp_model.tracker import VideoTracker

GRID = 12
BATCH = 48
MIN_AREA, MAX_AREA = 0.002, 0.6
"""Share of the picture below and above which a mask is not taken for an object."""
MIN_STABILITY = 0.6
STABILITY_OFFSET = 1.0
"""The logit by which the threshold is moved up and down to judge stability, as in SAM."""
SAME_OBJECT_IOU = 0.5


def suggest_prompts(tracker: "VideoTracker", frame: npt.NDArray[np.uint8], *, max_objects: int = 1) -> list[Suggestion]:
    """Find up to `max_objects` objects on an H×W×3 uint8 RGB frame, the most prominent first; perhaps none."""
    frame = check_frame(frame)
    logits, ious = _masks_of_grid(tracker, frame)
    score = ious * _stability(logits) * _prominence(logits > 0)
    order = score.argsort(descending=True)
    chosen = _distinct(logits > 0, order[score[order] > 0], max_objects)
    return [_suggestion(logits[i], float(score[i]), frame.shape[0], frame.shape[1]) for i in chosen]


def _masks_of_grid(tracker: "VideoTracker", frame: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mask logits M×4h×4w and predicted IoU M of all hypotheses of all grid points."""
    size = tracker.image_size
    ticks = (torch.arange(GRID) + 0.5) / GRID * size
    xy = torch.cartesian_prod(ticks, ticks).unsqueeze(1).to(tracker.device)
    features = tracker.encode(frame)
    forms = None if tracker.exact else FAST  # so many objects at once never come again
    logits, ious = [], []
    with inference(tracker.device, tracker.dtype, plainly=tracker.exact):
        for points in xy.split(BATCH):
            labels = torch.ones(points.shape[:2], dtype=torch.int32, device=points.device)
            present = torch.ones(len(points), dtype=torch.bool, device=points.device)
            prompt = PromptBatch(points=points, labels=labels)
            seen = features.expand(len(points))
            output = track_frame(tracker.model, seen, None, prompt, present=present, fast=forms)
            logits.append(output.hypotheses.flatten(0, 1).float())
            ious.append(output.ious.flatten().float())
    return torch.cat(logits), torch.cat(ious)


def _stability(logits: Tensor) -> Tensor:
    """IoU of the masks at a higher and a lower threshold, M values in [0, 1]; 0 below `MIN_STABILITY`."""
    high = (logits > STABILITY_OFFSET).flatten(1).sum(dim=1)
    low = (logits > -STABILITY_OFFSET).flatten(1).sum(dim=1)
    stability = high / low.clamp(min=1)
    return stability * (stability >= MIN_STABILITY)


def _prominence(masks: Tensor) -> Tensor:
    """M values in [0, 1] for M×4h×4w masks: high for objects of middling size near the picture's centre."""
    height, width = masks.shape[-2:]
    area = masks.flatten(1).float().mean(dim=1)
    y = torch.linspace(-1, 1, height, device=masks.device).view(1, -1, 1)
    x = torch.linspace(-1, 1, width, device=masks.device).view(1, 1, -1)
    count = masks.flatten(1).sum(dim=1).clamp(min=1)
    centre_y = (masks * y).flatten(1).sum(dim=1) / count
    centre_x = (masks * x).flatten(1).sum(dim=1) / count
    central = torch.exp(-(centre_x**2 + centre_y**2))
    rim = torch.cat([masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]], dim=1).float().mean(dim=1)
    sized = (area / 0.05).clamp(max=1).sqrt() * (area > MIN_AREA) * (area < MAX_AREA)
    return central * sized * (1 - rim)


def _distinct(masks: Tensor, order: Tensor, limit: int) -> list[int]:
    """The first masks in order that do not overlap an earlier one."""
    chosen: list[int] = []
    for i in order.tolist():
        if len(chosen) >= limit:
            break
        overlaps = [
            float((masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum().clamp(min=1)) > SAME_OBJECT_IOU
            for j in chosen
        ]
        if not any(overlaps):
            chosen.append(i)
    return chosen


def _suggestion(logits: Tensor, score: float, height: int, width: int) -> Suggestion:
    full = F.interpolate(logits[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
    mask = (full > 0).cpu().numpy()
    if not mask.any():  # a frame smaller than the mask grid can lose a thin mask: keep its strongest pixel
        mask = (full == full.max()).cpu().numpy()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return Suggestion(Prompt.mask(mask), box, mask, min(max(score, 0.0), 1.0))
