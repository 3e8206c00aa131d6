"""The training loop; `carry_out` reads from top to bottom.

Everything random in a step is a pure function of (seed, step, clip), so a run that is stopped and resumed goes on bit
for bit as if it had never stopped: no state of a generator or a sampler needs to be saved.
"""

import gc
import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from rich.console import Console
from torch import Tensor
from uamp_model.devices import choose_device

from uamp_train.batches import ClipSource, Place, first_batch, prefetch
from uamp_train.checkpoint import BEST, LAST, TrainingState, remove_leftovers, save_state
from uamp_train.config import Stage, TrainConfig
from uamp_train.config_loading import dump_config
from uamp_train.cpu import keep_freed_memory
from uamp_train.export import export_run
from uamp_train.learner import Learner
from uamp_train.optimisation import learning_rate
from uamp_train.progress import make_folder, write_whole
from uamp_train.report import Report
from uamp_train.resume import begin
from uamp_train.trackers import chosen_trackers

log = logging.getLogger(__name__)

VALIDATION_TIMEOUT = timedelta(hours=6)
"""How long the other processes wait for the one that validates; torch's own 10 minutes end long validations."""
_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_STOPPING = b"\nFinishing this step and saving it. Once more stops at once, and loses what was not saved.\n"

Scores = float | Mapping[str, float]
Validate = Callable[[Mapping[str, Tensor], int], Scores]
"""Scores averaged weights (by their names in files, on the CPU) after a number of steps: higher is better. Of several
named scores, the first decides which weights are best; the others are told beside it."""


def train(config: TrainConfig, source: ClipSource, *, resume: bool = False, validate: Validate | None = None) -> Path:
    """Prepare a run and carry it out; see `prepare` and `carry_out`."""
    return carry_out(prepare(config, resume=resume), source, validate=validate)


@dataclass(slots=True)
class Run:
    """A run that can begin or go on.

    Attributes:
        config: what to do.
        accelerator: the device and the processes.
        frozen: the weights that stay as they are, by their names in files.
        state: where the run stands.
    """

    config: TrainConfig
    accelerator: Accelerator
    frozen: dict[str, Tensor]
    state: TrainingState


def prepare(config: TrainConfig, *, resume: bool = False, fetch: Callable[[], object] = lambda: None) -> Run:
    """Find out, before any clip is read or made, whether a run can begin or go on, and set up its folder.

    Args:
        config: what to do.
        resume: continue the run in `config.run_dir` from its last checkpoint.
        fetch: called before weights are read, once nothing else is wrong with the run, so that they can be fetched.

    Raises:
        ConfigError: if the run's folder already holds a run that is not to be resumed or had other settings, or the
            settings cannot train.
        InputError: if there is no such model.
        CheckpointError: if there is nothing to resume, weights cannot be read, or the folder cannot be written.
        DeviceError: if the device is not there.
    """
    accelerator = make_accelerator(config)
    frozen, state = begin(config, resume=resume, processes=accelerator.num_processes, fetch=fetch)
    if accelerator.is_main_process:
        make_folder(config.run_dir)
        remove_leftovers(config.run_dir)
    return Run(config, accelerator, frozen, state)


def carry_out(
    run: Run, source: ClipSource, *, validate: Validate | None = None, console: Console | None = None
) -> Path:
    """Train until the end of the curriculum (or `max_steps`) and return the last checkpoint.

    Args:
        run: what to do, and from where; its state moves on with each checkpoint.
        source: the clips, the same for every process.
        validate: called by the main process every `val_interval` epochs, once the state is saved; the best weights are
            kept beside the last.
        console: where a bar may be shown; standard error if None.

    Raises:
        ConfigError: if the clips cannot be trained on, or the loss is not finite again and again.
        CheckpointError: if the configuration or a checkpoint cannot be written.
        DeviceError: if the device's memory is too small.
    """
    config, accelerator, state = run.config, run.accelerator, run.state
    if accelerator.is_main_process:
        write_whole(config.run_dir / "config.yaml", dump_config(config))
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    checkpoint = config.run_dir / LAST
    stages = config.curriculum(len(source), accelerator.num_processes)
    per_epoch = config.steps_per_epoch(len(source), accelerator.num_processes)
    total = sum(stage.steps for stage in stages)
    end = min(total, config.max_steps) if config.max_steps else total

    validation_due = config.val_interval * per_epoch if validate else 0
    with (
        _stop_between_steps(enabled=accelerator.num_processes == 1) as stop,
        Report(config, accelerator, state.step, total, end, console) as report,
    ):
        while state.step < end and not stop.requested:
            stage, stage_end = stage_at(stages, state.step)
            learner = Learner(config, stage, run.frozen, state, accelerator)
            places = _places(config, state.step, min(stage_end, end), accelerator.process_index)
            for place, batch in prefetch(source, config, stage, places, learner.store):
                rate = learning_rate(config, place.step, total, per_epoch)
                report.add(learner.learn(batch, place, rate), stage, rate, place)
                if place.micro + 1 < config.gradient_accumulation:
                    continue
                step = place.step + 1
                validating = bool(validation_due) and step % validation_due == 0
                saving = step % config.save_interval == 0 and not learner.bad_steps  # keeps the last good checkpoint
                if not (validating or saving or stop.requested or step in (end, stage_end)):
                    continue
                run.state = state = learner.state(step, state.best)
                if accelerator.is_main_process:
                    save_state(state, checkpoint)  # before what may fail or be interrupted
                    if validating and validate is not None:
                        scores = validate({**run.frozen, **state.ema}, step)
                        _keep_best(state, scores, config.run_dir, report)
                    if report.wants_pictures:
                        report.show(learner.show(first_batch(source, config, stage)), step)
                if stop.requested:
                    break
            # The next stage's network is not to share the memory with this one's, which the accelerator holds on to.
            del learner
            accelerator.free_memory()
            gc.collect()  # in half precision a network holds itself
    accelerator.wait_for_everyone()
    if stop.requested:
        raise KeyboardInterrupt
    return checkpoint


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Device, precision and processes, as the configuration and the launcher say.

    Raises:
        DeviceError: if the device is not there.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    place = choose_device(config.device)  # accelerate takes another where one is not there
    AcceleratorState._reset_state()  # else a second run in this process could not have another precision
    return Accelerator(
        # without a GPU it must be told so, or the processes of a launcher each train alone
        cpu=place.type == "cpu",
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        gradient_accumulation_steps=config.gradient_accumulation,
        log_with=chosen_trackers(config) or None,
        project_dir=config.run_dir,
        kwargs_handlers=[
            # Each kind of prompt uses other parts of the decoder.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=VALIDATION_TIMEOUT),
        ],
    )


def stage_at(stages: tuple[Stage, ...], step: int) -> tuple[Stage, int]:
    """The stage that step `step` (from 0) belongs to, and the step at which it ends."""
    end = 0
    for stage in stages:
        end += stage.steps
        if step < end:
            return stage, end
    raise ValueError(f"step {step} lies after the last stage, which ends at {end}")


def _places(config: TrainConfig, start: int, end: int, rank: int) -> list[Place]:
    micros = range(config.gradient_accumulation)
    return [Place(step, rank, micro) for step in range(start, end) for micro in micros]


def _keep_best(state: TrainingState, scores: Scores, run_dir: Path, report: Report) -> None:
    """Tell a validation's scores, and keep the state if none was better; NaN is never the best."""
    named = scores if isinstance(scores, Mapping) else {"validation": scores}
    report.validated(state.step, named)
    score = next(iter(named.values()))
    if math.isnan(score) or (state.best is not None and score <= state.best):
        return
    state.best = score
    save_state(state, run_dir / BEST)  # a resumed run reads from it what is to be beaten
    export_run(run_dir)


@dataclass(slots=True)
class _Stop:
    requested: bool = False


@contextmanager
def _stop_between_steps(*, enabled: bool) -> Iterator[_Stop]:
    """Let Ctrl-C, `kill` and the closing of the terminal finish the step and save it; a second one stops at once.

    Only for a single process: others would wait forever for one that stopped a step earlier.
    """
    stop = _Stop()
    previous: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def put_back(numbers: Iterable[int]) -> None:
        for number in numbers:
            signal.signal(number, previous[number])

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.requested = True
        put_back(previous.keys() & {signal.SIGINT, signal.SIGTERM})  # a terminal that is closed may say so twice
        if log.isEnabledFor(logging.INFO):
            with suppress(OSError):  # nobody may be there to read it
                os.write(2, _STOPPING)  # unlike a log line, it may come in the midst of another

    if enabled and threading.current_thread() is threading.main_thread():  # which alone may handle signals
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup, and of what runs in the background
                previous[number] = signal.signal(number, request)
    try:
        yield stop
    finally:
        put_back(previous)
