"""Masks that have lost a part: what is cut away, and that memory alone is told."""

import math

import pytest
import torch
from uamp_model.core import PROMPT_LOGIT, FrameOutput, PromptBatch
from uamp_model.sam2 import build_model
from uamp_model.unroll import unroll
from uamp_train.lost_parts import beyond_line, losing_parts

FRAMES, FREE = 4, 2


def discs() -> torch.Tensor:
    """3×1×32×48 booleans, a disc of radius 8 each."""
    y, x = torch.meshgrid(torch.arange(32), torch.arange(48), indexing="ij")
    return torch.stack([((x - cx) ** 2 + (y - 16) ** 2 <= 64) for cx in (10, 24, 38)]).unsqueeze(1)


def test_a_line_through_the_middle_halves_a_mask_wherever_it_is() -> None:
    masks = discs()
    far = beyond_line(masks, torch.tensor([0.0, math.pi / 2, 1.0]), torch.zeros(3)) & masks
    left = far.sum((1, 2, 3)) / masks.sum((1, 2, 3))
    assert ((left > 0.4) & (left < 0.6)).all()
    assert not far[0, 0, :, :10].any()
    assert not far[1, 0, :16].any()


def test_an_offset_loses_less() -> None:
    masks, angle = discs(), torch.full((3,), 0.3)
    lost = [(beyond_line(masks, angle, torch.full((3,), by)) & masks).sum().item() for by in (0.0, 0.5, 1.0)]
    assert lost[0] > lost[1] > lost[2] > 0.1 * masks.sum()


def test_an_empty_mask_stays_empty() -> None:
    empty = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    assert not (beyond_line(empty, torch.zeros(1), torch.zeros(1)) & empty).any()


def tracked(share: float | None) -> list[FrameOutput]:
    torch.manual_seed(1)
    model = build_model("nano", image_size=64)
    images, masks = torch.randn(2, FRAMES, 3, 64, 64), torch.zeros(3, 1, 64, 64)
    masks[:, :, 10:40, 20:50] = 1
    owner = torch.tensor([0, 1, 1])
    remembered = None if share is None else losing_parts(3, share, images.device)
    return unroll(model, images, owner, PromptBatch(masks=masks), free=FREE, remembered=remembered)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_memory_alone_is_told(share: float) -> None:
    """The first tracked frame reads the prompted one alone; what follows reads what has lost a part."""
    plain, lost = tracked(None), tracked(share)
    assert torch.equal(plain[1].logits, lost[1].logits)
    assert torch.equal(plain[2].logits, lost[2].logits) == (share == 0)


def test_what_is_lost_is_surely_not_there() -> None:
    torch.manual_seed(0)
    logits = torch.where(discs(), 4.0, -4.0)
    here = torch.ones(3, 1)
    output = FrameOutput(logits, here, here, torch.zeros(3, dtype=torch.long), logits, here, here, logits)
    change = losing_parts(3, 1.0, logits.device)
    assert change is not None
    left = change(output).logits
    assert set(left.unique().tolist()) == {-PROMPT_LOGIT, -4.0, 4.0}
    assert (left[logits < 0] < 0).all()
    assert torch.equal(change(output).logits, left)  # the same part on each frame
