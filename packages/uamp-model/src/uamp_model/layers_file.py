"""UAMP's learned layers in files: safetensors whose header says which base model they were trained on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from uamp_model.adapter import ENCODER
from uamp_model.catalog import MODELS
from uamp_model.checkpoint import load_into, load_state_dict, read_metadata, save_state_dict
from uamp_model.errors import CheckpointError
from uamp_model.layers import LayerSizes, UampLayers
from uamp_model.sam2 import Sam2

_BASE, _DIGEST, _SIZES = "base_model", "base_digest", "sizes"
_DOWN = "adapter.down."


def weights_digest(model: nn.Module | Mapping[str, Tensor]) -> str:
    """SHA-256 of a model's weights, or of weights by their names in it: name, type, shape and bytes, by rising name.

    It is the same for one set of weights on every device and from every file format.
    """
    sha = hashlib.sha256()
    for name, value in sorted((model.state_dict() if isinstance(model, nn.Module) else model).items()):
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        sha.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def save_layers(
    path: Path, layers: UampLayers, *, base_model: str, base_digest: str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write layers so that they can only be loaded onto their base.

    Args:
        path: the file; it appears whole or not at all.
        layers: what was trained.
        base_model: the base model's name in the catalog.
        base_digest: `weights_digest` of the base model.
        metadata: further strings for the header, such as the training configuration.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    header = {_BASE: base_model, _DIGEST: base_digest, _SIZES: json.dumps(asdict(layers.sizes))}
    save_state_dict(path, layers.state_dict(), {**(metadata or {}), **header})


def load_layers(path: Path, model: Sam2, *, base_model: str) -> UampLayers:
    """Read layers for a base model: safetensors as `save_layers` writes them, or a `.pth` of weights alone.

    Raises:
        CheckpointError: if the file is damaged, holds something else, or belongs to another base.
    """
    state = load_state_dict(path)
    header = read_metadata(path)
    wanted = header.get(_BASE, base_model)
    if wanted != base_model:
        raise CheckpointError(f"{path} holds UAMP layers for {wanted}, not for {base_model}: ask for model {wanted}.")
    if _DIGEST in header and header[_DIGEST] != weights_digest(model):
        raise CheckpointError(
            f"{path} holds UAMP layers trained on other weights of {base_model} (digest {header[_DIGEST][:12]}): "
            "pass the checkpoint they were trained on."
        )
    return _build(path, header, state, model, base_model)


def load_rehearsal_start(model: Sam2, *, base_model: str) -> UampLayers | None:
    """The bundled layers that a rehearsal of a base model begins at; None if there are none, or its weights are others.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    spec = MODELS.get(base_model)
    if spec is None or spec.rehearsal is None:
        return None
    path = Path(__file__).parent / spec.rehearsal
    header = read_metadata(path)
    if header.get(_DIGEST) != weights_digest(model):
        return None
    return _build(path, header, load_state_dict(path), model, base_model)


def _build(
    path: Path, header: Mapping[str, str], state: Mapping[str, Tensor], model: Sam2, base_model: str
) -> UampLayers:
    layers = UampLayers(model, _sizes(path, header, state, model))
    try:
        load_into(layers, state, source=str(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path} holds no UAMP layers that fit {base_model}: pass another file.") from error
    return layers.requires_grad_(False).eval()


def _sizes(path: Path, header: Mapping[str, str], state: Mapping[str, Tensor], model: Sam2) -> LayerSizes:
    try:
        if _SIZES in header:
            return LayerSizes(**json.loads(header[_SIZES]))
        ranks = {name: len(value) for name, value in state.items() if name.startswith(_DOWN)}
        encoder = any(name.startswith(f"{_DOWN}{ENCODER[0]}") for name in ranks)
        rank = next(iter(ranks.values()))
        return LayerSizes.of(model, hidden=len(state["refiner.mix.bias"]), rank=rank, encoder=encoder)
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise CheckpointError(
            f"{path} holds no UAMP layers: pass uamp_finetuned.safetensors, which `uamp train` writes."
        ) from error
