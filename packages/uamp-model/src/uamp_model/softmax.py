"""Averages by softmax of scores, with fewer passes over them than softmax itself takes.

Softmax takes each row's highest score off before the exponential, so that it cannot overflow, and divides by the sum
afterwards. A trained network's scores seldom come to where it could: the rows of nano's sum to between 2¹ and 2⁹⁷. Here
exponentials are taken at once, to the base of 2, which the scores are scaled for beforehand and which is the fastest
that torch has; the averages are divided instead of the much more numerous weights. Where a row's sum is so large or so
small that numbers may have been lost, the whole is done again by softmax. `tests/test_softmax.py` holds both equal.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

SCALE = math.log2(math.e)
"""What scores are multiplied by beforehand: 2**(SCALE·x) is e**x."""
_LEAST, _MOST = 2.0**-80, 2.0**112
"""Sums between them are sound: bfloat16 and float32 hold 2**-126 to 2**127, and averages are yet to be divided."""


def average_by(
    scores_of: Callable[[slice], Tensor],
    values: Tensor,
    out: Tensor,
    *,
    columns: int | None = None,
    boldly: bool = True,
) -> bool:
    """Write the averages of values (B×)L×E by softmax over the last axis of scores (B×)Q×L to `out`, (B×)Q×E.

    Args:
        scores_of: computes some columns of the scores, multiplied by `SCALE`. They are overwritten here, and computed
            once more where softmax is needed after all.
        values: what is averaged.
        out: where to.
        columns: how many are used up before the next are computed, so that they stay in a core's cache; all at once
            if None. `out` is rounded after each time.
        boldly: whether to try without softmax first.

    Returns:
        Whether that succeeded, and so whether it is worth trying with scores of the same kind.
    """
    if boldly and _average_boldly(scores_of, values, out, columns or values.shape[-2]):
        return True
    weights = scores_of(slice(None)).div_(SCALE)
    torch.softmax(weights, -1, out=weights)
    _multiply(weights, values, out, add=False)
    return False


def _average_boldly(scores_of: Callable[[slice], Tensor], values: Tensor, out: Tensor, columns: int) -> bool:
    sums = values.new_zeros(())
    for first in range(0, values.shape[-2], columns):
        piece = slice(first, first + columns)
        weights = scores_of(piece)
        torch.exp2(weights, out=weights)
        sums = sums + weights.sum(-1, keepdim=True)
        _multiply(weights, values[..., piece, :], out, add=first > 0)
    least, most = torch.aminmax(sums)
    if not (least > _LEAST and most < _MOST):  # NaN is neither
        return False
    out.div_(sums)
    return True


def _multiply(a: Tensor, b: Tensor, out: Tensor, *, add: bool) -> None:
    """Write the product of matrices, or batches of them, to `out`, or add it to what is there."""
    if add:
        (torch.baddbmm if a.dim() == 3 else torch.addmm)(out, a, b, out=out)
    else:
        (torch.bmm if a.dim() == 3 else torch.mm)(a, b, out=out)
