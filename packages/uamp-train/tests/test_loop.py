"""The loop on a tiny source: pinned, repeatable, and resumable bit for bit."""

import gc
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from uamp_model.errors import CheckpointError, DeviceError
from uamp_model.sam2 import build_model
from uamp_train import learner
from uamp_train.batches import ClipSource, TrainingClip
from uamp_train.checkpoint import BEST, LAST, TrainingState, load_state
from uamp_train.config import Stage, TrainConfig
from uamp_train.config_loading import load_config
from uamp_train.errors import ConfigError
from uamp_train.loop import _stop_between_steps, make_accelerator, stage_at, train
from uamp_train.objective import TrainingModule
from uamp_train.weights import build_module, freeze

MakeConfig = Callable[..., TrainConfig]

CURRICULUM = [
    {"steps": 6, "image_size": 64, "num_frames": 2, "batch_size": 1},
    {"steps": 4, "image_size": 32, "num_frames": 2, "batch_size": 1},
]


def assert_same(one: TrainingState, other: TrainingState) -> None:
    assert one.step == other.step
    for group in ("model", "ema", "optimizer"):
        left, right = getattr(one, group), getattr(other, group)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left), group


def column(config: TrainConfig, name: str) -> list[str]:
    rows = (config.run_dir / "metrics.csv").read_text().splitlines()
    index = rows[0].split(",").index(name)
    return [row.split(",")[index] for row in rows[1:]]


def test_a_resumed_run_equals_one_that_never_stopped(tiny: MakeConfig, blobs: ClipSource) -> None:
    """Also across a change of stage, with another number of workers, and after a crash past the last checkpoint."""
    straight = load_state(train(tiny(experiment_name="a", stages=CURRICULUM), blobs))
    stopped = tiny(experiment_name="b", stages=CURRICULUM, max_steps=5)
    train(stopped, blobs)
    with (stopped.run_dir / "metrics.csv").open("a") as file:
        file.write("6,64,2\n7,6")
    resumed = tiny(experiment_name="b", stages=CURRICULUM, num_workers=3)
    assert_same(straight, load_state(train(resumed, blobs, resume=True)))
    assert column(resumed, "step") == [str(step) for step in range(1, 11)]


def test_three_steps_give_the_loss_they_always_gave(tiny: MakeConfig, blobs: ClipSource) -> None:
    config = tiny(experiment_name="a", loss={"dice": 3})
    first = load_state(train(config, blobs))
    losses = [float(value) for value in column(config, "loss")]
    # Pinned where the behaviour was checked; other versions of torch may differ in the last digits.
    assert losses == pytest.approx([4.668, 4.672, 4.745], rel=0.01)
    assert_same(first, load_state(train(tiny(experiment_name="b", loss={"dice": 3}), blobs)))


def test_the_first_steps_of_pretraining_nano_give_the_loss_they_always_gave(blobs: ClipSource, tmp_path: Path) -> None:
    """With the configuration as it is, but for smaller pictures and batches."""
    file = Path(__file__).parents[3] / "configs" / "pretrain_nano.yaml"
    smaller = ["stages.0.image_size=64", "stages.0.batch_size=2", "max_steps=3", "log_interval=1", "device=cpu"]
    config = load_config(file, [*smaller, f"save_dir={tmp_path}"], environment={})
    train(config, blobs)
    assert [float(value) for value in column(config, "loss")] == pytest.approx([3.395, 2.475, 4.326], rel=0.02)


@contextmanager
def answered(number: int, handler: Callable[..., object] | signal.Handlers) -> Iterator[None]:
    """A signal's handler in the block, also where what started the tests lets them ignore it."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    with answered(signal.SIGINT, signal.default_int_handler):
        yield


@pytest.mark.usefixtures("hears_ctrl_c")
def test_a_signal_ends_the_run_between_steps_and_loses_nothing(tiny: MakeConfig, blobs: ClipSource) -> None:
    class PressesCtrlC:
        """Gives the same clips, and interrupts the process once while one is made."""

        pressed = False

        def __len__(self) -> int:
            return len(blobs)

        def clip(
            self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4
        ) -> TrainingClip:
            if not self.pressed:
                self.pressed = True
                os.kill(os.getpid(), signal.SIGINT)
            return blobs.clip(index, rng, num_frames, size, max_stride)

    straight = load_state(train(tiny(experiment_name="a"), blobs))
    before = signal.getsignal(signal.SIGINT)
    config = tiny(experiment_name="b")
    with pytest.raises(KeyboardInterrupt):
        train(config, PressesCtrlC())
    assert signal.getsignal(signal.SIGINT) is before
    assert load_state(config.run_dir / LAST).step == 1
    assert_same(straight, load_state(train(config, blobs, resume=True)))


@pytest.mark.usefixtures("hears_ctrl_c")
def test_a_second_ctrl_c_stops_at_once() -> None:
    with _stop_between_steps(enabled=True) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_terminal_that_is_closed_may_say_so_twice() -> None:
    with answered(signal.SIGHUP, signal.SIG_DFL):
        with _stop_between_steps(enabled=True) as stop:
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL  # which would end the process
            signal.raise_signal(signal.SIGHUP)
            assert stop.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_signals_that_are_ignored_stay_so() -> None:
    with answered(signal.SIGINT, signal.SIG_IGN), _stop_between_steps(enabled=True) as stop:
        signal.raise_signal(signal.SIGINT)
        assert not stop.requested


def test_a_run_is_neither_overwritten_nor_resumed_by_mistake(tiny: MakeConfig, blobs: ClipSource) -> None:
    config = tiny(max_steps=1)
    with pytest.raises(CheckpointError, match="without --resume"):
        train(config, blobs, resume=True)
    train(config, blobs)
    with pytest.raises(ConfigError, match="--resume"):
        train(config, blobs)
    (config.run_dir / LAST).rename(config.run_dir / BEST)
    with pytest.raises(ConfigError, match=f"{BEST} is left from an earlier run"):
        train(config, blobs)


@pytest.mark.parametrize(("device", "there"), [("cuda", torch.cuda), ("mps", torch.backends.mps)])
def test_a_device_that_is_not_there_is_named(
    tiny: MakeConfig, monkeypatch: pytest.MonkeyPatch, device: str, there: ModuleType
) -> None:
    monkeypatch.setattr(there, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=f"The device {device} was asked for"):
        make_accelerator(tiny(device=device))


def test_validation_keeps_the_best(tiny: MakeConfig, blobs: ClipSource) -> None:
    scores = {1: 0.2, 2: 0.5, 3: 0.4}
    seen = []

    def validate(weights: Mapping[str, Tensor], step: int) -> float:
        seen.append(step)
        assert weights.keys() == build_model("nano").state_dict().keys()
        return scores[step]

    config = tiny(val_interval=1, stages=[{"steps": 3, "image_size": 64, "num_frames": 1, "batch_size": 8}])
    last = load_state(train(config, blobs, validate=validate))
    best = load_state(config.run_dir / BEST)
    assert (seen, best.step, best.best, last.step, last.best) == ([1, 2, 3], 2, 0.5, 3, 0.5)


def test_a_run_killed_once_its_best_was_saved_still_knows_what_is_to_be_beaten(
    tiny: MakeConfig, blobs: ClipSource, tmp_path: Path
) -> None:
    values = {"val_interval": 1, "stages": [{"steps": 2, "image_size": 32, "num_frames": 1, "batch_size": 8}]}
    first = tiny(max_steps=1, **values)

    def validate(_: Mapping[str, Tensor], step: int) -> float:
        shutil.copy(first.run_dir / LAST, tmp_path / "before")
        return 0.9

    train(first, blobs, validate=validate)
    shutil.copy(tmp_path / "before", first.run_dir / LAST)  # nothing later than the best was written
    train(tiny(**values), blobs, resume=True, validate=lambda _, step: 0.4)
    best = load_state(first.run_dir / BEST)
    assert (best.step, best.best) == (1, 0.9)


def test_a_score_that_is_no_number_is_never_the_best(tiny: MakeConfig, blobs: ClipSource) -> None:
    scores = {1: math.nan, 2: 0.9, 3: math.nan, 4: 0.1}
    config = tiny(val_interval=1, stages=[{"steps": 4, "image_size": 32, "num_frames": 1, "batch_size": 8}])
    last = load_state(train(config, blobs, validate=lambda _, step: scores[step]))
    best = load_state(config.run_dir / BEST)
    assert (best.step, best.best, last.best) == (2, 0.9, 0.9)


def test_a_validation_that_fails_costs_no_steps(tiny: MakeConfig, blobs: ClipSource) -> None:
    def validate(_: Mapping[str, Tensor], step: int) -> float:
        if step == 2:
            raise OSError("a frame cannot be read")
        return 0.5

    values = {"val_interval": 1, "stages": [{"steps": 3, "image_size": 32, "num_frames": 1, "batch_size": 8}]}
    train(tiny(max_steps=1, **values), blobs, validate=validate)
    config = tiny(**values)
    with pytest.raises(OSError, match="a frame"):
        train(config, blobs, resume=True, validate=validate)
    kept = load_state(config.run_dir / LAST)
    assert (kept.step, kept.best) == (2, 0.5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stage_s_network_is_gone_before_the_next_is_built(
    tiny: MakeConfig, blobs: ClipSource, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    gc.collect()
    alive = []

    def counting(*given: Any, **named: Any) -> TrainingModule:
        alive.append(sum(type(thing) is TrainingModule for thing in gc.get_objects()))
        return build_module(*given, **named)

    monkeypatch.setattr(learner, "build_module", counting)
    stage = {"steps": 2, "image_size": 32, "num_frames": 2, "batch_size": 1}
    train(tiny(precision=precision, gradient_accumulation=2, stages=[stage] * 3), blobs)
    assert alive == [0, 0, 0]


def test_accumulation_counts_batches_as_one_step(tiny: MakeConfig, blobs: ClipSource) -> None:
    config = tiny(gradient_accumulation=2, max_steps=2)
    state = load_state(train(config, blobs))
    assert state.step == 2
    assert column(config, "step") == ["1", "2"]
    assert max(float(state.optimizer[name]) for name in state.optimizer if name.startswith("step/")) == 2


def test_training_goes_on_from_given_weights(tiny: MakeConfig, blobs: ClipSource, tmp_path: Path) -> None:
    from uamp_train.export import export_weights

    export_weights(train(tiny(experiment_name="a"), blobs), tmp_path / "w.safetensors", dtype=torch.float32)
    config = tiny(experiment_name="b", sam2_checkpoint=str(tmp_path / "w.safetensors"), lr=1e-12, max_steps=1)
    state = load_state(train(config, blobs))
    start = load_state(tmp_path / "a" / "last.safetensors").ema
    assert all(torch.allclose(state.model[name], start[name], atol=1e-6) for name in start)


def test_frozen_parts_neither_learn_nor_drop_paths(tiny: MakeConfig) -> None:
    model = build_model("nano")
    freeze(TrainingModule(model, tiny()), tiny(freeze_sam2_image_encoder=True))
    assert not model.image_encoder.training
    assert not any(p.requires_grad for p in model.image_encoder.parameters())
    assert model.sam_mask_decoder.training
    assert all(p.requires_grad for p in model.sam_mask_decoder.parameters())


def test_stages_follow_one_another() -> None:
    stages = tuple(Stage(steps=s, image_size=64, num_frames=1, batch_size=1) for s in (2, 3))
    assert [stage_at(stages, step)[1] for step in range(5)] == [2, 2, 5, 5, 5]
