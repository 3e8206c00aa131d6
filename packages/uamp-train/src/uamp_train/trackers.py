"""Weights & Biases and TensorBoard, through accelerate: which are wanted, and how they are set up."""

import importlib.util
import logging
import netrc
import os
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator

from uamp_train.config import TrainConfig
from uamp_train.config_loading import flat
from uamp_train.errors import ConfigError

log = logging.getLogger(__name__)

WANDB_ADDRESS = "https://api.wandb.ai"
_MOST_SHOWN = 200
"""Characters of what wandb says of an error, which can be a page."""


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
    if not config.use_wandb:
        _start(config, accelerator)
        return
    from wandb.errors import Error

    why = "wandb is not logged in"
    if _logged_in_to_wandb():
        try:
            _start(config, accelerator)
            return
        except Error as error:  # as without network, after a minute and a half
            why = f"wandb cannot be used ({' '.join(str(error).split())[:_MOST_SHOWN]})"
            accelerator.trackers.clear()
    if accelerator.is_main_process:
        log.warning(
            "%s, so it records offline in %s: upload with `wandb login` and `wandb sync`.",
            why,
            config.run_dir / "wandb",
        )
    _start(config, accelerator, mode="offline")


def _start(config: TrainConfig, accelerator: Accelerator, **wandb: str) -> None:
    options = {"wandb": {"name": config.experiment_name, "dir": str(config.run_dir), **wandb}}
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
    import wandb

    given = os.environ.get("WANDB_BASE_URL")
    # Who logged in with another version of wandb may have been told another address.
    addresses = [given] if given else [WANDB_ADDRESS, str(wandb.Settings().base_url)]
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(known.authenticators(urlsplit(address).netloc) for address in addresses)
