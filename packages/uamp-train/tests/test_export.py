import json
from pathlib import Path

import pytest
import torch
from uamp_model.checkpoint import load_state_dict, read_metadata
from uamp_model.errors import CheckpointError
from uamp_train.checkpoint import BEST, TrainingState, save_state
from uamp_train.config import TrainConfig
from uamp_train.export import WEIGHTS, export_run, export_weights


def run(folder: Path, **ema: torch.Tensor) -> Path:
    config = TrainConfig(experiment_name="mine", seed=3)
    save_state(TrainingState(9, {}, ema, config=config.model_dump_json()), folder / "last.safetensors")
    return folder / "last.safetensors"


def test_the_averaged_weights_are_written_in_half_precision(tmp_path: Path) -> None:
    weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    export_weights(run(tmp_path, weight=weight, count=torch.tensor(3)), tmp_path / "w.safetensors")
    back = load_state_dict(tmp_path / "w.safetensors")
    assert torch.equal(back["weight"], weight.half().float())
    assert back["count"] == 3
    header = read_metadata(tmp_path / "w.safetensors")
    assert (header["model"], header["experiment"], header["steps"], header["seed"]) == ("nano", "mine", "9", "3")
    assert json.loads(header["config"])["experiment_name"] == "mine"


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    checkpoint = run(tmp_path, weight=torch.tensor([1e6]))
    with pytest.raises(CheckpointError, match="bfloat16"):
        export_weights(checkpoint, tmp_path / "w.safetensors")
    export_weights(checkpoint, tmp_path / "w.safetensors", dtype=torch.bfloat16)


def test_the_best_checkpoint_is_exported_and_where_there_is_none_the_last(tmp_path: Path) -> None:
    last = run(tmp_path, weight=torch.ones(1))
    assert load_state_dict(export_run(tmp_path))["weight"] == 1
    run(tmp_path, weight=torch.zeros(1)).replace(tmp_path / BEST)
    run(tmp_path, weight=torch.ones(1))
    assert last.is_file()
    assert export_run(tmp_path) == tmp_path / WEIGHTS
    assert load_state_dict(tmp_path / WEIGHTS)["weight"] == 0
