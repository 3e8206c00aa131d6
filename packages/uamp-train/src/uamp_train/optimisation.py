"""How weights move: what is decayed, the learning rate at each step, the running average of the weights."""

import math

import torch
from torch import Tensor, nn

from uamp_train.config import TrainConfig

BETAS = (0.9, 0.999)
FINAL_LR_SHARE = 0.01
"""The cosine ends at this share of the peak, so that the last steps still count."""
DECAYED = (nn.Linear, nn.modules.conv._ConvNd)


def make_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW that decays the weights of linear and convolution layers: no norms, biases, embeddings or tokens."""
    decayed = {id(part.weight) for part in module.modules() if isinstance(part, DECAYED)}
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in decayed], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if id(p) not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=BETAS, fused=True)


def learning_rate(config: TrainConfig, step: int, total: int, steps_per_epoch: int) -> float:
    """The rate of step `step` (from 0) of `total`: linear warm-up, then what `lr_scheduler` says.

    "stable" holds the rate and lets it fall along a cosine over the last `decay_share` of the steps only, so that a run
    can be made longer without knowing its end from the start (warmup-stable-decay, Hu et al., 2024).
    """
    warmup = config.warmup_steps or round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    if config.lr_scheduler == "constant":
        return config.lr
    begin = warmup if config.lr_scheduler == "cosine" else max(warmup, round(total * (1 - config.decay_share)))
    done = min(1.0, max(0, step - begin) / max(1, total - begin))
    return config.lr * (FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def update_average(average: dict[str, Tensor], weights: dict[str, Tensor], decay: float, step: int) -> None:
    """Move the running average towards the weights, in place; faster at first, when it still holds random weights."""
    decay = min(decay, (1 + step) / (10 + step))
    names = [name for name, value in average.items() if value.is_floating_point()]
    torch._foreach_lerp_([average[n] for n in names], [weights[n].detach() for n in names], 1 - decay)
