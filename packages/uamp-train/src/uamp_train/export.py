"""From a training run to a small file of weights that `load_tracker` reads."""

import json
from pathlib import Path

import torch
from uamp_model.checkpoint import save_state_dict
from uamp_model.errors import CheckpointError

from uamp_train.checkpoint import load_state

WEIGHTS = "weights.safetensors"


def export_weights(checkpoint: Path, output: Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write the averaged (EMA) weights of a run under their official names, in half precision.

    Args:
        checkpoint: a run's last or best checkpoint.
        output: the safetensors file to write; its header names the model, the steps, the seed and the configuration.
        dtype: how floats are stored; float16 keeps three more bits than bfloat16, whose range is not needed.

    Raises:
        CheckpointError: if the checkpoint is none, a weight does not fit the type, or the file cannot be written.
    """
    state = load_state(checkpoint)
    config = json.loads(state.config)
    weights = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.ema.items()}
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"The weight {name} of {checkpoint} does not fit {dtype}: export it as bfloat16.")
    header = {
        "format": "uamp-weights-1",
        "model": str(config.get("sam2_model_type") or config.get("model", "")),
        "experiment": str(config.get("experiment_name", "")),
        "steps": str(state.step),
        "seed": str(config.get("seed", "")),
        "config": state.config,
    }
    save_state_dict(output, weights, header)
