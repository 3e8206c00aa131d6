"""A training run on disk: one safetensors file with everything needed to go on, replaced atomically.

The tensors are named `model/…`, `ema/…` and `optimizer/<slot>/…`; the step and the configuration are in the header.
Nothing else is needed, because everything random in a step follows from the seed and the step's number. Weights that
are frozen are not stored: the header has their digest, and a resumed run reads them again where its start did.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from uamp_model.checkpoint import save_state_dict
from uamp_model.errors import CheckpointError

FORMAT = "uamp-train-1"
LAST = "last.safetensors"
BEST = "best.safetensors"


@dataclass(slots=True)
class TrainingState:
    """Where a run stands.

    Attributes:
        step: finished steps.
        model: the weights that learn, by SAM 2's official names; those of the UAMP layers begin with `layers.`.
        ema: their running average, by the same names.
        optimizer: its moments, `<slot>/<name of the parameter>`.
        best: best validation score so far, or None.
        config: the run's configuration as JSON.
        frozen: digest of the weights that stay as they are and are not stored here; "" if all are here.
        processes: how many trained together; 0 if unknown.
    """

    step: int
    model: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    best: float | None = None
    config: str = "{}"
    frozen: str = ""
    processes: int = 0


def save_state(state: TrainingState, path: Path) -> None:
    """Write a state so that the file holds either what it held before or all of the new state.

    Raises:
        CheckpointError: if it cannot be written; the file is then as it was.
    """
    groups = {"model": state.model, "ema": state.ema, "optimizer": state.optimizer}
    tensors = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    header = {
        "format": FORMAT,
        "step": str(state.step),
        "best": json.dumps(state.best),
        "config": state.config,
        "frozen": state.frozen,
        "processes": str(state.processes),
    }
    try:
        save_state_dict(path, tensors, header)
    except CheckpointError as error:
        kept = "the checkpoint of before is still there: " if path.is_file() else ""
        raise CheckpointError(
            f"{str(error).rstrip('.')} at step {state.step}; {kept}free space on that disk and go on with --resume."
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Delete what a process that was killed while it saved has left behind in a run's folder."""
    for name in (LAST, BEST):
        for leftover in folder.glob(f".{name}.*.tmp"):
            with contextlib.suppress(OSError):
                leftover.unlink()


def load_state(path: Path) -> TrainingState:
    """Read what `save_state` wrote, to the CPU.

    Raises:
        CheckpointError: if there is no such file, or it is no state of a training run.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no training run to continue at {path}: start it without --resume.")
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
    with _open_state(path) as (file, header):
        for key in file.keys():  # noqa: SIM118  (safe_open is no dictionary)
            group, name = key.split("/", 1)
            groups[group][name] = file.get_tensor(key)
    return TrainingState(
        step=int(header["step"]),
        model=groups["model"],
        ema=groups["ema"],
        optimizer=groups["optimizer"],
        best=json.loads(header["best"]),
        config=header["config"],
        frozen=header.get("frozen", ""),
        processes=int(header.get("processes", 0)),
    )


def best_score(path: Path) -> float | None:
    """The best score that a saved state knows of, read without its tensors.

    Raises:
        CheckpointError: as `load_state` does.
    """
    with _open_state(path) as (_, header):
        score: float | None = json.loads(header["best"])
        return score


@contextlib.contextmanager
def _open_state(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """A saved state's file and header."""
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(f"{path} does not hold the state of a training run.")
            yield file, header
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"Cannot read the training state {path} ({error}): move it away.") from None


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> dict[str, Tensor]:
    """The optimizer's moments by name; `names` maps a parameter's id to its name."""
    return {
        f"{slot}/{names[id(parameter)]}": value
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], parameters: dict[str, torch.nn.Parameter]
) -> None:
    """Give an optimizer the moments that `optimizer_tensors` listed; parameters that have none there start afresh."""
    for key, value in tensors.items():
        slot, name = key.split("/", 1)
        parameter = parameters[name]
        optimizer.state[parameter][slot] = value.clone().to(parameter.device)
