"""Linear layers whose bias and activation are part of the product, where there is a kernel for it.

torch writes a bias to the result before it multiplies, and reads and writes all of the result again for an activation.
oneDNN does both on a CPU while it still has the numbers at hand, and cuBLAS a ReLU on a GPU.
`tests/test_linear.py` holds them equal to the plain layer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uamp_model.blocks import by_hand
from uamp_model.devices import lowered
from uamp_model.products import onednn_is_better

Activation = Callable[[Tensor], Tensor]
Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Computes the layer from …×C, its weight and its bias."""


def linear(layer: Any, x: Tensor, activation: Activation | None = None) -> Tensor:
    """An `nn.Linear` over …×C, then an activation, in the precision of autocast, if that is on."""
    kernel = None if torch.is_grad_enabled() or layer.bias is None else _kernel(x, activation)
    if kernel is not None:
        return kernel(*(lowered(part) for part in (x, layer.weight, layer.bias)))
    plain: Tensor = layer(x)
    return plain if activation is None else activation(plain)


def _kernel(x: Tensor, activation: Activation | None) -> Kernel | None:
    """A kernel for layer and activation at once on the device of `x`, if there is one."""
    name = "none" if activation is None else _name(activation)
    if name is not None and by_hand(x) and _onednn_ends(lowered(x).dtype):
        return partial(_by_onednn, name)
    return _by_cublas if name == "relu" and _gpu_ends(x) else None


def _by_onednn(name: str, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], "none")
    return out


def _by_cublas(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch._addmm_activation(bias, x, weight.t())


def _name(activation: Activation) -> str | None:
    """What oneDNN calls an activation, if it has it."""
    if activation is F.relu or isinstance(activation, nn.ReLU):
        return "relu"
    return "gelu" if isinstance(activation, nn.GELU) and activation.approximate == "none" else None


def _onednn_ends(dtype: torch.dtype) -> bool:
    """Whether torch has oneDNN's linear layers, and takes oneDNN for products of this precision anyway."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32 and onednn_is_better()


def _gpu_ends(x: Tensor) -> bool:
    """Whether torch has a GPU's product that ends with a ReLU for `x`; compilers find it themselves."""
    return x.dim() == 2 and x.device.type in ("cuda", "meta") and not torch.compiler.is_compiling()
