"""Enlarging small maps by two thin products. Shapes: see `types.py`.

Interpolation is linear in rows and in columns. Where the map is small, a product with all of its rows takes less time
than torch's interpolation, which goes through the pixels one by one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_SMALL = 128
"""Rows and columns of a map up to which products are faster: about half the time at 64, the same at 256."""


def enlarge(maps: Tensor, size: tuple[int, int], *, plainly: bool = True) -> Tensor:
    """Bilinear enlargement of N×h×w floats to N×H×W, edges not aligned; `plainly` by torch's own, to the last bit."""
    small = maps.device.type == "cpu" and max(maps.shape[-2:]) <= _SMALL
    if plainly or not small:
        return F.interpolate(maps.unsqueeze(1), size, mode="bilinear", align_corners=False)[:, 0]
    with torch.autocast(maps.device.type, enabled=False):
        rows = weights(maps.shape[1], size[0], "bilinear", maps.device)
        columns = weights(maps.shape[2], size[1], "bilinear", maps.device)
        return rows.t() @ (maps @ columns)


def weights(count: int, length: int, mode: str, device: torch.device) -> Tensor:
    """count×length weights by which interpolation makes `length` values of `count`."""
    one_of_each = torch.eye(count, device=device).view(1, count, count, 1)
    return F.interpolate(one_of_each, (length, 1), mode=mode, align_corners=False).view(count, length)
