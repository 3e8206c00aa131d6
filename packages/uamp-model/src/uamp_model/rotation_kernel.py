"""Rotary positions in one pass over the numbers, by Triton, which torch brings along where there is CUDA.

`rotation.py` asks for it and has the plain form; `tests/test_rotation.py` holds the two equal.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 8
"""Rows of all channels that one block of threads works on."""


def rotate_in_place(x: Tensor, rotation: Tensor, placed: int) -> None:
    """Rotate the first rows of N×L×C numbers, and round them once.

    Args:
        x: any floating dtype, in one piece; C is a power of two.
        rotation: P×C/2 complex table.
        placed: how many rows of each of the N, a multiple of P; the others stay as they are.
    """
    count = len(x) * placed
    if count == 0:
        return
    table = torch.view_as_real(rotation).contiguous()
    with torch.cuda.device_of(x):
        _rotate_rows[(triton.cdiv(count, _ROWS),)](
            x, table, count, placed, x.shape[1], len(rotation), WIDTH=x.shape[2], ROWS=_ROWS, enable_fp_fusion=True
        )


# one kernel whatever these are, which is then the one that was tried; loads are as wide without knowing them
@triton.jit(do_not_specialize=["count", "placed", "length", "places"])
def _rotate_rows(x, table, count, placed, length, places, WIDTH: tl.constexpr, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row[:, None] < count
    channel = tl.arange(0, WIDTH)[None, :]
    where = (row // placed).to(tl.int64) * length + row % placed
    at = x + where[:, None] * WIDTH + channel
    numbers = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    angles = tl.load(table + (row % placed % places)[:, None] * WIDTH + channel, mask=inside, other=0.0)
    real, imaginary = tl.split(tl.reshape(numbers, (ROWS, WIDTH // 2, 2)))
    cos, sin = tl.split(tl.reshape(angles, (ROWS, WIDTH // 2, 2)))
    turned = tl.join(real * cos - imaginary * sin, real * sin + imaginary * cos)
    tl.store(at, tl.reshape(turned, (ROWS, WIDTH)).to(x.dtype.element_ty), mask=inside)
