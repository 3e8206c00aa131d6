"""A real process, killed with SIGKILL in the middle of an epoch and of a save, that goes on as if it had not been."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from uamp_train.batches import ClipSource
from uamp_train.checkpoint import LAST, load_state
from uamp_train.config import TrainConfig
from uamp_train.loop import train

MakeConfig = Callable[..., TrainConfig]

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import Blobs
from uamp_train.config import TrainConfig
from uamp_train.loop import train
train(TrainConfig.model_validate_json(sys.argv[2]), Blobs(), resume=sys.argv[3] == "resume")
"""


def start(config: TrainConfig, how: str) -> subprocess.Popen[bytes]:
    arguments = [str(Path(__file__).parent), config.model_dump_json(), how]
    return subprocess.Popen([sys.executable, "-c", RUN, *arguments], stderr=subprocess.DEVNULL)


def wait_for(process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    while not happened():
        try:
            process.wait(0.001)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail("the run ended before it could be killed")


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def rows(config: TrainConfig) -> list[str]:
    path = config.run_dir / "metrics.csv"
    return path.read_text().splitlines()[1:] if path.is_file() else []


def losses(config: TrainConfig) -> list[str]:
    return [",".join(row.split(",")[:6]) for row in rows(config)]


def stopped_while_saving(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether a file is half written now; the process is then held."""
    if not list(folder.glob(f".{LAST}.*.tmp")):
        return False
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    if list(folder.glob(f".{LAST}.*.tmp")):
        return True
    process.send_signal(signal.SIGCONT)
    return False


@pytest.mark.slow
def test_killed_in_an_epoch_and_in_a_save_a_run_ends_as_if_it_had_not_been(tiny: MakeConfig, blobs: ClipSource) -> None:
    stages = [{"steps": 14, "image_size": 32, "num_frames": 2, "batch_size": 1}]
    straight = tiny(experiment_name="straight", stages=stages)
    train(straight, blobs)
    config = tiny(experiment_name="killed", stages=stages, save_interval=3)

    process = start(config, "begin")
    try:
        wait_for(process, lambda: len(rows(config)) >= 5)  # of 8 clips: within the first epoch
    finally:
        kill(process)
    saved = load_state(config.run_dir / LAST).step
    assert saved % 3 == 0

    process = start(config, "resume")
    try:
        wait_for(process, lambda: stopped_while_saving(process, config.run_dir))
    finally:
        kill(process)
    assert list(config.run_dir.glob(".*.tmp"))
    assert load_state(config.run_dir / LAST).step >= saved

    train(config, blobs, resume=True)
    assert losses(config) == losses(straight)
    assert not list(config.run_dir.glob(".*.tmp"))
