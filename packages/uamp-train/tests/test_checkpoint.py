from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from uamp_model.errors import CheckpointError
from uamp_train.checkpoint import (
    TrainingState,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)


@pytest.fixture
def state() -> TrainingState:
    weights = {"a.weight": torch.arange(6.0).view(2, 3).T}  # not contiguous
    return TrainingState(7, weights, {"a.weight": torch.ones(3, 2)}, {"step/a.weight": torch.tensor(7.0)}, 0.25, "{}")


def test_what_is_saved_is_loaded(state: TrainingState, tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.safetensors"
    save_state(state, path)
    back = load_state(path)
    assert (back.step, back.best, back.config) == (7, 0.25, "{}")
    for group in ("model", "ema", "optimizer"):
        saved, loaded = getattr(state, group), getattr(back, group)
        assert saved.keys() == loaded.keys()
        assert all(torch.equal(saved[name], loaded[name]) for name in saved)
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_checkpoint(state: TrainingState, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_state(state, path)
    state.step, state.config = 8, 5  # type: ignore[assignment]  # a header that cannot be written
    with pytest.raises(Exception, match=r".+"):
        save_state(state, path)
    assert load_state(path).step == 7
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_training_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="without --resume"):
        load_state(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("not a checkpoint, though it is long enough to look like one")
    with pytest.raises(CheckpointError, match="Cannot read"):
        load_state(tmp_path / "text.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="does not hold"):
        load_state(tmp_path / "other.safetensors")


def test_an_optimizer_goes_on_as_if_it_had_never_been_away() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(3, 2) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    optimizers = [torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True) for layer in layers]

    def move(which: int, scale: float) -> None:
        optimizers[which].zero_grad()
        (layers[which](torch.ones(3)) * scale).sum().backward()
        optimizers[which].step()

    move(0, 1.0)
    layers[1].load_state_dict(layers[0].state_dict())
    names = {id(p): name for name, p in layers[0].named_parameters()}
    moments = optimizer_tensors(optimizers[0], names)
    restore_optimizer(optimizers[1], moments, dict(layers[1].named_parameters()))
    for which in (0, 1):
        move(which, -2.0)
    assert torch.equal(layers[0].weight, layers[1].weight)
