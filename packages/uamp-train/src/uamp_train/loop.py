"""The training loop; `train` reads from top to bottom.

Everything random in a step is a pure function of (seed, step, rank), so a run that is stopped and resumed goes on bit
for bit as if it had never stopped: no state of a generator or a sampler needs to be saved.
"""

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from uamp_model.checkpoint import load_into, load_state_dict
from uamp_model.errors import DeviceError
from uamp_model.sam2 import build_model
from uamp_model.unroll import initialise_local_memory

from uamp_train.batches import Batch, ClipSource, Place, prefetch
from uamp_train.checkpoint import (
    BEST,
    LAST,
    TrainingState,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)
from uamp_train.config import Stage, TrainConfig
from uamp_train.errors import ConfigError
from uamp_train.objective import TrainingModule
from uamp_train.optimisation import learning_rate, make_optimizer, update_average
from uamp_train.report import Report, chosen_trackers

log = logging.getLogger(__name__)

BAD_STEPS_IN_A_ROW = 20
"""So many steps without a finite gradient mean that the run is lost."""

Validate = Callable[[Mapping[str, Tensor], int], float]
"""Scores averaged weights (by SAM 2's names, on the CPU) after a number of steps: higher is better."""


def train(config: TrainConfig, source: ClipSource, *, resume: bool = False, validate: Validate | None = None) -> Path:
    """Train until the end of the curriculum (or `max_steps`) and return the last checkpoint.

    Args:
        config: what to do.
        source: the clips, the same for every process.
        resume: continue the run in `config.run_dir` from its last checkpoint.
        validate: called by the main process every `val_interval` epochs; the best weights are kept beside the last.

    Raises:
        ConfigError: if the run's folder already holds a run that is not to be resumed, or the settings cannot train.
        CheckpointError: if there is nothing to resume.
        DeviceError: if the device is not there.
    """
    accelerator = make_accelerator(config)
    checkpoint = config.run_dir / LAST
    if checkpoint.exists() and not resume:
        raise ConfigError(f"{config.run_dir} already holds a run: give --resume, or another experiment_name.")
    state = load_state(checkpoint) if resume else first_state(config)
    stages = config.curriculum(len(source), accelerator.num_processes)
    per_epoch = config.steps_per_epoch(len(source), accelerator.num_processes)
    total = sum(stage.steps for stage in stages)
    end = min(total, config.max_steps) if config.max_steps else total

    validation_due = config.val_interval * per_epoch if validate else 0
    with (
        _stop_between_steps(enabled=accelerator.num_processes == 1) as stop,
        Report(config, accelerator, state.step, total, end) as report,
    ):
        while state.step < end and not stop.requested:
            stage, stage_end = stage_at(stages, state.step)
            learner = Learner(config, stage, state, accelerator)
            places = _places(config, state.step, min(stage_end, end), accelerator.process_index)
            for place, batch in prefetch(source, config, stage, places):
                rate = learning_rate(config, place.step, total, per_epoch)
                report.add(learner.learn(batch, place, rate), stage, rate, place)
                if place.micro + 1 < config.gradient_accumulation:
                    continue
                step = place.step + 1
                validating = bool(validation_due) and step % validation_due == 0
                if not (validating or stop.requested or step in (end, stage_end) or step % config.save_interval == 0):
                    continue
                state = learner.state(step, state.best)
                if accelerator.is_main_process:
                    if validating and validate is not None:
                        state.best = _keep_best(state, validate(state.ema, step), config.run_dir / BEST, report)
                    save_state(state, checkpoint)
                if stop.requested:
                    break
    accelerator.wait_for_everyone()
    if stop.requested:
        raise KeyboardInterrupt
    return checkpoint


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Device, precision and processes, as the configuration and the launcher say."""
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("This machine has no CUDA device that torch can use: set device to auto or cpu.")
    return Accelerator(
        cpu=config.device == "cpu" or (config.device == "auto" and not _has_accelerator()),
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        gradient_accumulation_steps=config.gradient_accumulation,
        log_with=chosen_trackers(config) or None,
        project_dir=config.run_dir,
        # Each kind of prompt uses other parts of the decoder.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def _has_accelerator() -> bool:
    """Without one, accelerate must be told so, or the processes of a launcher each train alone."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def first_state(config: TrainConfig) -> TrainingState:
    """Where a run starts: the given weights, or random ones that follow from the seed."""
    torch.manual_seed(config.seed)
    model = build_model(config.model_name)
    if config.sam2_checkpoint is None:
        initialise_local_memory(model)
    else:
        load_into(model, load_state_dict(config.sam2_checkpoint), source=str(config.sam2_checkpoint))
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return TrainingState(step=0, model=weights, ema={name: value.clone() for name, value in weights.items()})


def stage_at(stages: tuple[Stage, ...], step: int) -> tuple[Stage, int]:
    """The stage that step `step` (from 0) belongs to, and the step at which it ends."""
    end = 0
    for stage in stages:
        end += stage.steps
        if step < end:
            return stage, end
    raise ValueError(f"step {step} lies after the last stage, which ends at {end}")


class Learner:
    """The network of one stage with its optimizer and average, built from a state and giving the next one.

    A new stage means a new image size, for which the network is built anew. Going through a state, just as a resumed
    run does, keeps the two from ever differing.
    """

    def __init__(self, config: TrainConfig, stage: Stage, state: TrainingState, accelerator: Accelerator) -> None:
        self._config = config
        self._accelerator = accelerator
        self._bad_steps = 0
        model = build_model(config.model_name, image_size=stage.image_size)
        model.load_state_dict(state.model)
        freeze(model, config)
        module = TrainingModule(model, config).to(accelerator.device)
        self._model = module.model
        self._average = {name: value.clone().to(accelerator.device) for name, value in state.ema.items()}
        optimizer = make_optimizer(module, config)
        restore_optimizer(optimizer, state.optimizer, dict(self._model.named_parameters()))
        self._module: nn.Module = accelerator.prepare_model(module)
        self._optimizer = accelerator.prepare_optimizer(optimizer)

    def learn(self, batch: Batch, place: Place, rate: float) -> dict[str, Tensor]:
        """One forward and backward pass and, with the last batch of a step, one move of the weights."""
        torch.manual_seed(int(place.rng(self._config.seed).integers(2**62)))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with self._accelerator.accumulate(self._module):
            losses = self._module(batch.to(self._accelerator.device))
            self._accelerator.backward(losses.total)
            parts: dict[str, Tensor] = dict(losses.parts)
            if self._accelerator.sync_gradients:
                parts["grad_norm"] = self._move(place.step)
        return parts

    def _move(self, step: int) -> Tensor:
        trained = [p for p in self._model.parameters() if p.requires_grad]
        norm: Tensor = self._accelerator.clip_grad_norm_(trained, self._config.grad_clip)
        if torch.isfinite(norm):  # the same on every process, because gradients are averaged by now
            self._bad_steps = 0
            self._optimizer.step()
            update_average(self._average, self._model.state_dict(), self._config.ema_decay, step)
        else:
            self._bad_steps += 1
            log.warning("Step %d has no finite gradient and is left out.", step + 1)
            if self._bad_steps == BAD_STEPS_IN_A_ROW:
                raise ConfigError(
                    f"{BAD_STEPS_IN_A_ROW} steps in a row had no finite gradient: resume with a lower lr."
                )
        self._optimizer.zero_grad()
        return norm.detach()

    def state(self, step: int, best: float | None = None) -> TrainingState:
        """Copies of everything the next stage, or a resumed run, starts from."""
        names = {id(parameter): name for name, parameter in self._model.named_parameters()}
        moments = optimizer_tensors(self._optimizer.optimizer, names)
        return TrainingState(
            step=step,
            model={name: value.detach().cpu().clone() for name, value in self._model.state_dict().items()},
            ema={name: value.cpu().clone() for name, value in self._average.items()},
            optimizer={name: value.detach().cpu().clone() for name, value in moments.items()},
            best=best,
            config=self._config.model_dump_json(),
        )


def freeze(model: nn.Module, config: TrainConfig) -> None:
    """Put what learns into training mode; what is frozen stays in evaluation mode (Hiera has DropPath)."""
    model.train()
    frozen = {
        "": config.freeze_sam2_backbone,
        "image_encoder": config.freeze_sam2_image_encoder,
        "sam_mask_decoder": config.freeze_sam2_mask_decoder,
    }
    for name, is_frozen in frozen.items():
        if is_frozen:
            model.get_submodule(name).eval().requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("Everything is frozen and nothing would learn: set freeze_sam2_backbone to false.")


def _places(config: TrainConfig, start: int, end: int, rank: int) -> Iterator[Place]:
    for step in range(start, end):
        for micro in range(config.gradient_accumulation):
            yield Place(step, rank, micro)


def _keep_best(state: TrainingState, score: float, path: Path, report: Report) -> float:
    """Tell a validation's score, and keep the state if none was better."""
    report.validated(state.step, score)
    if state.best is not None and score <= state.best:
        return state.best
    state.best = score
    save_state(state, path)
    return score


@dataclass(slots=True)
class _Stop:
    requested: bool = False


@contextmanager
def _stop_between_steps(*, enabled: bool) -> Iterator[_Stop]:
    """Let Ctrl-C and SIGTERM finish the step and save it; a second one stops at once.

    Only for a single process: others would wait forever for one that stopped a step earlier.
    """
    stop = _Stop()
    previous: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}

    def request(number: int, _: FrameType | None) -> None:
        stop.requested = True
        signal.signal(number, previous[signal.Signals(number)])

    if enabled:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                previous[number] = signal.signal(number, request)
        except ValueError:  # not the main thread, which alone may handle signals
            previous.clear()
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
