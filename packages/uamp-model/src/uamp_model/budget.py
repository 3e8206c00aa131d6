"""What of memory is read, where not all of it may be. Shapes: see `types.py`.

The cells of a frame where the mask before it was most in doubt, above all the object's outline, read the whole memory
and all of the frame itself. The others read an even part: half of a conditioning frame, less of a tracked one, most of
the newest. Of each, most cells come from in and around the object and some from everywhere else, either of them evenly
spread, and each stands for as many as there are to one that is read: so attention weighs object against background,
and frame against frame, as if it read all (docs/memory_budget.md). Likewise the others read an even share of the frame
itself, from the second layer of self-attention on.
"""

from dataclasses import dataclass
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.errors import InputError
from uamp_model.propagation import to_cells

FULL = 1.0
SMALLEST_BUDGET = 0.2
"""Below, hardly more than what the doubtful cells read would be left."""
DOUBTFUL = 0.4
"""Of a budget, the part that cells in doubt have, which read all."""
GIVEN = 3 / 7
"""Of what the others may read, a conditioning frame's part."""
NEWEST = 1 / 3
"""Of what they may read of tracked frames, the newest one's part."""
NEAR = 0.7
"""Of what is read of a frame, the part that lies in and around the object."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many cells are read where not all are.

    Attributes:
        doubtful: cells of a frame that read everything.
        given: cells of a conditioning frame's memory that the others read.
        tracked: those of tracked frames' memories, the newest first.
        own: those of the frame itself, in self-attention.
    """

    doubtful: int
    given: int
    tracked: tuple[int, ...]
    own: int


@dataclass(frozen=True, slots=True)
class Reading:
    """How a frame of N objects is read in part, and which cells of the next frame read everything.

    Attributes:
        order: N×hw cells, those that are read first.
        near: N×hw booleans, see `near_object`.
        doubtful: N×hw cells, the most doubtful first.
    """

    order: Tensor
    near: Tensor
    doubtful: Tensor

    def of(self, row: int) -> "Reading":
        """One object's part, as its own copy."""
        return Reading(*(part[row : row + 1].clone() for part in (self.order, self.near, self.doubtful)))


def check_budget(budget: float) -> float:
    """The budget itself.

    Raises:
        InputError: if it is not from `SMALLEST_BUDGET` to `FULL`.
    """
    if not isinstance(budget, Real) or not SMALLEST_BUDGET <= budget <= FULL:
        raise InputError(
            f"The memory budget {budget} must be a number from {SMALLEST_BUDGET:g} to 1, the whole memory."
        )
    return budget


def share_of(budget: float, cells: int, memories: int) -> Share | None:
    """What may be read so that a full memory costs the share `budget`; None if that is all of it.

    Args:
        budget: share of all pairs of a frame's cell and a cell of one of the `memories`.
        cells: hw of a frame.
        memories: num_maskmem, one of which is the conditioning frame.
    """
    if budget == FULL:
        return None
    doubtful = max(round(DOUBTFUL * budget * cells), 1)
    part = (budget * cells - doubtful) / (cells - doubtful)
    room, others = max(round(part * memories * cells), memories), max(memories - 2, 1)
    given = min(cells, round(GIVEN * room))
    newest = min(cells, round(NEWEST * (room - given)))
    each = min(cells, (room - given - newest) // others)
    return Share(doubtful, given, (newest, *(each,) * (memories - 2)), max(round(part * cells), 1))


def reading_of(logits: Tensor, uncertainty: Tensor, cells: tuple[int, int]) -> Reading:
    """How a frame is read on which N objects have these masks and doubts, both N×1×4h×4w."""
    near = near_object(logits, cells)
    return Reading(reading_order(near, cells), near, by_doubt(uncertainty, cells))


def by_doubt(uncertainty: Tensor, cells: tuple[int, int]) -> Tensor:
    """N×hw cells, those of the highest mean uncertainty (N×1×4h×4w) first; equals are spread evenly."""
    order = spread(cells, uncertainty.device)
    doubt = to_cells(uncertainty, cells).flatten(1)[:, order]
    return order[doubt.argsort(dim=1, descending=True, stable=True)]


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
    """N×k, what is added to the attention logits of the cells of a frame that are read, for those that are not.

    Each cell that is read, near the object or not, gets as much of the attention as the cells of its kind that it
    stands for would: log(cells of that kind / cells of it that are read).

    Args:
        near: N×hw booleans, see `near_object`.
        read: N×k cells.
    """
    kind = near.gather(1, read)
    read_near, all_near = kind.sum(1, keepdim=True), near.sum(1, keepdim=True)
    near_worth = (all_near / read_near.clamp_min(1)).clamp_min(1).log()
    far_worth = ((near.shape[1] - all_near) / (read.shape[1] - read_near).clamp_min(1)).clamp_min(1).log()
    return torch.where(kind, near_worth, far_worth)
