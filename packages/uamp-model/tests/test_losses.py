"""Each term against its formula, written out plainly with NumPy."""

import numpy as np
import pytest
import torch
from uamp_model.losses import LossWeights, cell_shares, dice, frame_loss, mask_iou, sigmoid_focal


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_focal_is_the_published_formula_on_hard_targets(rng: np.random.Generator) -> None:
    logits, target = rng.normal(0, 2, (5, 7)), rng.integers(0, 2, (5, 7))
    p = np.where(target == 1, sigmoid(logits), 1 - sigmoid(logits))
    alpha = np.where(target == 1, 0.25, 0.75)
    plain = (-alpha * (1 - p) ** 2 * np.log(p)).mean()
    assert float(sigmoid_focal(torch.tensor(logits), torch.tensor(target).double())) == pytest.approx(plain)


def test_dice_is_one_less_twice_the_overlap_over_the_sum(rng: np.random.Generator) -> None:
    logits, target = rng.normal(0, 2, (5, 7)), rng.random((5, 7))
    p = sigmoid(logits)
    plain = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
    assert float(dice(torch.tensor(logits), torch.tensor(target))) == pytest.approx(plain)


def test_iou_counts_cells_and_calls_two_empty_masks_equal() -> None:
    logits = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    assert float(mask_iou(logits, torch.tensor([[1.0, 0.0, 1.0, 0.0]]))) == pytest.approx(1 / 3)
    assert float(mask_iou(logits, torch.tensor([[0.5, 0.0, 0.0, 0.0]]))) == pytest.approx(0.5 / 2)
    assert float(mask_iou(-torch.ones(1, 4), torch.zeros(1, 4))) == 1


def test_void_cells_change_nothing(rng: np.random.Generator) -> None:
    logits, target = torch.tensor(rng.normal(0, 2, (4, 4))), torch.tensor(rng.random((4, 4)))
    valid = torch.tensor(rng.integers(0, 2, (4, 4))).double()
    other_logits, other_target = torch.where(valid > 0, logits, -logits), torch.where(valid > 0, target, 1 - target)
    for term in (sigmoid_focal, dice, mask_iou):
        assert torch.allclose(term(logits, target, valid), term(other_logits, other_target, valid))


def test_cell_shares_are_areas() -> None:
    masks = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    masks[1, 2, :4, :2] = 1
    shares = cell_shares(masks)
    assert shares.shape == (2, 3, 2, 2)
    assert shares[1, 2].tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert float(shares.sum()) == 0.5


def test_only_the_best_hypothesis_learns_its_mask_but_all_learn_their_iou() -> None:
    targets = torch.zeros(1, 4, 4)
    targets[:, :2] = 1
    good = (targets * 2 - 1) * 5
    hypotheses = torch.stack([-good, good, good * 0.1], dim=1).requires_grad_()
    ious = torch.tensor([[0.3, 0.9, 0.5]], requires_grad=True)
    loss = frame_loss(hypotheses, ious, torch.zeros(1, 1), targets, torch.tensor([True]), LossWeights())
    assert float(loss.iou.detach()) == pytest.approx((0.3 + 0.1 + 0.5) / 3)
    assert float(loss.presence.detach()) == pytest.approx(np.log(2))
    loss.total(LossWeights()).sum().backward()
    assert hypotheses.grad is not None
    assert ious.grad is not None
    assert (hypotheses.grad[0].abs().sum((1, 2)) > 0).tolist() == [False, True, False]
    assert (ious.grad != 0).all()


def test_an_absent_object_teaches_nothing_but_its_absence() -> None:
    hypotheses = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    logits = torch.tensor([[2.0], [2.0]])
    targets = torch.zeros(2, 4, 4)
    targets[0, 0] = 1
    loss = frame_loss(hypotheses, torch.rand(2, 3), logits, targets, torch.tensor([True, False]), LossWeights())
    assert loss.focal[1] == loss.dice[1] == loss.iou[1] == 0
    assert min(loss.focal[0], loss.dice[0], loss.iou[0]) > 0
    assert loss.presence.tolist() == pytest.approx([-np.log(sigmoid(np.array(2.0))), -np.log(sigmoid(np.array(-2.0)))])
