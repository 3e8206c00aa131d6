"""SAM 2's memory encoder with fewer passes over memory: the fast form, for inference.

It says what `sam2.modeling.memory_encoder` says, up to rounding. What it saves:

- The features of an image that all objects see are projected once.
- Maps stay channels last, so that norms over channels are one call and 1×1 convolutions products of whole matrices.

`tests/test_attention.py` holds it equal to the plain form. Shapes: see `types.py`.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uamp_model.attention import Part
from uamp_model.blocks import by_rows, in_parts
from uamp_model.linear import linear

_FEW_CHANNELS = 8
"""Below, norms over channels are faster with pixels next to each other."""
_GPU_CHANNELS = 32
"""Below, a GPU's kernel for norms, which gives each row to a block of threads, leaves most of them idle."""
_PIXELS = 2**20
"""Pixels of masks that are made small at a time on a CPU: some objects of a small model, one of a large one."""


def encode(encoder: Part, seen: Tensor, mask: Tensor) -> Tensor:
    """Memory features of N objects, N×D×h×w.

    Args:
        encoder: SAM 2's `MemoryEncoder`.
        seen: G×C×h×w features; G is 1 if all objects see the same image, else N.
        mask: N×1×S×S, as the encoder wants it.
    """
    small = in_parts(partial(_downsample, encoder.mask_downsampler), mask, max(_PIXELS // mask[0].numel(), 1))
    x = _linear(encoder.pix_feat_proj, seen.permute(0, 2, 3, 1)) + small
    for block in encoder.fuser.layers:
        x = x + _cx_block(block, x)
    if isinstance(encoder.out_proj, nn.Conv2d):
        x = _linear(encoder.out_proj, x)
    return x.permute(0, 3, 1, 2)


def _downsample(downsampler: Part, mask: Tensor) -> Tensor:
    """N×h×w×C of a mask N×1×S×S."""
    parts = list(downsampler.encoder)
    x = mask
    for conv, norm, act in zip(parts[0:-1:3], parts[1:-1:3], parts[2:-1:3], strict=True):
        if conv.out_channels < _FEW_CHANNELS:
            x = act(norm(conv(x)))
        else:
            x = act(_norm(norm, conv(x.contiguous(memory_format=torch.channels_last))))
    return _linear(parts[-1], x.permute(0, 2, 3, 1))


def _cx_block(block: Part, x: Tensor) -> Tensor:
    """What a ConvNeXt block adds to N×h×w×C."""
    near = block.dwconv(x.permute(0, 3, 1, 2))
    normed = _norm(block.norm, near).permute(0, 2, 3, 1)
    out = by_rows(partial(_feed_forward, block), normed, block.pwconv1.out_features)
    return out if block.gamma is None else out * block.gamma


def _feed_forward(block: Part, rows: Tensor) -> Tensor:
    return linear(block.pwconv2, linear(block.pwconv1, rows, block.act))


def _norm(norm: Part, x: Tensor) -> Tensor:
    """The norm over channels of N×C×h×w that lies channels last."""
    last = x.permute(0, 2, 3, 1)
    if x.is_cuda and x.shape[1] < _GPU_CHANNELS:
        normed = short_layer_norm(last, norm.weight, norm.bias, norm.eps)
    else:
        normed = F.layer_norm(last, last.shape[-1:], norm.weight, norm.bias, norm.eps)
    return normed.permute(0, 3, 1, 2)


def short_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """`layer_norm` over a short last axis, written out."""
    x = x.float()
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return torch.addcmul(bias, (x - mean) * torch.rsqrt(variance + eps), weight)


def _linear(conv: Part, x: Tensor) -> Tensor:
    """A 1×1 convolution over N×h×w×C."""
    return F.linear(x.contiguous(), conv.weight.flatten(1), conv.bias)
