"""Which weights a run trains and which stay as they are; their names in files.

In files and states the weights of SAM 2 have their official names, those of the UAMP layers begin with `layers.`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from uamp_model.catalog import find_model
from uamp_model.checkpoint import load_into, load_state_dict
from uamp_model.download import find_checkpoint
from uamp_model.layers_file import load_layers
from uamp_model.sam2 import build_model
from uamp_model.unroll import initialise_local_memory

from uamp_train.config import TrainConfig
from uamp_train.errors import ConfigError
from uamp_train.objective import TrainingModule

_SAM2 = "model."
LAYERS = "layers."


def initial_module(config: TrainConfig) -> TrainingModule:
    """What a run starts from: given weights, or random ones that follow from the seed.

    A SAM 2 of which any part is frozen has its published weights where no checkpoint is given, since random ones that
    never learn would be of no use.

    Raises:
        CheckpointError: if the weights are missing, damaged or of another model.
        ConfigError: if nothing would learn.
    """
    torch.manual_seed(config.seed)
    module = build_module(config)
    if config.sam2_checkpoint is None and not config.freezes_sam2:
        initialise_local_memory(module.model)
    else:
        path = find_checkpoint(find_model(config.model_name), config.sam2_checkpoint)
        load_into(module.model, load_state_dict(path), source=str(path))
    if config.uamp_checkpoint is not None:
        if module.layers is None:
            raise ConfigError("uamp_checkpoint needs a frozen SAM 2: set freeze_sam2_backbone to true or leave it out.")
        layers = load_layers(config.uamp_checkpoint, module.model, base_model=find_model(config.model_name).name)
        load_into(module.layers, layers.state_dict(), source=str(config.uamp_checkpoint))
    return module


def build_module(
    config: TrainConfig, *, image_size: int | None = None, free_frames: int | None = None
) -> TrainingModule:
    """The network with its loss, frozen as configured, with random weights; a stage may have numbers of its own."""
    model = build_model(config.model_name, image_size=image_size)
    module = TrainingModule(model, config, free_frames=free_frames)
    freeze(module, config)
    return module


def freeze(module: TrainingModule, config: TrainConfig) -> None:
    """Put what learns into training mode; what is frozen stays in evaluation mode (Hiera has DropPath).

    Raises:
        ConfigError: if nothing is left that could learn.
    """
    module.train()
    frozen = {
        "": config.freeze_sam2_backbone,
        "image_encoder": config.freeze_sam2_image_encoder,
        "sam_mask_decoder": config.freeze_sam2_mask_decoder,
    }
    for name, is_frozen in frozen.items():
        if is_frozen:
            module.model.get_submodule(name).eval().requires_grad_(False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ConfigError("Everything is frozen and nothing would learn: set freeze_sam2_backbone to false.")


def file_name(name: str) -> str:
    """A weight's name in files, from that within the module."""
    return name.removeprefix(_SAM2)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """All weights by their names in files; they share their memory with the module."""
    return {file_name(name): value for name, value in module.state_dict().items()}


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy all weights, by their names in files, into a module."""
    module.load_state_dict({name: weights[file_name(name)] for name in module.state_dict()})


def learning(module: nn.Module) -> list[str]:
    """Names in files of what a run stores: all weights if nothing is frozen, else what learns and the UAMP layers."""
    learnt = {file_name(name) for name, parameter in module.named_parameters() if parameter.requires_grad}
    names = list(weights_of(module))
    if len(learnt) == len(list(module.parameters())):
        return names
    return [name for name in names if name in learnt or name.startswith(LAYERS)]


def split(module: TrainingModule) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All weights by their names in files: those that stay as they are, and those that a run stores."""
    everything, stored = weights_of(module), learning(module)
    frozen = {name: value for name, value in everything.items() if name not in set(stored)}
    return frozen, {name: everything[name].detach().clone() for name in stored}
