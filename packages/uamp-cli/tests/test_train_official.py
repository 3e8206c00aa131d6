"""The recipe for official models, `configs/finetune_uamp.yaml`, on random weights in the official file format."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_trees import make_davis
from uamp_model import load_tracker
from uamp_model.sam2 import build_model
from uamp_train.checkpoint import load_state

Run = Callable[..., Any]
RECIPE = Path(__file__).parents[3] / "configs" / "finetune_uamp.yaml"
NAME = "sam2.1-hiera-tiny"


@pytest.mark.slow
def test_the_recipe_takes_two_steps_on_an_official_model_saves_resumes_and_validates(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_davis(tmp_path / "DAVIS", {"camel": 1, "dogs": 2, "goat": 1}, split="train")
    torch.manual_seed(0)
    weights = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": build_model(NAME).state_dict()}, weights)
    # Smaller and more often than the recipe, and told to nobody; everything else is as it is.
    changed = {
        "dataset_root": tmp_path / "DAVIS",
        "sam2_checkpoint": weights,
        "sam2_model_type": "sam2.1_hiera_tiny",
        "image_size": 64,
        "num_frames": 2,
        "save_interval": 1,
        "val_interval": 1,
        "val_image_size": 64,
        "val_frames": 3,
        "log_interval": 1,
        "num_workers": 1,
        "device": "cpu",
        "use_wandb": "false",
    }
    options = [part for key, value in changed.items() for part in ("--set", f"{key}={value}")]
    first = run("train", "--config", RECIPE, *options, "--set", "max_steps=1")
    assert first.code == 0, first
    second = run("train", "--config", RECIPE, *options, "--set", "max_steps=2", "--resume")
    assert second.code == 0, second

    folder = tmp_path / "runs" / "uamp_finetune"
    with (folder / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2"]
    assert any(record.getMessage().startswith("Validation at step 2") for record in caplog.records)
    state = load_state(folder / "last.safetensors")
    assert state.step == 2
    assert all(name.startswith("layers.") for name in state.model)
    layers = folder / "uamp_finetuned.safetensors"
    tracker = load_tracker(NAME, checkpoint=weights, uamp_checkpoint=layers, memory="uamp", device="cpu")
    assert tracker.layers is not None
    other = run("train", "--config", RECIPE, *options, "--set", "lr=1", "--set", "max_steps=3", "--resume").refused()
    assert "lr is 1.0, was 0.0001" in other
