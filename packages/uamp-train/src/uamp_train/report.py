"""Telling how a run goes: metrics.csv, log lines or a progress bar, and trackers."""

import logging
from collections.abc import Mapping
from types import TracebackType

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from uamp_train.batches import Place
from uamp_train.config import Stage, TrainConfig
from uamp_train.pictures import Picture
from uamp_train.progress import Averages, Clock, MetricsFile, log_line
from uamp_train.trackers import show_pictures, start_trackers

log = logging.getLogger(__name__)


class Report:
    """Tells every `log_interval` steps the means over all processes; only the main one speaks.

    On a terminal a bar shows the latest values, unless the log is silenced; elsewhere each report is a log line.
    """

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        step: int,
        total: int,
        end: int,
        console: Console | None = None,
    ) -> None:
        self._active = accelerator.is_main_process
        self._config, self._accelerator = config, accelerator
        self._total, self._end, self._told = total, end, step
        self._averages, self._clock = Averages(), Clock()
        self._console = Console(stderr=True) if console is None else console
        self._bar: Progress | None = None
        start_trackers(config, accelerator)
        if not self._active:
            return
        log.info("Steps %d to %d on %s, %d process(es)", step, end, accelerator.device, accelerator.num_processes)
        self._file = MetricsFile(config.run_dir / "metrics.csv", step)

    def __enter__(self) -> "Report":
        if self._active and self._console.is_terminal and log.isEnabledFor(logging.WARNING):
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("training", total=self._end, completed=self._told)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._accelerator.log_with:
            self._accelerator.end_training()

    def add(self, parts: dict[str, Tensor], stage: Stage, rate: float, place: Place) -> None:
        """Take in the parts of one batch, and report if it is time."""
        self._averages.add(parts)
        if place.micro + 1 < self._config.gradient_accumulation:
            return
        step = place.step + 1
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        if step % self._config.log_interval:
            return
        means = self._averages.take(self._accelerator)
        self._clock.lap(step - self._told)
        self._told = step
        if not self._active:
            return
        values: dict[str, float] = {
            "step": step,
            "image_size": stage.image_size,
            "num_frames": stage.num_frames,
            "lr": rate,
            **means,
            "seconds_per_step": self._clock.seconds_per_step,
        }
        self._file.append(values)
        if self._bar is None:
            log.info("%s", log_line(values, self._total, self._clock.left(self._end - step)))
        else:
            self._bar.update(self._task, description=f"loss {values['loss']:.3f}")
        if self._accelerator.log_with:
            self._accelerator.log(values, step=step)

    @property
    def wants_pictures(self) -> bool:
        """Whether there is a tracker to show them."""
        return self._active and bool(self._accelerator.trackers)

    def show(self, pictures: list[Picture], step: int) -> None:
        """Give pictures to the trackers."""
        show_pictures(self._accelerator, "prediction, truth, uncertainty", pictures, step)

    def validated(self, step: int, scores: Mapping[str, float]) -> None:
        """Tell the scores of a validation."""
        told = "  ".join(f"{name} {score:.4f}" for name, score in scores.items())
        log.info("step %d/%d  %s", step, self._total, told if "validation" in scores else f"validation  {told}")
        if self._accelerator.log_with:
            self._accelerator.log({f"validation/{name}": score for name, score in scores.items()}, step=step)
