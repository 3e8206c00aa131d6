"""Two processes with a clip each do what one with two clips does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from uamp_train.batches import ClipSource
from uamp_train.config import TrainConfig
from uamp_train.loop import train

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
    train(one, blobs)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, "-m", *launcher, str(script), str(Path(__file__).parent), two.model_dump_json()]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert losses(two) == [pytest.approx(row, rel=1e-3) for row in losses(one)]
