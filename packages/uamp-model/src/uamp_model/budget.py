"""Which cells of a tracked frame's memory are read, where not all of them are. Shapes: see `types.py`.

Conditioning frames are read whole: they are what was given. What else may be read is shared out over the tracked
frames, more of it to the newest. Of each, most cells come from in and around the object and some from everywhere else,
either of them evenly spread, and each stands for as many as there are to one that is read: so attention weighs object
against background, and frame against frame, as if it read all (docs/performance.md). Likewise the frame's own cells
read, in self-attention from the second layer on, an even share of themselves.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.errors import InputError

FULL = 1.0
SMALLEST_BUDGET = 0.2
"""Below, hardly more than the conditioning frame would be left."""
NEWEST = 1 / 3
"""Of what may be read of tracked frames, the newest one's part."""
NEAR = 0.7
"""Of what is read of a frame, the part that lies in and around the object."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many cells are read where not all are.

    Attributes:
        tracked: of tracked frames' memories, the newest first.
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
    room = max(round((budget * memories - 1) * cells), memories - 1)
    newest = min(cells, round(NEWEST * room))
    others = memories - 2
    each = min(cells, (room - newest) // max(others, 1))
    return Share((newest, *(each,) * others), max(round(budget * cells), 1))


def spread(cells: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """All h·w cells, in an order any first part of which lies evenly: that of ordered dithering (Bayer, 1973)."""
    threshold = torch.zeros(1, 1, device=device)
    while threshold.shape[0] < max(cells):
        left, right = (torch.cat([4 * threshold + up, 4 * threshold + down]) for up, down in ((0, 3), (2, 1)))
        threshold = torch.cat([left, right], dim=1)
    return threshold[: cells[0], : cells[1]].flatten().argsort()


def near_object(logits: Tensor, cells: tuple[int, int]) -> Tensor:
    """N×hw booleans: cells that hold some of the object, and those beside them. Logits are N×1×4h×4w."""
    inside = F.adaptive_max_pool2d((logits.float() > 0).float(), cells)
    return F.max_pool2d(inside, 3, stride=1, padding=1).flatten(1) > 0


def reading_order(near: Tensor, cells: tuple[int, int]) -> Tensor:
    """N×hw cells in the order in which they are read: any first part has a share `NEAR` of near ones, if there are any.

    Args:
        near: N×hw booleans, see `near_object`.
        cells: h and w.
    """
    order = spread(cells, near.device)
    near = near[:, order]
    numbers = torch.where(near, near.cumsum(1) / NEAR, (~near).cumsum(1) / (1 - NEAR))
    return order[numbers.argsort(dim=1, stable=True)]


def stand_in(near: Tensor, read: Tensor) -> Tensor:
    """N×hw, what is added to the attention logits of a frame's cells for those that are not read.

    Each cell that is read, near the object or not, gets as much of the attention as the cells of its kind that it
    stands for would: log(cells of that kind / cells of it that are read).

    Args:
        near: N×hw booleans, see `near_object`.
        read: N×k cells.
    """
    read_near = near.gather(1, read).sum(1, keepdim=True)
    all_near = near.sum(1, keepdim=True)
    near_worth = (all_near / read_near.clamp_min(1)).clamp_min(1).log()
    far_worth = ((near.shape[1] - all_near) / (read.shape[1] - read_near).clamp_min(1)).clamp_min(1).log()
    return torch.where(near, near_worth, far_worth)
