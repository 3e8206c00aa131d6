"""Linear layers whose bias and activation are part of the product, where there is a kernel for it.

torch writes a bias to the result before it multiplies, and reads and writes all of the result again for an activation.
oneDNN does both on a CPU while it still has the numbers at hand, and cuBLAS a ReLU on a GPU.
`tests/test_linear.py` holds them equal to the plain layer.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uamp_model.blocks import by_hand
from uamp_model.devices import lowered
from uamp_model.products import onednn_is_better

Activation = Callable[[Tensor], Tensor]


def linear(layer: Any, x: Tensor, activation: Activation | None = None) -> Tensor:
    """What an activation says of what an `nn.Linear` says of …×C, in the precision of autocast, if that is on."""
    known = None if activation is None else _name(activation)
    if not torch.is_grad_enabled() and layer.bias is not None and (activation is None or known is not None):
        if by_hand(x) and _onednn_ends(lowered(x).dtype):
            x, weight, bias = (lowered(part) for part in (x, layer.weight, layer.bias))
            out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, known or "none", [], "none")
            return out
        if known == "relu" and _gpu_ends(x):
            x, weight, bias = (lowered(part) for part in (x, layer.weight, layer.bias))
            return torch._addmm_activation(bias, x, weight.t())
    plain: Tensor = layer(x)
    return plain if activation is None else activation(plain)


def _name(activation: Activation) -> str | None:
    """What oneDNN calls it, if it knows it."""
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
