"""Rotary positions: pairs of channels are turned by angles that depend on where a cell is (Su et al., 2021).

SAM 2 turns queries and keys of its memory attention so, each by the table of its grid. The plain form is the complex
product; on a GPU it passes over all numbers five times, where `rotation_kernel.py` does once.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from uamp_model.blocks import BETWEEN, by_hand

logger = logging.getLogger(__name__)


InPlace = Callable[[Tensor, Tensor, int], None]
"""What rotates N×L×C by a table in place, of each of the N so many rows."""


def rotation_of(module: Any, device: torch.device) -> Tensor:
    """hw×C/2 complex rotary table of the module's own grid, which is on that device from then on."""
    if module.freqs_cis.device != device:  # sam2 moves no buffer of it with the module
        with torch.inference_mode(False):  # so that it can be trained through afterwards
            module.freqs_cis = module.freqs_cis.to(device)
    table: Tensor = module.freqs_cis
    return table


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate N×L×C by place, with L×C/2 of the table; in place where that can be, and on a CPU always."""
    if torch.compiler.is_compiling():
        return _turn(x, rotation)
    if not by_hand(x):
        return _rotate_whole(x, rotation, x.shape[1])
    rows = max(1, BETWEEN // x.shape[-1])
    for first in range(0, len(rotation), rows):
        piece = slice(first, first + rows)
        part = x[:, piece]
        turned = rotate_plainly(part, rotation[piece], part.shape[1])
        if turned is not part:
            part.copy_(turned)
    return x


def rotate_keys(keys: Tensor, rotation: Tensor, placed: int) -> Tensor:
    """Rotate the spatial ones of N×L×C keys, the first ones, frame by frame; in place as `rotate` does."""
    if torch.compiler.is_compiling():
        spatial, pointers = keys[:, :placed], keys[:, placed:]
        turned = _turn(spatial.unflatten(1, (-1, len(rotation))), rotation)
        return torch.cat([turned.flatten(1, -2), pointers], dim=1)
    if not by_hand(keys):
        return _rotate_whole(keys, rotation, placed)
    for frame in keys[:, :placed].unflatten(1, (-1, len(rotation))).unbind(1):
        rotate(frame, rotation)
    return keys


def rotate_plainly(x: Tensor, rotation: Tensor, placed: int) -> Tensor:
    """N×L×C whose first `placed` rows are rotated, in float32 and then rounded; in place if they are float32."""
    wide = x.float()
    pairs = torch.view_as_complex(wide[:, :placed].unflatten(-1, (-1, 2)))
    pairs.unflatten(1, (-1, len(rotation))).mul_(rotation)
    return wide.to(x.dtype)


def _rotate_whole(x: Tensor, rotation: Tensor, placed: int) -> Tensor:
    width = x.shape[-1]
    fits = x.is_contiguous() and width & (width - 1) == 0 and not (torch.is_grad_enabled() and x.requires_grad)
    in_place = _kernel_on(x.device, x.dtype, width) if fits and x.device.type == "cuda" else None
    if in_place is None:
        return rotate_plainly(x, rotation, placed)
    in_place(x, rotation, placed)
    return x


@cache
def _kernel_on(device: torch.device, dtype: torch.dtype, width: int) -> InPlace | None:
    """The kernel, if it can be made for a GPU and says what the plain form says there, of so many channels."""
    try:
        from uamp_model.rotation_kernel import rotate_in_place

        angles = torch.arange(8.0 * width, device=device).view(16, width // 2)
        table = torch.polar(torch.ones_like(angles), angles)
        x = torch.linspace(-2, 2, 2 * 37 * width, device=device).view(2, 37, width).to(dtype)
        expected = rotate_plainly(x.clone(), table, 32)  # of two objects and frames, with pointers behind
        rotate_in_place(x, table, 32)
        torch.testing.assert_close(x, expected)
    except ModuleNotFoundError:  # there is no Triton
        return None
    except Exception as error:  # whatever a compiler or a driver may have to say
        reason = str(error).partition("\n")[0]
        logger.warning("no kernel that rotates could be made on %s, which is slower without: %s", device, reason)
        return None
    return rotate_in_place


def _turn(x: Tensor, rotation: Tensor) -> Tensor:
    """The rotation in real numbers, since torch's compiler makes no code for complex ones."""
    real, imaginary = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = torch.view_as_real(rotation).unbind(-1)
    turned = torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=-1)
    return turned.flatten(-2).to(x.dtype)
