"""Real wandb (offline) and TensorBoard, in a process of their own, since both leave threads and warnings behind."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from uamp_model.core import FrameOutput
from uamp_train.batches import ClipSource, Place, make_batch
from uamp_train.config import TrainConfig
from uamp_train.errors import ConfigError
from uamp_train.pictures import paint_clips
from uamp_train.trackers import WANDB_ADDRESS, _logged_in_to_wandb, chosen_trackers

MakeConfig = Callable[..., TrainConfig]

RUN = """
import logging, sys
sys.path.insert(0, sys.argv[1])
from conftest import Blobs
from uamp_train.config import TrainConfig
from uamp_train.loop import train
logging.basicConfig(level=logging.INFO)
train(TrainConfig.model_validate_json(sys.argv[2]), Blobs(), validate=lambda weights, step: {"J&F": 0.5, "sam2": 0.4})
"""


def run(config: TrainConfig, tmp_path: Path, **variables: str) -> str:
    """The log of a run on a machine on which nobody is logged in anywhere, but for what the variables say."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment = {**known, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), **variables}
    arguments = [str(Path(__file__).parent), config.model_dump_json()]
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_a_run_is_told_to_the_tracker_with_pictures(tiny: MakeConfig, tmp_path: Path, tracker: str) -> None:
    pytest.importorskip(tracker)
    stages = [{"steps": 2, "image_size": 32, "num_frames": 2, "batch_size": 1}]
    config = tiny(stages=stages, val_interval=1, max_steps=2, **{f"use_{tracker}": True})
    said = run(config, tmp_path)
    if tracker == "wandb":
        assert "wandb is not logged in, so it records offline in" in said
        (folder,) = (config.run_dir / "wandb").glob("offline-run-*")
        assert list(folder.glob("*.wandb"))
        assert list(folder.rglob("media/images/*.png"))
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        told = EventAccumulator(str(config.run_dir / "uamp"))
        told.Reload()
        assert {"loss", "lr"} <= set(told.Tags()["scalars"])
        assert told.Tags()["images"]


@pytest.mark.slow
def test_a_run_whose_wandb_cannot_be_reached_records_offline(tiny: MakeConfig, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    nobody = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "3"}
    stages = [{"steps": 1, "image_size": 32, "num_frames": 2, "batch_size": 1}]
    config = tiny(stages=stages, use_wandb=True)
    said = run(config, tmp_path, no_proxy="127.0.0.1", **nobody)
    assert re.search(r"wandb cannot be used \(.*\), so it records offline in", said)
    (folder,) = (config.run_dir / "wandb").glob("offline-run-*")
    assert list(folder.rglob("media/images/*.png"))


def test_a_login_of_any_version_of_wandb_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not _logged_in_to_wandb()
    for address in (WANDB_ADDRESS, wandb.Settings().base_url, "https://elsewhere"):
        host = address.removeprefix("https://")
        (tmp_path / "netrc").write_text(f"machine {host} login user password {'0' * 40}\n")
        assert _logged_in_to_wandb() == (host != "elsewhere")


def test_a_tracker_that_is_not_installed_names_its_extra(tiny: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # what Python itself takes for "cannot be imported"
    with pytest.raises(ConfigError, match=r"install uamp-train\[wandb\]"):
        chosen_trackers(tiny(use_wandb=True))


def test_pictures_show_prediction_truth_and_doubt(tiny: MakeConfig, blobs: ClipSource) -> None:
    config = tiny(still_share=0.0, stages=[{"steps": 1, "image_size": 32, "num_frames": 3, "batch_size": 3}])
    batch = make_batch(blobs, config, config.stages[0], Place(0))
    count = len(batch.clip_of_object)
    covered = torch.nn.functional.avg_pool2d(batch.masks.float(), 4)
    outputs = [frame(covered[:, t : t + 1] * 20 - 10, count) for t in range(3)]
    pictures = paint_clips(batch, outputs)
    assert [picture.shape for picture in pictures] == [(3 * 32, 3 * 32, 3)] * 2
    picture = pictures[0]
    predicted, true, doubt = picture[:32, :32], picture[:32, 32:64], picture[:32, 64:]
    plain = batch.images[0, 0].permute(1, 2, 0).numpy()
    inside = batch.masks[batch.clip_of_object == 0, 0].numpy().any(0)
    assert np.array_equal(true[~inside], plain[~inside])
    assert (true[inside] != plain[inside]).any(-1).all()
    assert (predicted != true).any(-1).mean() < 0.2
    assert doubt.any()


def frame(logits: torch.Tensor, count: int) -> FrameOutput:
    sure = torch.full((count, 1), 10.0)
    return FrameOutput(
        hypotheses=logits,
        ious=sure,
        presence=sure,
        best=torch.zeros(count, dtype=torch.long),
        logits=logits,
        pointer=sure,
        present=torch.ones(count, 1),
        agreed=logits,
    )
