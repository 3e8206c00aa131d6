"""Telling how a run goes: metrics.csv, log lines or a progress bar, and trackers."""

import importlib.util
import logging
from types import TracebackType

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from uamp_train.batches import Place
from uamp_train.config import Stage, TrainConfig
from uamp_train.config_loading import dump_config
from uamp_train.errors import ConfigError
from uamp_train.progress import Averages, Clock, MetricsFile, log_line

log = logging.getLogger(__name__)


def chosen_trackers(config: TrainConfig) -> list[str]:
    """The trackers that the configuration asks for.

    Raises:
        ConfigError: if one is not installed.
    """
    wanted = [name for name, used in (("wandb", config.use_wandb), ("tensorboard", config.use_tensorboard)) if used]
    for name in wanted:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"use_{name} needs the package {name}, which is not installed: install it or say false.")
    return wanted


class Report:
    """Tells every `log_interval` steps what the main process sees; the other processes are silent.

    On a terminal a bar shows the latest values; elsewhere each report is a log line.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator, step: int, total: int, end: int) -> None:
        self._active = accelerator.is_main_process
        self._config, self._accelerator = config, accelerator
        self._total, self._end, self._told = total, end, step
        self._averages, self._clock = Averages(), Clock()
        self._bar: Progress | None = None
        if accelerator.log_with:
            accelerator.init_trackers(config.experiment_name, config=_flat(config.model_dump(mode="json")))
        if not self._active:
            return
        config.run_dir.mkdir(parents=True, exist_ok=True)
        log.info("Steps %d to %d on %s, %d process(es)", step, end, accelerator.device, accelerator.num_processes)
        (config.run_dir / "config.yaml").write_text(dump_config(config), encoding="utf-8")
        self._file = MetricsFile(config.run_dir / "metrics.csv", step)

    def __enter__(self) -> "Report":
        console = Console(stderr=True)
        if self._active and console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=console)
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
        if not self._active:
            return
        self._averages.add(parts)
        if place.micro + 1 < self._config.gradient_accumulation:
            return
        step = place.step + 1
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        if step % self._config.log_interval:
            return
        self._clock.lap(step - self._told)
        self._told = step
        values: dict[str, float] = {
            "step": step,
            "image_size": stage.image_size,
            "num_frames": stage.num_frames,
            "lr": rate,
            **self._averages.take(),
            "seconds_per_step": self._clock.seconds_per_step,
        }
        self._file.append(values)
        if self._bar is None:
            log.info("%s", log_line(values, self._total, self._clock.left(self._end - step)))
        else:
            self._bar.update(self._task, description=f"loss {values['loss']:.3f}")
        if self._accelerator.log_with:
            self._accelerator.log(values, step=step)

    def validated(self, step: int, score: float) -> None:
        """Tell the score of a validation."""
        log.info("step %d/%d  validation %.4f", step, self._total, score)
        if self._accelerator.log_with:
            self._accelerator.log({"validation": score}, step=step)


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings under dotted names, as trackers want them."""
    flat: dict[str, str | int | float | bool] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value if isinstance(value, str | int | float | bool) else str(value)
    return flat
