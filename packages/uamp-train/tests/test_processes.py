"""Two processes with a clip each do what one with two clips does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from uamp_train.batches import ClipSource, Place, make_batch
from uamp_train.checkpoint import LAST, load_state
from uamp_train.config import TrainConfig
from uamp_train.learner import Learner
from uamp_train.loop import make_accelerator, stage_at, train
from uamp_train.resume import begin

MakeConfig = Callable[..., TrainConfig]

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import Blobs
from uamp_train.config import TrainConfig
from uamp_train.loop import train
train(TrainConfig.model_validate_json(sys.argv[2]), Blobs())
"""
# `--multi_gpu` is accelerate's word for several processes; its `--cpu` starts only one, whatever the number says.
ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
ACCELERATE += ["--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture
def alike(tiny: MakeConfig) -> MakeConfig:
    """Makes configurations in which all clips weigh the same and nothing is dropped by chance."""
    return lambda experiment_name, batch_size: tiny(
        experiment_name=experiment_name,
        max_objects=1,
        freeze_sam2_backbone=True,
        true_presence=False,
        still_share=0.0,
        layers={"drop_path": 0.0},
        stages=[{"steps": 3, "image_size": 32, "num_frames": 2, "batch_size": batch_size}],
    )


def losses(config: TrainConfig) -> list[list[float]]:
    rows = [row.split(",") for row in (config.run_dir / "metrics.csv").read_text().splitlines()]
    columns = [rows[0].index(name) for name in ("step", "lr", "grad_norm", "loss")]
    return [[float(row[column]) for column in columns] for row in rows[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [ACCELERATE, TORCHRUN], ids=["accelerate", "torchrun"])
def test_two_processes_lose_what_one_with_twice_the_batch_loses(
    alike: MakeConfig, blobs: ClipSource, tmp_path: Path, launcher: list[str]
) -> None:
    one, two = alike("one", 2), alike("two", 1)
    in_turns = alike("in_turns", 1).model_copy(update={"gradient_accumulation": 2})
    train(one, blobs)
    train(in_turns, blobs)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, "-m", *launcher, str(script), str(Path(__file__).parent), two.model_dump_json()]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert losses(two) == [pytest.approx(row, rel=1e-3) for row in losses(one)]
    stored, doubled, wanted = (load_state(config.run_dir / LAST).model for config in (two, one, in_turns))
    assert all(torch.allclose(stored[name], wanted[name], rtol=1e-3, atol=1e-4) for name in wanted)
    # in a doubled batch gradients round otherwise, and AdamW makes whole steps of single ones that are mere rounding;
    # these corrections begin at 0
    found, learned = (torch.cat([state[n].flatten() for n in wanted if ".up." in n]) for state in (stored, doubled))
    assert (found - learned).norm() < 0.03 * learned.norm()


def test_what_is_stored_is_what_learns_where_the_device_has_a_number(tiny: MakeConfig, blobs: ClipSource) -> None:
    """Among several processes the CPU is "cpu:0", and moving a network there gives its parameters other memory."""
    config = tiny()
    accelerator = make_accelerator(config)
    accelerator.state.device = torch.device("cpu", 0)
    frozen, state = begin(config, resume=False, processes=1)
    stage, _ = stage_at(config.curriculum(len(blobs)), 0)
    learner = Learner(config, stage, frozen, state, accelerator)
    learner.learn(make_batch(blobs, config, stage, Place(0)), Place(0), 1e-3)
    stored = learner.state(1)
    for name, parameter in learner.module.model.named_parameters():
        assert torch.equal(stored.model[name], parameter)
    assert any(not torch.equal(stored.model[name], state.model[name]) for name in state.model)
    assert any(not torch.equal(stored.ema[name], state.ema[name]) for name in state.ema)
