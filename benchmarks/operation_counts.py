"""Teaches torch's counter of operations two products that it does not know; to be imported by what counts."""

import math
from collections.abc import Sequence

import torch
from torch.utils.flop_counter import register_flop_formula


@register_flop_formula(torch.ops.aten._addmm_activation)
def _with_relu(_bias: Sequence[int], a: Sequence[int], b: Sequence[int], *_: object, **__: object) -> int:
    """Of a product M×K by K×N."""
    return 2 * a[0] * a[1] * b[1]


@register_flop_formula(torch.ops.mkldnn._linear_pointwise)
def _linear(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Of …×K by N×K."""
    return 2 * math.prod(x) * weight[0]
