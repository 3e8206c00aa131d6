import pytest
import torch
from torch import nn
from uamp_model.sam2 import build_model
from uamp_train.config import TrainConfig
from uamp_train.optimisation import learning_rate, make_optimizer, update_average


def test_only_matrices_and_kernels_are_decayed() -> None:
    model = build_model("nano")
    decayed, free = make_optimizer(model, TrainConfig(weight_decay=0.1)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") and p.ndim >= 2 for p in decayed["params"])
    for name in (
        "maskmem_tpos_enc",
        "no_mem_embed",
        "image_encoder.trunk.pos_embed",
        "sam_mask_decoder.iou_token.weight",
    ):
        assert any(names[id(p)] == name for p in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def test_the_rate_warms_up_peaks_and_falls() -> None:
    config = TrainConfig(lr=1.0, warmup_steps=10)
    rates = [learning_rate(config, step, 100, 1) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == max(rates) == 1
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.505)
    assert rates[100] == pytest.approx(0.01)
    assert learning_rate(TrainConfig(lr=1.0, lr_scheduler="constant"), 99, 100, 1) == 1
    assert learning_rate(TrainConfig(lr=1.0, warmup_epochs=2), 5, 100, steps_per_epoch=5) == pytest.approx(6 / 11)


def test_a_stable_rate_stays_until_the_last_quarter() -> None:
    config = TrainConfig(lr=1.0, warmup_steps=10, lr_scheduler="stable", decay_share=0.25)
    rates = [learning_rate(config, step, 200, 1) for step in range(201)]
    assert rates[10:151] == [1] * 141
    assert rates[150:] == sorted(rates[150:], reverse=True)
    assert rates[175] == pytest.approx(0.505)
    assert rates[200] == pytest.approx(0.01)


def test_the_average_starts_fast_and_slows_down() -> None:
    layer = nn.Linear(2, 2)
    weights = layer.state_dict()
    average = {name: torch.zeros_like(value) for name, value in weights.items()}
    update_average(average, weights, 0.999, step=0)
    assert torch.allclose(average["weight"], 0.9 * weights["weight"])
    average = {name: torch.zeros_like(value) for name, value in weights.items()}
    update_average(average, weights, 0.999, step=10**6)
    assert torch.allclose(average["weight"], 0.001 * weights["weight"])
