"""Which cells of a tracked frame's memory are worth reading, where not all of them are. Shapes: see `types.py`.

Conditioning frames are read whole: they are what was given. What else may be read is spent on the newest frames, one
after the other: a network that was trained to read whole frames loses less by reading fewer of them than by reading
parts of many (docs/performance.md). Of the frame that is read in part, the cells in and around the object come first,
the sure ones before others, then a coarse grid of the rest, so that queries beside the object still find what they
look like. What is read stands in for what is not: otherwise less would be read of all tracked frames, and more of the
conditioning frames. The same cells of the frame at hand, as many as the budget's share, are what its own cells read in
self-attention from the second layer on.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.errors import InputError
from uamp_model.propagation import to_cells

FULL = 1.0
SMALLEST_BUDGET = 0.2
"""Below, hardly more than the conditioning frame would be left."""
STAND_IN = 0.7
"""How far the cells that are read stand in for the others, from 0 to 1; see `stand_in`."""
GRID = 4
"""Cells between those that are kept everywhere."""
_REACH = 3
"""Cells around the object that count as near, and are kept from the nearest outwards."""
_GRID_WORTH, _SURE_WORTH = 0.6, 0.25


@dataclass(frozen=True, slots=True)
class Share:
    """How many cells are read where not all are.

    Attributes:
        tracked: of tracked frames' memories, the newest first; frames beyond are not read.
        own: of the frame itself, in self-attention.
    """

    tracked: tuple[int, ...]
    own: int


def check_budget(budget: float) -> float:
    """The same number.

    Raises:
        InputError: if it is no share of the memory that can be read.
    """
    if not SMALLEST_BUDGET <= budget <= FULL:
        raise InputError(f"The memory budget {budget:g} must be from {SMALLEST_BUDGET:g} to 1, the whole memory.")
    return budget


def share_of(budget: float, cells: int, memories: int) -> Share | None:
    """What may be read so that a full memory costs the share `budget`; None if that is all of it.

    Args:
        budget: share of the cells of all `memories`.
        cells: hw of one of them.
        memories: num_maskmem, one of which is the conditioning frame and stays whole.
    """
    if budget == FULL:
        return None
    room = max(round((budget * memories - 1) * cells), 1)
    whole, part = divmod(room, cells)
    return Share((*whole * (cells,), *(part,) * (part > 0)), max(round(budget * cells), 1))


def stand_in(cells: int, read: int) -> float:
    """What is added to the attention logits of `read` cells that stand for `cells`.

    With `STAND_IN` 1 they get as much of the attention as `cells` copies of them would. With 0 attention goes over from
    the tracked frames to the conditioning frames, all of whose cells are read.
    """
    return STAND_IN * math.log(cells / read)


def informative_cells(logits: Tensor, uncertainty: Tensor, cells: tuple[int, int], count: int) -> Tensor:
    """The `count` most informative cells for each object.

    Args:
        logits: N×1×4h×4w mask logits.
        uncertainty: N×1×4h×4w in [0, 1].
        cells: h and w.
        count: how many.

    Returns:
        N×count indices of cells, row by row, the most informative first.
    """
    inside = F.adaptive_max_pool2d((logits.float() > 0).float(), cells)
    near, ring = inside, inside
    for step in range(1, _REACH + 1):
        ring = F.max_pool2d(ring, 3, stride=1, padding=1)
        near = torch.maximum(near, ring * (1 - step / (_REACH + 1)))
    doubt = to_cells(uncertainty, cells)
    worth = near - _SURE_WORTH * doubt * (near > 0)
    grid = torch.zeros(cells, device=logits.device)
    grid[GRID // 2 :: GRID, GRID // 2 :: GRID] = _GRID_WORTH
    worth = torch.maximum(worth, grid)
    return worth.flatten(1).topk(count, dim=1).indices
