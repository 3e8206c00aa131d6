"""SAM 2's image encoder with fewer passes over memory: the fast form, for inference.

It says what `sam2.modeling.backbones` says, up to rounding. What it saves:

- The trunk's positions are a small table, enlarged by cubic interpolation. That is linear in rows and in columns, so
  that two thin products do it, where torch goes through the pixels one by one.
- Attention is written out as products on a CPU, where torch's fused kernel is slow for pieces as small as windows,
  but in fp32 on Intel's.
- On a CPU, a block that looks at windows goes over a map in bands of them, so that queries, keys, values and the wide
  part of the feed-forward layer stay in the cache. Large pieces of new memory cost as much as the arithmetic.
- Maps stay channels last, so that 1×1 convolutions are products and windows are copied once each way.
- Where a fine level goes through two 1×1 convolutions in a row, their product is one.
- Sine encodings are only made for the level that is asked for.

`tests/test_fast_forms.py` holds it equal to the plain form. Shapes: see `types.py`; maps here are B×h×w×C.
"""

from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model import softmax
from uamp_model.attention import Part, average
from uamp_model.blocks import by_hand, by_rows, in_parts
from uamp_model.devices import lowered
from uamp_model.linear import linear
from uamp_model.products import mkl_is_wide

_BAND = 2**18
"""Numbers of a map that go through a block at a time where it looks at windows."""
_WHOLE_SCORES = 2**22
"""Attention scores of windows are made at once up to so many a head; beyond, in blocks of rows."""


def can_encode(encoder: Part) -> bool:
    """Whether the fast form knows this `ImageEncoder`: all of SAM 2's are such."""
    neck: Part = encoder.neck
    sums = neck.fpn_interp_model == "nearest" and neck.fuse_type == "sum"
    pools = tuple(encoder.trunk.q_stride) == (2, 2)
    return not encoder.training and sums and pools and bool(encoder.trunk.return_interm_layers)


def encode_levels(encoder: Part, images: Tensor, ends: Mapping[int, Part]) -> list[Tensor]:
    """The feature levels of images, from fine to coarse.

    Args:
        encoder: SAM 2's `ImageEncoder`.
        images: B×3×S×S.
        ends: by level, a further 1×1 convolution that is to follow.

    Returns:
        B×h×w×C each.
    """
    neck: Part = encoder.neck
    levels = trunk_levels(encoder.trunk, images)
    scalp = int(encoder.scalp)
    fused = _fuse(neck, levels, ends)
    return fused[:-scalp] if scalp > 0 else fused


def trunk_levels(trunk: Part, images: Tensor) -> list[Tensor]:
    """What a `Hiera` says of images B×3×S×S at the end of each stage, from fine to coarse."""
    x = trunk.patch_embed(images)
    x = _with_positions(trunk, x)
    levels = []
    for number, block in enumerate(trunk.blocks):
        x = _block(block, x)
        if number in trunk.stage_ends:
            levels.append(x)
    return levels


def _with_positions(trunk: Part, x: Tensor) -> Tensor:
    """Maps with their positions: a small table, enlarged, and one of a window, repeated."""
    table: Tensor = trunk.pos_embed[0]
    window: Tensor = trunk.pos_embed_window[0].permute(1, 2, 0)
    _, h, w, c = x.shape
    rows, columns = (_cubic_weights(*sizes, table.device) for sizes in zip(table.shape[1:], (h, w), strict=True))
    wide = (columns.t() @ table.permute(1, 2, 0)).flatten(1)  # k×wC
    side = len(window)
    tiled = window.repeat(1, w // side, 1)  # side×w×C
    if not by_hand(x):
        return x + (rows.t() @ wide).view(h, w, c) + tiled.repeat(h // side, 1, 1)
    x = x.float()
    for top in range(0, h, side):
        band = slice(top, top + side)
        x[:, band] += (rows[:, band].t() @ wide).view(side, w, c) + tiled
    return x


def _cubic_weights(count: int, length: int, device: torch.device) -> Tensor:
    """count×length weights by which cubic interpolation makes `length` values of `count`."""
    one_of_each = torch.eye(count, device=device).view(1, count, count, 1)
    return F.interpolate(one_of_each, (length, 1), mode="bicubic", align_corners=False).view(count, length)


def _block(block: Part, x: Tensor) -> Tensor:
    """A block; on a CPU, where it looks at windows, in bands of these, so that what lies between stays in its cache."""
    side = int(block.window_size)
    if not side or not by_hand(x):
        return _whole_block(block, x)
    bands = max(_BAND // x[0, :side].numel(), 1)
    said = [in_parts(lambda band: _whole_block(block, band[None])[0], image, side * bands) for image in x]
    return torch.stack(said) if len(said) > 1 else said[0][None]


def _whole_block(block: Part, x: Tensor) -> Tensor:
    normed = lowered(block.norm1(x))
    widens = block.dim != block.dim_out
    shortcut = _pool(block.pool, block.proj(normed)) if widens else x
    h, w = shortcut.shape[1:3]
    side = int(block.window_size)
    seen = _attend(block.attn, _windows(normed, side) if side else normed)
    if side:
        seen = _whole(seen, seen.shape[1], h, w)
    x = shortcut + seen
    if side:
        return _feed_forward(block, x)
    return by_rows(partial(_feed_forward, block), x, block.mlp.layers[0].out_features)


def _feed_forward(block: Part, rows: Tensor) -> Tensor:
    wide, narrow = block.mlp.layers
    return rows + linear(narrow, linear(wide, block.norm2(rows), block.mlp.act))


def _pool(pool: Part | None, x: Tensor) -> Tensor:
    """The highest of 2×2 cells."""
    if pool is None:
        return x
    if not by_hand(x):
        highest: Tensor = pool(x.permute(0, 3, 1, 2))
        return highest.permute(0, 2, 3, 1)
    upper, lower = (torch.maximum(x[:, row::2, 0::2], x[:, row::2, 1::2]) for row in (0, 1))
    return torch.maximum(upper, lower)


def _windows(x: Tensor, side: int) -> Tensor:
    """B×h×w×C in pieces of side×side; what lies beyond the edge is 0, and takes part, as in SAM 2."""
    b, h, w, c = x.shape
    below, right = -h % side, -w % side
    if below or right:
        x = F.pad(x, (0, 0, 0, right, 0, below))
    pieces = x.view(b, (h + below) // side, side, (w + right) // side, side, c)
    return pieces.permute(0, 1, 3, 2, 4, 5).reshape(-1, side, side, c).contiguous()


def _whole(pieces: Tensor, side: int, h: int, w: int) -> Tensor:
    """The B×h×w×C of which these are the pieces."""
    down, across = -(-h // side), -(-w // side)
    grid = pieces.view(-1, down, across, side, side, pieces.shape[-1]).permute(0, 1, 3, 2, 4, 5)
    return grid.reshape(len(grid), down * side, across * side, -1)[:, :h, :w]


def _attend(attention: Part, x: Tensor) -> Tensor:
    """Attention within each of W×s×s×C windows; W×s×s×C, of half the side where queries are pooled."""
    count, h, w, _ = x.shape
    heads = int(attention.num_heads)
    qkv = linear(attention.qkv, x).view(count, h, w, 3, -1)
    q = _pool(attention.q_pool, qkv[..., 0, :])
    rows, columns = q.shape[1:3]
    k, v = (qkv[..., part, :].reshape(count, h * w, heads, -1) for part in (1, 2))
    q = q.reshape(count, rows * columns, heads, -1)
    seen = _average_heads(q, k, v).reshape(count, rows, columns, -1)
    return linear(attention.proj, seen)


def _average_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """W×Q×heads×E averages of values W×L×heads×E for queries W×Q×heads×E and keys W×L×heads×E."""
    if not by_hand(q) or (q.dtype == torch.float32 and mkl_is_wide()):
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    count, queries, heads, _ = q.shape
    q, k, v = (part.permute(2, 0, 1, 3).flatten(0, 1) for part in (q, k, v))
    if queries * k.shape[1] > _WHOLE_SCORES:
        seen = average(q, k, v)
    else:
        seen = torch.empty_like(q)
        q, k = q * (q.shape[-1] ** -0.5 * softmax.SCALE), k.transpose(1, 2)
        softmax.average_by(lambda columns: torch.bmm(q, k[..., columns]), v, seen)
    return seen.view(heads, count, queries, -1).permute(1, 2, 0, 3)


def _fuse(neck: Part, levels: list[Tensor], ends: Mapping[int, Part]) -> list[Tensor]:
    """The pyramid: each level in the common width, and the coarser one added where the neck says so."""
    from_above = set(neck.fpn_top_down_levels)
    coarsest = len(levels) - 1
    fused: list[Tensor] = []
    above: Tensor | None = None
    for level in range(coarsest, -1, -1):
        weight, bias = _as_product(neck.convs[coarsest - level].conv)
        added = above is not None and level in from_above
        end = ends.get(level)
        if end is not None and not added and level - 1 not in from_above:
            last, last_bias = _as_product(end)
            x = F.linear(levels[level], last @ weight, last @ bias + last_bias)
        else:
            x = F.linear(levels[level], weight, bias)
            if added and above is not None:
                x = _doubled(above, x)
            above = x
            if end is not None:
                x = F.linear(x, *_as_product(end))
        fused.insert(0, x)
    return fused


def _doubled(coarse: Tensor, fine: Tensor) -> Tensor:
    """A fine map plus a coarse one, each cell of which lies over four."""
    b, h, w, c = coarse.shape
    return (fine.view(b, h, 2, w, 2, c) + coarse.view(b, h, 1, w, 1, c)).view(b, 2 * h, 2 * w, c)


def _as_product(conv: Part) -> tuple[Tensor, Tensor]:
    """Weight and bias of a 1×1 convolution as those of a linear layer."""
    return conv.weight.flatten(1), conv.bias
