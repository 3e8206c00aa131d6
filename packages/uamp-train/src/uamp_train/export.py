"""From a training run to small files of weights that `load_tracker` reads."""

import json
from pathlib import Path

import torch
from uamp_model.catalog import find_model
from uamp_model.checkpoint import save_state_dict
from uamp_model.errors import CheckpointError
from uamp_model.layers_file import save_layers
from uamp_model.sam2 import build_model

from uamp_train.checkpoint import BEST, LAST, TrainingState, load_state
from uamp_train.config import TrainConfig
from uamp_train.objective import make_layers
from uamp_train.resume import frozen_weights
from uamp_train.weights import LAYERS

WEIGHTS = "weights.safetensors"
FINETUNED = "uamp_finetuned.safetensors"


def export_run(run_dir: Path) -> Path:
    """Write what a run has learned, from its best checkpoint or, where no validation has kept one yet, its last.

    The best counts even where a resumed run went on without validation, since nothing later was found better.

    Returns:
        The file: UAMP layers alone where SAM 2 was frozen, else SAM 2's weights.

    Raises:
        CheckpointError: if there is no run, or the file cannot be written.
    """
    best = run_dir / BEST
    checkpoint = best if best.is_file() else run_dir / LAST
    state = load_state(checkpoint)
    if has_layers(state):
        export_layers(state, run_dir / FINETUNED)
        return run_dir / FINETUNED
    export_weights(checkpoint, run_dir / WEIGHTS)
    return run_dir / WEIGHTS


def has_layers(state: TrainingState) -> bool:
    """Whether a run trains UAMP layers."""
    return any(name.startswith(LAYERS) for name in state.model)


def export_layers(state: TrainingState, output: Path) -> None:
    """Write a run's averaged UAMP layers; the header names their base model, its digest and the configuration.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    config = TrainConfig.model_validate_json(state.config)
    layers = make_layers(build_model(config.model_name), config)
    layers.load_state_dict(
        {name.removeprefix(LAYERS): value for name, value in state.ema.items() if name.startswith(LAYERS)}
    )
    base = find_model(config.model_name).name
    save_layers(output, layers, base_model=base, base_digest=state.frozen, metadata=_header(state))


def export_weights(checkpoint: Path, output: Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write the averaged (EMA) weights of SAM 2 under their official names, in half precision.

    Args:
        checkpoint: a run's last or best checkpoint.
        output: the safetensors file to write; its header names the model, the steps, the seed and the configuration.
        dtype: how floats are stored; float16 keeps three more bits than bfloat16, whose range is not needed.

    Raises:
        CheckpointError: if the checkpoint is none, a weight does not fit the type, or the file cannot be written.
    """
    state = load_state(checkpoint)
    frozen = frozen_weights(state, TrainConfig.model_validate_json(state.config)) if state.frozen else {}
    whole = {name: value for name, value in {**frozen, **state.ema}.items() if not name.startswith(LAYERS)}
    weights = {name: value.to(dtype) if value.is_floating_point() else value for name, value in whole.items()}
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"The weight {name} of {checkpoint} does not fit {dtype}: export it as bfloat16.")
    save_state_dict(output, weights, {"format": "uamp-weights-1", **_header(state)})


def _header(state: TrainingState) -> dict[str, str]:
    config = json.loads(state.config)
    return {
        "model": str(config.get("sam2_model_type") or config.get("model", "")),
        "experiment": str(config.get("experiment_name", "")),
        "steps": str(state.step),
        "seed": str(config.get("seed", "")),
        "config": state.config,
    }
