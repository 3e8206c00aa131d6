"""The loop on a tiny source: pinned, repeatable, and resumable bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from uamp_model.errors import CheckpointError
from uamp_train.batches import ClipSource
from uamp_train.checkpoint import load_state
from uamp_train.config import TrainConfig
from uamp_train.errors import ConfigError
from uamp_train.loop import train

CURRICULUM = [
    {"steps": 6, "image_size": 64, "num_frames": 2, "batch_size": 1},
    {"steps": 4, "image_size": 96, "num_frames": 2, "batch_size": 1},
]


def test_a_resumed_run_equals_one_that_never_stopped(
    tmp_path: Path, tiny: Callable[..., TrainConfig], blobs: ClipSource
) -> None:
    """Also across a change of stage, with another number of workers."""
    straight = load_state(train(tiny(experiment_name="a", stages=CURRICULUM), blobs))
    train(tiny(experiment_name="b", stages=CURRICULUM, max_steps=5), blobs)
    resumed = load_state(train(tiny(experiment_name="b", stages=CURRICULUM, num_workers=3), blobs, resume=True))
    assert resumed.step == straight.step == 10
    for group in ("model", "ema", "optimizer"):
        one, other = getattr(straight, group), getattr(resumed, group)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one), group
    steps = (tmp_path / "b/metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in steps[1:]] == [str(i) for i in range(1, 11)]
