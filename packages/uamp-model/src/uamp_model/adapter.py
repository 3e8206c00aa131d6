"""Corrections of SAM 2's own weights, small enough to be learned from few videos.

To each matrix W of a layer a product of two thin ones is added, W + B·A, of which B is zero at first: the low-rank
adaptation of Hu et al. (2022). The frozen weights stay as they are, in memory and on disk. A tracker computes with a
copy of the network that has the sums in it, so that a frame costs what it cost before.
"""

import copy
import math
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from uamp_model.sam2 import Sam2

BEHIND = ("memory_attention", "memory_encoder", "sam_mask_decoder")
"""Parts of the network whose layers are corrected: what reads and writes memory, and what draws masks."""
ENCODER = ("image_encoder", "sam_mask_decoder.conv_s0", "sam_mask_decoder.conv_s1")
"""Layers that make an image's features."""


class Adapter(nn.Module):
    """The thin matrices A and B of each corrected layer.

    Attributes:
        down: A by the layer's name with "/" for ".", rank × inputs.
        up: B likewise, outputs × rank, zeros until they are trained.
    """

    def __init__(self, model: Sam2, *, rank: int, encoder: bool) -> None:
        """Untrained corrections for a network.

        Args:
            model: the network; nothing of it is kept.
            rank: columns of B.
            encoder: correct the image encoder too.
        """
        super().__init__()
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for name, weight in _matrices(model, encoder=encoder):
            inputs = weight[0].numel()
            key = name.replace(".", "/")
            self.down[key] = nn.Parameter(torch.empty(rank, inputs).uniform_(-1, 1) / math.sqrt(inputs))
            self.up[key] = nn.Parameter(torch.zeros(len(weight), rank))

    def weights(self, model: Sam2, strength: float = 1.0) -> dict[str, Tensor]:
        """The network's weights with their corrections, weighed by `strength`; gradients flow to A and B."""
        found = {}
        for key, up in self.up.items():
            name = f"{key.replace('/', '.')}.weight"
            weight = model.get_parameter(name)
            found[name] = weight + strength * (up @ self.down[key]).view_as(weight)
        return found


@torch.no_grad()
def corrected(model: Sam2, adapter: Adapter, strength: float) -> Sam2:
    """A copy of a network with corrected weights; it shares all others with the given one."""
    copied = twin(model)
    for name, weight in adapter.weights(model, strength).items():
        owner, _, last = name.rpartition(".")
        setattr(copied.get_submodule(owner), last, nn.Parameter(weight, requires_grad=False))
    return copied


def twin(model: Sam2) -> Sam2:
    """A copy of a network that shares its weights; others put in their place leave the given one as it is."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())})


def _matrices(model: Sam2, *, encoder: bool) -> Iterator[tuple[str, Tensor]]:
    """Names and weights of the layers to correct: linear ones, and convolutions that see all channels."""
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear) and not (isinstance(layer, nn.Conv2d) and layer.groups == 1):
            continue
        if encoder if name.startswith(ENCODER) else name.startswith(BEHIND):
            yield name, layer.weight
