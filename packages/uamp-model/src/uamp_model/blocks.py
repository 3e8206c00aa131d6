"""Work cut up so that what lies between two steps of it stays in a CPU core's cache; a GPU takes it whole."""

from collections.abc import Callable

import torch
from torch import Tensor

FEWEST_ROWS = 128
"""Fewer rows at a time make matrix products slow."""
BETWEEN = 2**18
"""Numbers in the widest intermediate result: what fits a core's own cache."""


def by_hand(x: Tensor) -> bool:
    """Whether work on `x` is cut up to fit a CPU's caches; a GPU, and what is compiled, takes it whole."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def by_rows(function: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
    """Apply a function to …×C rows, on a CPU some rows at a time, so that its intermediate results stay in the cache.

    Args:
        function: treats each row alone and keeps its width.
        x: the rows.
        width: of the widest intermediate result.
    """
    return in_parts(function, x.flatten(0, -2), max(FEWEST_ROWS, BETWEEN // width)).view(x.shape)


def in_parts(function: Callable[[Tensor], Tensor], x: Tensor, count: int) -> Tensor:
    """Apply a function along the first axis, on a CPU to `count` entries at a time.

    Args:
        function: treats each `count` entries alone; it may return fewer than it is given, but always the same share.
        x: the entries.
        count: how many at a time; the last may be fewer.
    """
    if not by_hand(x) or len(x) <= count:
        return function(x)
    said = function(x[:count])
    each = len(said)
    out = said.new_empty(len(x) * each // count, *said.shape[1:])
    out[:each] = said
    for number in range(1, -(-len(x) // count)):
        out[number * each : (number + 1) * each] = function(x[number * count : (number + 1) * count])
    return out
