"""Where a run stands when it begins or goes on, and whether it may go on so."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from uamp_model.errors import CheckpointError
from uamp_model.layers_file import weights_digest

from uamp_train.checkpoint import BEST, LAST, TrainingState, best_score, load_state
from uamp_train.config import TrainConfig
from uamp_train.config_loading import flat
from uamp_train.errors import ConfigError
from uamp_train.weights import initial_module, split

log = logging.getLogger(__name__)

MAY_CHANGE = {
    *("num_epochs", "max_steps", "steps", "log_interval", "save_interval", "val_interval"),
    *("save_dir", "experiment_name", "cache_folder", "folder"),
    *("device", "threads", "num_workers", "worker_processes", "use_wandb", "use_tensorboard"),
}
"""Keys, by the last part of their dotted names, that say how long, how often or where, but not what is learnt.

`differences` says when `val_interval` may not change and when `sam2_checkpoint` may.
"""
MOST_NAMED = 6


def begin(
    config: TrainConfig, *, resume: bool, processes: int, fetch: Callable[[], object] = lambda: None
) -> tuple[dict[str, Tensor], TrainingState]:
    """Begin a run or go on with it.

    Args:
        config: what to do.
        resume: go on with what is in the run's folder.
        processes: how many train.
        fetch: called before weights are read, once the run's folder is as it should be.

    Returns:
        The weights that stay as they are, by their names in files, and the state with all the others.

    Raises:
        ConfigError: if the folder holds a run that is not to be resumed, a part of one, or one with other settings.
        CheckpointError: if there is nothing to resume, or the frozen weights are not those it began with.
    """
    checkpoint, best = config.run_dir / LAST, config.run_dir / BEST
    if checkpoint.exists() and not resume:
        raise ConfigError(f"{config.run_dir} already holds a run: give --resume, or another experiment_name.")
    if not resume and best.exists():  # would be exported as what this run learned
        raise ConfigError(f"{best} is left from an earlier run: move it away, or give another experiment_name.")
    if resume:
        state = load_state(checkpoint)
        _check_same_run(state, config, processes)
        if best.exists():  # the last was saved before the validation that made it
            state.best = best_score(best)
        fetch()
        return frozen_weights(state, config), state
    fetch()
    frozen, weights = split(initial_module(config))
    return frozen, TrainingState(
        step=0,
        model=weights,
        ema={name: value.clone() for name, value in weights.items()},
        frozen=weights_digest(frozen) if frozen else "",
        processes=processes,
    )


def frozen_weights(state: TrainingState, config: TrainConfig) -> dict[str, Tensor]:
    """The weights that a run does not store, read again from where it began.

    Raises:
        CheckpointError: if they are not there any more, or others than then.
    """
    if not state.frozen:
        return {}
    # Layers that it began with have been learned on since and are in the state, so their file need not be there.
    frozen, _ = split(initial_module(config.model_copy(update={"uamp_checkpoint": None})))
    if weights_digest(frozen) != state.frozen:
        raise CheckpointError(
            f"The run in {config.run_dir} was trained on other frozen weights of {config.model_name} than those found "
            "now: set sam2_checkpoint to the file that it began with."
        )
    return frozen


def _check_same_run(state: TrainingState, config: TrainConfig, processes: int) -> None:
    changed = differences(json.loads(state.config), config)
    if changed:
        more = f" and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
        raise ConfigError(
            f"The run in {config.run_dir} was begun with other settings ({', '.join(changed[:MOST_NAMED])}{more}): "
            "set them back to resume it, or begin another run under another experiment_name."
        )
    if state.processes and state.processes != processes:
        log.warning("The run was begun by %d processes and goes on with %d.", state.processes, processes)


def differences(before: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """The settings that decide what is learnt and are others than before, as `key: before instead of now`.

    Args:
        before: the configuration that a checkpoint holds; keys that it did not know yet had today's defaults.
        config: the present one.
    """
    was, now, usual = flat(before), flat(config.model_dump(mode="json")), flat(TrainConfig().model_dump(mode="json"))
    # Frozen weights are known by their digest, so their file may have moved.
    may_change = MAY_CHANGE | ({"sam2_checkpoint"} if config.freezes_sam2 else set())
    changed = [
        f"{key} is {_shown(now.get(key))}, was {_shown(was.get(key, usual.get(key)))}"
        for key in {**was, **now}
        if was.get(key, usual.get(key)) != now.get(key) and key.rpartition(".")[2] not in may_change
    ]
    interval = was.get("val_interval", usual["val_interval"])
    if config.leaves_validation_open and bool(interval) != bool(config.val_interval):
        changed.append(f"val_interval is {config.val_interval}, was {interval}, and with 0 no sequence is held out")
    return changed


def _shown(value: Any) -> str:
    return "absent" if value is None else str(value)
