"""What goes wrong in the middle of a run, for real, and what is said and kept."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from uamp_model.errors import CheckpointError, DeviceError
from uamp_train.batches import ClipSource
from uamp_train.checkpoint import LAST, load_state
from uamp_train.config import TrainConfig
from uamp_train.errors import ConfigError
from uamp_train.failures import explained_memory
from uamp_train.loop import train

MakeConfig = Callable[..., TrainConfig]
RoomFor = Callable[[int], AbstractContextManager[None]]


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(
    tiny: MakeConfig, blobs: ClipSource, caplog: pytest.LogCaptureFixture
) -> None:
    """The first step leaps to weights of 1e25, on which no later loss is finite."""
    stages = [{"steps": 40, "image_size": 32, "num_frames": 1, "batch_size": 1}]
    config = tiny(stages=stages, lr=1e25, warmup_steps=0, lr_scheduler="constant", save_interval=1)
    with pytest.raises(ConfigError, match=r"not finite in 20 steps in a row, the last being step 21 on clip \d"):
        train(config, blobs)
    assert "Step 2 is left out: its loss is not finite (on clip " in caplog.text
    assert load_state(config.run_dir / LAST).step == 1


def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint_of_before(
    tiny: MakeConfig, blobs: ClipSource, room_for: RoomFor
) -> None:
    stages = [{"steps": 2, "image_size": 32, "num_frames": 1, "batch_size": 1}]
    train(tiny(stages=stages, max_steps=1), blobs)
    config = tiny(stages=stages)
    with (
        room_for(20_000_000),
        pytest.raises(CheckpointError, match=r"step 2; the checkpoint of before is still there: .* --resume"),
    ):
        train(config, blobs, resume=True)
    assert load_state(config.run_dir / LAST).step == 1
    assert not list(config.run_dir.glob(".*"))
    train(config, blobs, resume=True)
    assert load_state(config.run_dir / LAST).step == 2


def test_a_log_that_cannot_be_written_is_one_sentence(tiny: MakeConfig, blobs: ClipSource, room_for: RoomFor) -> None:
    with room_for(10), pytest.raises(CheckpointError, match=r"cannot be written .* --resume"):
        train(tiny(), blobs)


TOO_LITTLE = """
import resource
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Blobs, tiny_config
from uamp_model.errors import DeviceError
from uamp_train.loop import train

stages = [{"steps": 2, "image_size": 512, "num_frames": 1, "batch_size": 8}]
config = tiny_config(Path(sys.argv[2]), stages=stages)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 700_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    train(config, Blobs())
except DeviceError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_too_little_memory_says_what_to_lower(tmp_path: Path) -> None:
    """In a process of its own: this one has kept the memory of earlier trainings."""
    command = [sys.executable, "-c", TOO_LITTLE, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert "step 1, with 8 clip(s) of 1 frames of 512×512: lower batch_size" in done.stdout, done.stderr


def test_other_errors_pass_as_they_are(tiny: MakeConfig) -> None:
    stage = tiny().stages[0]
    with pytest.raises(RuntimeError, match="shape"), explained_memory(stage, 0):
        torch.ones(2).view(3)
    with pytest.raises(DeviceError, match="lower"), explained_memory(stage, 0):
        raise torch.OutOfMemoryError
