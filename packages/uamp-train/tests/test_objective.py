"""What a step is judged by."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from uamp_model.sam2 import build_model
from uamp_train.batches import ClipSource, first_batch
from uamp_train.config import TrainConfig
from uamp_train.objective import TrainingModule

MakeConfig = Callable[..., TrainConfig]


@pytest.mark.parametrize("kind", ["mask", "point"])
def test_what_is_told_leaves_out_pixels_that_nobody_knows(tiny: MakeConfig, blobs: ClipSource, kind: str) -> None:
    """A truth that is what the network says on the right and the opposite on the left, where nobody knows it."""
    shares = {"mask": float(kind == "mask"), "box": 0, "point": 1e-9, "points": 0}
    stage = {"steps": 1, "image_size": 64, "num_frames": 3, "batch_size": 2}
    config = tiny(prompt_shares=shares, true_presence=False, stages=[stage])
    torch.manual_seed(0)
    module = TrainingModule(build_model("nano", image_size=64), config).eval()
    batch = first_batch(blobs, config, config.stages[0])
    names = {"mask": ["tracked_mask"], "point": ["prompted_point", "tracked_point"]}[kind]
    with torch.no_grad():
        said = torch.cat([out.logits for out in module.follow(batch)], dim=1) > 0
        said = said.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        known = torch.ones_like(batch.masks)
        known[..., :32] = 0
        truth = torch.where(known == 1, said, ~said).to(torch.uint8)
        if kind == "mask":
            truth[:, 0] = batch.masks[:, 0]  # it is what the network is given
        batch = replace(batch, masks=truth, present=torch.ones_like(batch.present))
        told = [module(replace(batch, valid=valid)).parts for valid in (known, None)]
    assert [float(told[0][name]) for name in names] == pytest.approx([1.0] * len(names))
    assert all(told[1][name] < 0.9 for name in names)
