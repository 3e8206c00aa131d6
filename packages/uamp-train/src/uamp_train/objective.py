"""The module that is trained: a network together with its loss, so that one forward pass gives what to minimise."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from uamp_model.core import FrameOutput, PromptBatch
from uamp_model.preprocess import normalize
from uamp_model.sam2 import Sam2
from uamp_model.unroll import unroll

from uamp_train.batches import Batch
from uamp_train.config import TrainConfig
from uamp_train.losses import FrameLoss, cell_shares, frame_loss, mask_iou


@dataclass(frozen=True, slots=True)
class Losses:
    """What a step is judged by.

    Attributes:
        total: scalar to minimise.
        parts: detached scalars by name, for the log; only those that apply to this batch.
    """

    total: Tensor
    parts: dict[str, Tensor]


class TrainingModule(nn.Module):
    """A network and the loss of a batch of clips."""

    def __init__(self, model: Sam2, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self._weights = config.loss
        self._true_presence = config.true_presence

    def forward(self, batch: Batch) -> Losses:
        """Follow the batch's objects from their prompts and compare with the truth on every predicted frame."""
        prompts = (
            PromptBatch(masks=batch.masks[:, :1].float())
            if batch.kind == "mask"
            else PromptBatch(points=batch.points, labels=batch.labels)
        )
        present = batch.present if self._true_presence else None
        outputs = unroll(self.model, normalize(batch.images), batch.clip_of_object, prompts, present=present)
        targets = cell_shares(batch.masks)
        valid = None if batch.valid is None else cell_shares(batch.valid)
        first = 1 if batch.kind == "mask" else 0  # a mask prompt is its own answer on frame 0
        per_frame = [
            frame_loss(
                outputs[t].hypotheses,
                outputs[t].ious,
                outputs[t].presence,
                targets[:, t],
                batch.present[:, t],
                self._weights,
                None if valid is None else valid[:, t],
            )
            for t in range(first, len(outputs))
        ]
        return self._sum_up(per_frame, outputs, targets, batch, first)

    def _sum_up(
        self, per_frame: list[FrameLoss], outputs: list[FrameOutput], targets: Tensor, batch: Batch, first: int
    ) -> Losses:
        present = batch.present[:, first:].float().transpose(0, 1)  # T×N
        seen = present.sum().clamp_min(1)
        total = torch.stack([loss.total(self._weights) for loss in per_frame]).mean()
        parts = {
            "loss": total,
            "focal": torch.stack([loss.focal for loss in per_frame]).sum() / seen,
            "dice": torch.stack([loss.dice for loss in per_frame]).sum() / seen,
            "iou_error": torch.stack([loss.iou for loss in per_frame]).sum() / seen,
            "presence": torch.stack([loss.presence for loss in per_frame]).mean(),
        }
        with torch.no_grad():
            reached = torch.stack(
                [mask_iou(outputs[t].logits.squeeze(1), targets[:, t]) for t in range(first, len(outputs))]
            )
            if batch.kind != "mask":
                parts[f"prompted_{batch.kind}"] = reached[0].mean()
            if len(outputs) > 1:
                followed = slice(1 - first, None)
                seen = present[followed].sum().clamp_min(1)
                parts[f"tracked_{batch.kind}"] = (reached[followed] * present[followed]).sum() / seen
        return Losses(total, {name: value.detach() for name, value in parts.items()})
