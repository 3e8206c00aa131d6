"""Weights & Biases and TensorBoard, through accelerate: which are wanted, and how they are set up."""

import importlib.util
import logging
import netrc
import os
from typing import Any

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator

from uamp_train.config import TrainConfig
from uamp_train.config_loading import flat
from uamp_train.errors import ConfigError

log = logging.getLogger(__name__)

WANDB_HOST = "api.wandb.ai"


def chosen_trackers(config: TrainConfig) -> list[str]:
    """The trackers that the configuration asks for.

    Raises:
        ConfigError: if one is not installed.
    """
    wanted = [name for name, used in (("wandb", config.use_wandb), ("tensorboard", config.use_tensorboard)) if used]
    for name in wanted:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"use_{name} needs the package {name}, which is not installed: install uamp-train[{name}], "
                f"or set use_{name} to false."
            )
    return wanted


def start_trackers(config: TrainConfig, accelerator: Accelerator) -> None:
    """Start the trackers of `accelerator`, if it has any, with the settings as what distinguishes the run."""
    if not accelerator.log_with:
        return
    config.run_dir.mkdir(parents=True, exist_ok=True)
    options: dict[str, dict[str, Any]] = {"wandb": {"name": config.experiment_name, "dir": str(config.run_dir)}}
    if config.use_wandb and not _logged_in_to_wandb():
        options["wandb"]["mode"] = "offline"
        if accelerator.is_main_process:
            log.warning(
                "wandb is not logged in, so it records offline in %s: upload with `wandb login` and `wandb sync`.",
                config.run_dir / "wandb",
            )
    accelerator.init_trackers("uamp", config=flat(config.model_dump(mode="json")), init_kwargs=options)


def show_pictures(accelerator: Accelerator, name: str, pictures: list[npt.NDArray[np.uint8]], step: int) -> None:
    """Give the trackers pictures, H×W×3 each and all of one size."""
    for tracker in accelerator.trackers:
        layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images({name: np.stack(pictures)}, step=step, **layout)


def _logged_in_to_wandb() -> bool:
    """Whether wandb would find a key, or has been told how to work; it would ask for one or fail otherwise."""
    if os.environ.get("WANDB_MODE") or os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", f"https://{WANDB_HOST}").split("//")[-1].split("/")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
