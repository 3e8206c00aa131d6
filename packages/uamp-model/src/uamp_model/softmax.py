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


def average_by(scores_again: Callable[[], Tensor], values: Tensor, out: Tensor, *, boldly: bool = True) -> bool:
    """Write the averages of values (B×)L×E by softmax over the last axis of scores (B×)Q×L to `out`, (B×)Q×E.

    Args:
        scores_again: computes the scores, multiplied by `SCALE`. They are overwritten here, so that it is called once
            more where softmax is needed after all.
        values: what is averaged.
        out: where to.
        boldly: whether to try without softmax first.

    Returns:
        Whether that succeeded, and so whether it is worth trying with scores of the same kind.
    """
    product = torch.bmm if values.dim() == 3 else torch.mm
    if boldly:
        weights = scores_again()
        torch.exp2(weights, out=weights)
        sums = weights.sum(-1, keepdim=True)
        least, most = torch.aminmax(sums)
        if least > _LEAST and most < _MOST:  # NaN is neither
            product(weights, values, out=out)
            out.div_(sums)
            return True
    weights = scores_again().div_(SCALE)
    torch.softmax(weights, -1, out=weights)
    product(weights, values, out=out)
    return False
