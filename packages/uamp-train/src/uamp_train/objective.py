"""The module that is trained: networks together with their loss, so that one forward pass gives what to minimise."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from uamp_model.core import FrameOutput, Learned, PromptBatch
from uamp_model.layers import LayerSizes, UampLayers
from uamp_model.losses import (
    FrameLoss,
    LossWeights,
    cell_shares,
    frame_loss,
    mask_iou,
    uncertainty_loss,
    uncertainty_target,
)
from uamp_model.preprocess import normalize
from uamp_model.sam2 import ImageFeatures, Sam2
from uamp_model.unroll import unroll

from uamp_train.batches import Batch
from uamp_train.config import TrainConfig


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
    """Networks and the loss of a batch of clips.

    Attributes:
        model: SAM 2.
        layers: the UAMP layers where SAM 2 is frozen, else None.
    """

    def __init__(self, model: Sam2, config: TrainConfig, *, free_frames: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.layers = make_layers(model, config) if config.freeze_sam2_backbone else None
        self._weights = LossWeights(**config.loss.model_dump())
        self._options = config.layers
        self._true_presence = config.true_presence
        self._budget = config.memory_budget
        self._free = config.free_frames if free_frames is None else free_frames

    def forward(self, batch: Batch, features: ImageFeatures | None = None) -> Losses:
        """Follow the batch's objects from their prompts and compare with the truth on every predicted frame.

        Args:
            batch: the clips.
            features: of their B·T images, if they are known already.
        """
        outputs = self.follow(batch, features)
        targets = cell_shares(batch.masks)
        valid = None if batch.valid is None else cell_shares(batch.valid)
        first = 1 if batch.kind == "mask" else 0  # a mask prompt is its own answer on frame 0
        free = self._free_in(batch)
        first = max(first, free + 1) if free > 0 else first
        per_frame = [
            frame_loss(
                *self._judged(outputs[t]),
                outputs[t].presence,
                targets[:, t],
                batch.present[:, t],
                self._weights,
                _on_frame(valid, t),
                self._uncertainty_loss(outputs[t], targets, valid, t),
            )
            for t in range(first, len(outputs))
        ]
        return self._sum_up(per_frame, outputs, targets, valid, batch, first)

    def follow(self, batch: Batch, features: ImageFeatures | None = None) -> list[FrameOutput]:
        """What the networks say about the batch's N objects on its T frames; arguments as for `forward`."""
        prompts = (
            PromptBatch(masks=batch.masks[:, :1].float())
            if batch.kind == "mask"
            else PromptBatch(points=batch.points, labels=batch.labels)
        )
        present = batch.present if self._true_presence else None
        return unroll(
            self.model,
            normalize(batch.images),
            batch.clip_of_object,
            prompts,
            present=present,
            learned=self._learned(),
            weights=self._weights_with_corrections(),
            features=features,
            free=self._free_in(batch),
            budget=self._budget,
        )

    def _weights_with_corrections(self) -> dict[str, Tensor]:
        """The weights that the adapter corrects, if there is one."""
        if self.layers is None or not self._options.adapter:
            return {}
        return self.layers.adapter.weights(self.model)

    def _free_in(self, batch: Batch) -> int:
        """The last frame of the batch's clips that is only tracked, 0 for none: something is left to learn from."""
        return max(0, min(self._free, batch.images.shape[1] - 2))

    def _judged(self, output: FrameOutput) -> tuple[Tensor, Tensor]:
        """Hypotheses N×K×4h×4w and their predicted IoU N×K that the loss looks at.

        A model learns from the best of them, so that they come to differ, as SAM 2 does; layers on a frozen model from
        the one that is chosen, since that is the mask people get and memory keeps.
        """
        if self.layers is None:
            return output.hypotheses, output.ious
        return output.chosen, output.chosen_iou

    def _learned(self) -> Learned | None:
        options = self._options
        if self.layers is None:
            return None
        return Learned(
            self.layers,
            doubt=float(options.head),
            refine=float(options.refiner),
            second_look=float(options.second_look),
            second_look_above=options.second_look_above,
        )

    def _uncertainty_loss(self, output: FrameOutput, targets: Tensor, valid: Tensor | None, t: int) -> Tensor | None:
        if output.correction is None or t == 0:
            return None
        target = uncertainty_target(
            self._options.uncertainty_target, output.logits.squeeze(1), targets[:, t], targets[:, t - 1]
        ).detach()
        return uncertainty_loss(output.uncertainty.squeeze(1), target, _on_frame(valid, t))

    def _sum_up(
        self,
        per_frame: list[FrameLoss],
        outputs: list[FrameOutput],
        targets: Tensor,
        valid: Tensor | None,
        batch: Batch,
        first: int,
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
        if outputs[-1].correction is not None:
            parts["uncertainty"] = torch.stack([loss.uncertainty for loss in per_frame]).mean()
        with torch.no_grad():
            reached = torch.stack(
                [
                    mask_iou(outputs[t].logits.squeeze(1), targets[:, t], _on_frame(valid, t))
                    for t in range(first, len(outputs))
                ]
            )
            if first == 0:
                parts[f"prompted_{batch.kind}"] = reached[0].mean()
            if len(outputs) > 1:
                followed = slice(1 if first == 0 else 0, None)
                seen = present[followed].sum().clamp_min(1)
                parts[f"tracked_{batch.kind}"] = (reached[followed] * present[followed]).sum() / seen
        return Losses(total, {name: value.detach() for name, value in parts.items()})


def _on_frame(valid: Tensor | None, t: int) -> Tensor | None:
    """What is known of frame t, N×h×w; None where all is."""
    return None if valid is None else valid[:, t]


def make_layers(model: Sam2, config: TrainConfig) -> UampLayers:
    """Untrained layers that fit a base model; those that the configuration leaves out stay untrained."""
    options = config.layers
    sizes = LayerSizes.of(
        model,
        hidden=options.hidden,
        doubt_input=options.doubt_input,
        rank=options.adapter_rank,
        encoder=options.adapter_encoder,
    )
    layers = UampLayers(model, sizes)
    layers.refiner.drop_path = layers.second_look.drop_path = options.drop_path
    for name in ("adapter", "head", "refiner", "second_look"):
        layers.get_submodule(name).requires_grad_(getattr(options, name))
    for strength in (layers.write, layers.keep, layers.read):
        strength.requires_grad_(options.head)
    return layers
