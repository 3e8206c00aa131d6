"""SAM 2's mask decoder with less arithmetic: the fast form, for inference.

It says what `sam2.modeling.sam.mask_decoder` says, up to rounding. A handful of tokens and a whole image read each
other there, and so the projections of the image are most of the work. They can be moved to the tokens:

- A score is (W_q q)·(W_k k) = (W_kᵀ W_q q)·k: with the token's side multiplied out first, tokens of all heads ask the
  image in one product, and the image needs no keys. The keys' bias adds the same to all scores of a query and so
  drops out.
- Values are averaged first and projected afterwards, as in `attention.py`.
- Where the image asks the tokens, its queries and the projection of what it reads move to the tokens likewise, and
  the softmax over tokens runs with pixels next to each other in memory.
- Transposed convolutions of stride 2 are products whose result is laid out anew.
- Shares of attention too small to count are 0: below 1e-38 a CPU takes fifty times as long for a product.

`tests/test_fast_forms.py` holds it equal to the plain form. Shapes: see `types.py`; L cells, T tokens, R heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.attention import Part
from uamp_model.blocks import by_hand
from uamp_model.devices import lowered

_SMALLEST_SHARE = 1e-30


def can_decode(decoder: Part, *, multimask: bool) -> bool:
    """Whether the fast form knows this `MaskDecoder` and what is asked of it."""
    chooses = not multimask and bool(decoder.dynamic_multimask_via_stability)
    return not decoder.training and bool(decoder.use_high_res_features) and not chooses


def decode(
    decoder: Part,
    image: Tensor,
    position: Tensor,
    sparse: Tensor,
    fine: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Masks for N objects.

    Args:
        decoder: SAM 2's `MaskDecoder`.
        image: N×h×w×C, with the dense prompt added.
        position: 1×L×C of the cells.
        sparse: N×P×C tokens of the prompt's points.
        fine: features of stride 4 and of stride 8, 1 or N×4h×4w×C/8 and 1 or N×2h×2w×C/4.

    Returns:
        N×K×4h×4w logits, N×K predicted IoU, N×K×C mask tokens and N×1 presence, for all K hypotheses, the single
        mask first.
    """
    n, h, w, _ = image.shape
    scored = bool(decoder.pred_obj_scores)
    heads = (decoder.obj_score_token, decoder.iou_token) if scored else (decoder.iou_token,)
    own = torch.cat([part.weight for part in (*heads, decoder.mask_tokens)])
    tokens = torch.cat([own.expand(n, -1, -1).to(sparse.dtype), sparse], dim=1)
    tokens, seen = _two_way(decoder.transformer, image.flatten(1, 2), position, tokens)
    first, kinds = len(heads), int(decoder.num_mask_tokens)
    mask_tokens = tokens[:, first : first + kinds]
    hyper = torch.stack(
        [mlp(mask_tokens[:, k]) for k, mlp in enumerate(decoder.output_hypernetworks_mlps)],
        dim=1,
    )
    large = _enlarge(decoder.output_upscaling, seen.view(n, h, w, -1), fine)
    masks = (hyper @ large.flatten(1, 2).transpose(1, 2)).view(n, kinds, 4 * h, 4 * w)
    ious = decoder.iou_prediction_head(tokens[:, first - 1])
    presence = (
        decoder.pred_obj_score_head(tokens[:, 0])
        if scored
        else 10.0 * ious.new_ones(n, 1)  # as in SAM 2, where all objects are taken to be there
    )
    return masks, ious, mask_tokens, presence


def _two_way(transformer: Part, image: Tensor, position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """N×T×C tokens and N×L×C image after they have read each other."""
    asked = tokens
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            asked = layer.self_attn(asked, asked, asked)
        else:
            placed_tokens = asked + tokens
            asked = asked + layer.self_attn(placed_tokens, placed_tokens, asked)
        asked = layer.norm1(asked)
        placed = lowered(image + position)
        asked = layer.norm2(asked + _read_image(layer.cross_attn_token_to_image, asked + tokens, placed, image))
        asked = layer.norm3(asked + layer.mlp(asked))
        read = _read_tokens(layer.cross_attn_image_to_token, placed, asked + tokens, asked)
        image = layer.norm4(image + read)
    last: Part = transformer.final_attn_token_to_image
    asked = asked + _read_image(last, asked + tokens, image + position, image)
    return transformer.norm_final_attn(asked), image


def _read_image(attention: Part, asked: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What N×T×C tokens read of keys and values N×L×C: N×T×C."""
    q, scale = _by_head(attention, attention.q_proj(asked))
    scores = torch.bmm(_join(q @ _head_rows(attention, "k_proj"), asked) * scale, keys.transpose(1, 2))
    shares = torch.softmax(scores, -1)
    if by_hand(shares):
        F.threshold(shares, _SMALLEST_SHARE, 0.0, inplace=True)
    read = _split(torch.bmm(shares, values), asked)  # R×NT×C
    read = read @ _head_rows(attention, "v_proj").transpose(1, 2)  # R×NT×E
    read = read.permute(1, 0, 2).reshape(*asked.shape[:2], -1) + attention.v_proj.bias
    out: Tensor = attention.out_proj(read)
    return out


def _read_tokens(attention: Part, asked: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What an image N×L×C reads of T tokens: N×L×C."""
    k, scale = _by_head(attention, attention.k_proj(keys))
    v, _ = _by_head(attention, attention.v_proj(values))
    bias = attention.q_proj.bias.view(len(k), -1, 1).to(k.dtype)
    offset = _join(k @ bias, keys) * scale  # N×RT×1
    scores = offset + torch.bmm(_join(k @ _head_rows(attention, "q_proj"), keys) * scale, asked.transpose(1, 2))
    shares = torch.softmax(scores.unflatten(1, (len(k), -1)), 2).flatten(1, 2)  # N×RT×L
    outward = attention.out_proj.weight.view(-1, len(k), v.shape[-1]).permute(1, 2, 0)
    told = _join(v @ outward.to(v.dtype), keys)  # N×RT×C
    read: Tensor = torch.bmm(shares.transpose(1, 2).to(told.dtype), told) + attention.out_proj.bias
    return read


def _by_head(attention: Part, tokens: Tensor) -> tuple[Tensor, float]:
    """R×NT×E of projected tokens N×T×RE, and what scores are multiplied by."""
    parts = tokens.unflatten(-1, (int(attention.num_heads), -1)).flatten(0, 1).transpose(0, 1)
    return parts, float(parts.shape[-1]) ** -0.5


def _head_rows(attention: Part, name: str) -> Tensor:
    """R×E×C, the part of a projection that belongs to each head."""
    weight: Tensor = getattr(attention, name).weight
    return weight.view(int(attention.num_heads), -1, weight.shape[-1])


def _join(parts: Tensor, like: Tensor) -> Tensor:
    """N×RT×C of R×NT×C."""
    n, t = like.shape[:2]
    return parts.view(len(parts), n, t, -1).transpose(0, 1).flatten(1, 2)


def _split(joined: Tensor, like: Tensor) -> Tensor:
    """R×NT×C of N×RT×C."""
    n, t = like.shape[:2]
    return joined.view(n, -1, t, joined.shape[-1]).transpose(0, 1).flatten(1, 2)


def _enlarge(upscaling: Part, image: Tensor, fine: tuple[Tensor, Tensor]) -> Tensor:
    """N×4h×4w×C/8 of N×h×w×C, with the fine features added on the way."""
    first, norm, act, second, last_act = upscaling
    stride4, stride8 = fine
    x = _double(first, image) + stride8
    x = act(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))
    large: Tensor = last_act(_double(second, x) + stride4)
    return large


def _double(conv: Part, x: Tensor) -> Tensor:
    """A transposed convolution of kernel and stride 2 over N×h×w×C."""
    n, h, w, _ = x.shape
    weight: Tensor = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias: Tensor = conv.bias.repeat(4)
    parts = F.linear(x, weight, bias).view(n, h, w, 2, 2, -1)
    return parts.permute(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, -1)
