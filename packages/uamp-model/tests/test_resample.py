"""Enlarging by products is torch's interpolation."""

import pytest
import torch
import torch.nn.functional as F
from uamp_model.resample import enlarge


@pytest.mark.parametrize("shape", [(64, 64), (16, 16), (1, 1), (130, 40)])
@pytest.mark.parametrize("size", [(480, 854), (64, 64), (65, 30), (1, 1), (7, 300)])
@pytest.mark.parametrize("bf16", [False, True])
def test_bilinear(shape: tuple[int, int], size: tuple[int, int], bf16: bool) -> None:
    torch.manual_seed(0)
    maps = 20 * torch.randn(3, *shape)
    expected = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    assert torch.equal(enlarge(maps, size), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        torch.testing.assert_close(enlarge(maps, size, plainly=False), expected, rtol=1e-5, atol=1e-3)
