"""SAM 2's memory attention with less arithmetic: the fast form, for inference.

It says what `sam2.modeling.memory_attention` says, up to rounding. What it saves:

- Values are projections of memory tokens, a quarter as wide (64 of 256). Attention weights sum to one, so that
  the tokens can be averaged first and projected afterwards: Σ a·(W m + b) = W·(Σ a·m) + b. (On a CPU, and by cuDNN on
  a GPU; its other fused kernels want keys and values of one width.)
- Tensors that several products read are converted to their precision once.
- All objects of a frame ask with the same features: the first layer's self-attention and queries are computed once.
- Rotary tables and sums of tokens and positions are made once for all layers, and keys are rotated in place, see
  `rotation.py`.
- On a CPU, scores go through matrix products in blocks of rows that fit its caches. In bfloat16 that is about three
  times as fast as torch's fused kernel there.

`tests/test_attention.py` holds it equal to the plain form. Shapes: see `types.py`; L memory tokens.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_cudnn_attention

from uamp_model import softmax
from uamp_model.blocks import FEWEST_ROWS, by_hand, by_rows
from uamp_model.devices import cudnn_is_sound, lowered
from uamp_model.linear import linear
from uamp_model.rotation import rotate, rotate_keys, rotation_of

Part = Any
"""A module of the sam2 package, whose parts have no types."""
Read = tuple[Tensor, Tensor, Tensor | None]
"""Keys N×L×C, values N×L×E and what is added to the scores, N×L."""

_ROWS, _COLUMNS = 512, 512
"""Queries and tokens whose scores a CPU core computes and uses up before the next: what fits its own cache."""
_SCORES = 2**21
"""Scores in one block of whole rows, in bfloat16: its averages would be rounded after each block of tokens."""
_BLOCK_ROWS, _BLOCKS, _MOST_PIECES = 64, 256, 8
"""Queries in one of cuDNN's blocks, twice the blocks that a large GPU works on at once, and pieces of tokens."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What most of a frame's hw cells read, where only some read everything, for N objects; see `budget.py`.

    Attributes:
        whole: N×q cells of the frame that read everything.
        others: N×(hw − q) cells that do not.
        rows: N×k spatial tokens that those read, besides all pointers.
        worth: N×k added to their scores of these tokens.
        own: s cells of the frame itself that they read in self-attention from the second layer on.
    """

    whole: Tensor
    others: Tensor
    rows: Tensor
    worth: Tensor
    own: Tensor

    def of(self, row: slice) -> "Glance":
        """Some objects' part."""
        return Glance(self.whole[row], self.others[row], self.rows[row], self.worth[row], self.own)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What N objects read.

    Attributes:
        values: N×L×D, spatial cells first, pointers last.
        keys: N×L×D, the same with their positions.
        placed: how many are spatial and so are rotated.
        bias: N×L added to the scores, or None.
        glance: what is read in part, or None where all read everything.
    """

    values: Tensor
    keys: Tensor
    placed: int
    bias: Tensor | None = None
    glance: Glance | None = None

    def each(self) -> "Iterator[Tokens]":
        """What each object reads alone."""
        for i in range(len(self.values)):
            row = slice(i, i + 1)
            bias = None if self.bias is None else self.bias[row]
            glance = None if self.glance is None else self.glance.of(row)
            yield Tokens(self.values[row], self.keys[row], self.placed, bias, glance)


def attend(attention: Part, now: Tensor, position: Tensor, tokens: Tokens, *, narrow: bool | None = None) -> Tensor:
    """Let features read memory.

    Args:
        attention: SAM 2's `MemoryAttention`.
        now: G×hw×C features of the frame; G is 1 if all objects see the same image, else N.
        position: 1×hw×C, their sine encoding.
        tokens: what is read.
        narrow: average tokens before they are projected; by default where that is faster.

    Returns:
        N×hw×C.
    """
    scratch = _Scratch(tokens.values)
    if narrow is None:
        narrow = by_hand(tokens.values) or kernel_averages_narrow(attention, tokens.values)
    tokens = Tokens(lowered(tokens.values), lowered(tokens.keys), tokens.placed, tokens.bias, tokens.glance)
    out = now + 0.1 * position if attention.pos_enc_at_input else now.clone()
    for number, layer in enumerate(attention.layers):
        normed = layer.norm1(out)
        values = lowered(normed)
        asked = lowered(normed + position) if layer.pos_enc_at_attn else values
        glance = tokens.glance if number > 0 else None  # the first layer's is the same for all objects
        out = _add(out, _attend_self(layer.self_attn, asked, values, scratch, glance))
        normed = layer.norm2(out)
        asked = normed + position if layer.pos_enc_at_cross_attn_queries else normed
        told = tokens.keys if layer.pos_enc_at_cross_attn_keys else tokens.values
        out = _add(out, _attend_memory(layer.cross_attn_image, asked, told, tokens, scratch, narrow=narrow))
        out = _add(out, by_rows(partial(_feed_forward, layer), out, layer.linear1.out_features))
    result: Tensor = attention.norm(out)
    return result


def _add(out: Tensor, x: Tensor) -> Tensor:
    """Their sum; in place where it fits, since large pieces of new memory cost as much as the arithmetic."""
    fits = out.shape == x.shape and torch.promote_types(out.dtype, x.dtype) == out.dtype
    return out.add_(x) if fits else out + x


def _feed_forward(layer: Part, rows: Tensor) -> Tensor:
    return linear(layer.linear2, linear(layer.linear1, layer.norm3(rows), layer.activation))


def average(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Averages of values N×L×E by attention of queries N×Q×C to keys N×L×C: N×Q×E."""
    return _Scratch(k).average(q, k, values, None)


def can_attend(attention: Part) -> bool:
    """Whether the fast form knows this attention: one head, as all of SAM 2's have, and nothing to be dropped out."""
    return not attention.training and all(
        layer.self_attn.num_heads == 1 and layer.cross_attn_image.num_heads == 1 for layer in attention.layers
    )


def _attend_self(own: Part, asked: Tensor, values: Tensor, scratch: "_Scratch", glance: Glance | None) -> Tensor:
    rotation = rotation_of(own, asked.device)
    q, k = (rotate(project(asked), rotation) for project in (own.q_proj, own.k_proj))
    v = own.v_proj(values)
    if glance is None:
        read = scratch.average(q, k, v, None)
    else:
        read = scratch.average_two(q, glance, (k, v, None), (k[:, glance.own], v[:, glance.own], None))
    out: Tensor = own.out_proj(read)
    return out


def _attend_memory(
    cross: Part, asked: Tensor, told: Tensor, tokens: Tokens, scratch: "_Scratch", *, narrow: bool
) -> Tensor:
    """What cells read of tokens, whose keys are projections of `told`."""
    rotation = rotation_of(cross, asked.device)
    q = rotate(cross.q_proj(asked), rotation)
    values = tokens.values.to(q.dtype) if narrow else cross.v_proj(tokens.values)
    if by_hand(q):
        # one object after the other: its keys stay in the CPU's cache until they have been read
        each = []
        for i, own in enumerate(tokens.each()):
            keys = rotate_keys(scratch.keys(cross.k_proj, told[i : i + 1]), rotation, own.placed)
            mine = q[i : i + 1] if len(q) > 1 else q
            each.append(_read(mine, keys, values[i : i + 1], own, scratch))
        read = torch.cat(each)
    else:
        keys = rotate_keys(cross.k_proj(told), rotation, tokens.placed)
        read = _read(q, keys, values, tokens, scratch)
    out: Tensor = cross.out_proj(cross.v_proj(read) if narrow else read)
    return out


def _read(q: Tensor, keys: Tensor, values: Tensor, tokens: Tokens, scratch: "_Scratch") -> Tensor:
    """Averages of values by queries: of all tokens, or for most cells of those that a glance is of."""
    if (glance := tokens.glance) is None:
        return scratch.average(q, keys, values, tokens.bias)
    pointers = torch.arange(tokens.placed, keys.shape[1], device=keys.device)
    rows = torch.cat([glance.rows, pointers.expand(len(keys), -1)], dim=1)
    worth = F.pad(glance.worth, (0, len(pointers)))
    bias = worth if tokens.bias is None else worth + tokens.bias.gather(1, rows)
    part = (_pick(keys, rows), _pick(values, rows), bias)
    return scratch.average_two(q, glance, (keys, values, tokens.bias), part)


def _pick(x: Tensor, rows: Tensor) -> Tensor:
    """Rows N×k of N×L×C, or of 1×L×C that all share."""
    picked = x.flatten(0, 1).index_select(0, _flat(rows, x.shape[1] if len(x) > 1 else 0))
    return picked.view(*rows.shape, -1)


def _put(x: Tensor, rows: Tensor) -> Tensor:
    """The inverse of `_pick`: N×L×C whose rows N×L are those of `x`."""
    return torch.empty_like(x).flatten(0, 1).index_copy_(0, _flat(rows, x.shape[1]), x.flatten(0, 1)).view_as(x)


def _flat(rows: Tensor, length: int) -> Tensor:
    """Where rows N×k of N×length lie in all of them one after the other."""
    first = length * torch.arange(len(rows), device=rows.device)
    return (rows + first.unsqueeze(1)).flatten()


def kernel_averages_narrow(attention: Part, values: Tensor) -> bool:
    """Whether a fused kernel averages N×L×D tokens, narrower than memory attention's keys: cuDNN's, where it may.

    Other kernels refuse, or are several times slower, also a CPU's, which compiled code attends by.
    """
    return cudnn_attends(lowered(values), int(attention.layers[0].cross_attn_image.internal_dim))


def cudnn_attends(values: Tensor, keys: int) -> bool:
    """Whether cuDNN may attend, see `devices.steady_attention`, and takes such values beside keys of that width."""
    if values.device.type != "cuda" or not (torch.backends.cuda.cudnn_sdp_enabled() and cudnn_is_sound()):
        return False
    return _cudnn_takes(values.device, values.dtype, keys, values.shape[-1])


@cache
def _cudnn_takes(device: torch.device, dtype: torch.dtype, keys: int, values: int) -> bool:
    """Asked of torch, since it depends on the GPU, on cuDNN and on torch itself."""
    k, v = (torch.empty(1, 1, _BLOCK_ROWS, width, device=device, dtype=dtype) for width in (keys, values))
    return bool(can_use_cudnn_attention(SDPAParams(k, k, v, None, 0.0, False, False)))


def pieces_of(objects: int, queries: int, length: int) -> int:
    """In how many pieces tokens are read, so that a GPU has enough blocks of queries and pieces to work on."""
    wanted = min(_MOST_PIECES, _BLOCKS // (objects * -(-queries // _BLOCK_ROWS)))
    return next(count for count in range(max(wanted, 1), 0, -1) if length % count == 0)


def average_pieces(
    q: Tensor, k: Tensor, values: Tensor, pieces: int, attend: Callable[..., tuple[Tensor, Tensor]]
) -> Tensor:
    """Averages of values N×L×E by attention of queries N×Q×C to keys N×L×C, read in pieces of equal length.

    Each piece's average counts by the sum of exponentials of its scores, as in Dao et al.'s flash decoding (2023).

    Args:
        q: queries.
        k: keys.
        values: what is averaged.
        pieces: L is a multiple of it.
        attend: what N×pieces queries say of as many keys and values, and the logarithm of those sums, N×pieces×Q(×1).
    """
    count = len(k)
    asked = q.unsqueeze(1).expand(-1, pieces, -1, -1).contiguous()
    means, weights = attend(asked, *(part.reshape(count, pieces, -1, part.shape[-1]) for part in (k, values)))
    if pieces == 1:
        return means.squeeze(1)
    share = torch.softmax(weights.float().view(count, pieces, -1, 1), dim=1)
    return (means * share).sum(1).to(values.dtype)


def _average_by_kernel(q: Tensor, k: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """`_Scratch.average` by one of torch's fused kernels."""
    count = len(k)
    q = q.expand(count, -1, -1).contiguous()  # cuDNN lays its result out as its queries are
    if bias is None and not torch.compiler.is_compiling() and cudnn_attends(values, k.shape[-1]):
        pieces = pieces_of(count, q.shape[1], k.shape[1])
        return average_pieces(q, k, values, pieces, _attend_by_cudnn)
    mask = None if bias is None else bias[:, None, None, :].to(q.dtype)
    whole = F.scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), values.unsqueeze(1), attn_mask=mask)
    return whole.squeeze(1)


def _attend_by_cudnn(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Its attention with the logarithms of sums, which torch's public function does not give."""
    found = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, True)
    return found[0], found[1]


class _Scratch:
    """Averages by attention, with memory for scores and for keys that all layers and objects share."""

    def __init__(self, like: Tensor) -> None:
        self._by_hand = by_hand(like)
        self._scores: Tensor | None = None
        self._keys: Tensor | None = None

    def keys(self, project: Part, told: Tensor) -> Tensor:
        """1×L×C keys of 1×L×D tokens: until the next object's or layer's are asked for."""
        rows, weight, bias = (lowered(part) for part in (told[0], project.weight, project.bias))
        shape = (len(rows), len(weight))
        if self._keys is None or self._keys.shape != shape:
            self._keys = rows.new_empty(shape)
        return torch.addmm(bias, rows, weight.t(), out=self._keys)[None]

    def average_two(self, q: Tensor, glance: Glance, everything: Read, part: Read) -> Tensor:
        """`average` where cells in doubt read everything, the others a part."""
        found = [self.average(_pick(q, glance.whole), *everything), self.average(_pick(q, glance.others), *part)]
        return _put(torch.cat(found, dim=1), torch.cat([glance.whole, glance.others], dim=1))

    def average(self, q: Tensor, k: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
        """N×Q×E averages of values N×L×E for queries G×Q×C and keys N×L×C; G is 1 or N."""
        if not self._by_hand:
            return _average_by_kernel(q, k, values, bias)
        n = len(k)
        queries, length = q.shape[1], k.shape[1]
        whole = q.dtype == torch.bfloat16
        most, columns = (max(FEWEST_ROWS, _SCORES // length), None) if whole else (_ROWS, _COLUMNS)
        rows = -(-queries // max(1, round(queries / most)))  # in blocks of one size
        out = values.new_empty(n, queries, values.shape[-1])
        q = q * (q.shape[-1] ** -0.5 * softmax.SCALE)
        bias = None if bias is None else (bias * softmax.SCALE).to(q.dtype)
        for i in range(n):
            asked, keys = q[i if len(q) > 1 else 0], k[i].t()
            added, boldly = None if bias is None else bias[i], True
            for first in range(0, queries, rows):
                block = slice(first, first + rows)
                scores = partial(self._score, asked[block], keys, added)
                boldly = softmax.average_by(scores, values[i], out[i, block], columns=columns, boldly=boldly)
        return out

    def _score(self, asked: Tensor, keys: Tensor, bias: Tensor | None, columns: slice) -> Tensor:
        """Scores of queries Q×C and some of the keys C×L."""
        keys = keys[:, columns]
        scores = self._block(len(asked), keys.shape[1], asked.dtype)
        if bias is None:
            return torch.mm(asked, keys, out=scores)
        return torch.addmm(bias[columns], asked, keys, out=scores)

    def _block(self, rows: int, length: int, dtype: torch.dtype) -> Tensor:
        if self._scores is None or self._scores.numel() < rows * length or self._scores.dtype != dtype:
            self._scores = torch.empty(rows * length, dtype=dtype)
        return self._scores[: rows * length].view(rows, length)
