"""The only door to the sam2 package: SAM 2's four parts as typed functions over its own modules.

The functions say again, without its dictionaries and flags, what `SAM2Base` does in `_forward_sam_heads`,
`_prepare_memory_conditioned_features` and `_encode_new_memory` (github.com/facebookresearch/sam2, Apache-2.0);
`tests/test_parity.py` holds them equal to the package's own video predictor. Shapes: see `types.py`.
"""

from dataclasses import dataclass
from importlib.resources import files

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from sam2.modeling.position_encoding import apply_rotary_enc
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

from uamp_model import hiera, two_way
from uamp_model.attention import Glance, Tokens, can_attend
from uamp_model.blocks import in_parts
from uamp_model.catalog import check_image_size, find_model
from uamp_model.devices import lowered
from uamp_model.forms import Forms
from uamp_model.rotation import rotation_of
from uamp_model.stages import ATTEND, DECODE, ENCODE, MEMORY, stage

Sam2 = SAM2Base
"""The network: a `torch.nn.Module` that holds SAM 2's weights under their official names."""

ABSENT_LOGIT = NO_OBJ_SCORE
"""Mask logit everywhere on a frame where the object is judged to be absent."""


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the image encoder says about images.

    Attributes:
        stride16: N×C×h×w.
        stride8: N×C/4×2h×2w.
        stride4: N×C/8×4h×4w.
        position: 1×C×h×w, the sine encoding of the stride-16 cells' positions.
    """

    stride16: Tensor
    stride8: Tensor
    stride4: Tensor
    position: Tensor

    def pick(self, index: Tensor | slice) -> "ImageFeatures":
        """The features of the images `index` (N integers, or a range of rows), one row per entry."""
        return ImageFeatures(self.stride16[index], self.stride8[index], self.stride4[index], self.position)

    def expand(self, count: int) -> "ImageFeatures":
        """The features of one image, seen `count` times without a copy."""
        grow = (count, -1, -1, -1)
        return ImageFeatures(
            self.stride16.expand(grow), self.stride8.expand(grow), self.stride4.expand(grow), self.position
        )


@dataclass(frozen=True, slots=True)
class MemoryTokens:
    """What N objects remember, ready for attention.

    Attributes:
        spatial: N×M×D×h×w memory features, in bfloat16 or in the dtype of the pointers.
        recency: N×M integers: 0 for a conditioning frame, else 1 (oldest) to num_maskmem − 1 (the last frame).
        pointers: N×P×C object pointers.
        pointer_age: G×P time since the pointer's frame as a share of SAM 2's 15-frame span, positive in the past; the
            N objects are G groups of equal size, one after the other, that share their ages.
        bias: N×M×h×w, added to the attention logits of the spatial cells (below 0: read less, above: more), or None
            for SAM 2's attention.
        glance: what is read in part, or None where every cell of the frame reads everything.
    """

    spatial: Tensor
    recency: Tensor
    pointers: Tensor
    pointer_age: Tensor
    bias: Tensor | None = None
    glance: Glance | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the mask decoder says.

    Attributes:
        hypotheses: N×K×4h×4w mask logits.
        ious: N×K predicted IoU.
        presence: N×1 logit that the object is in view.
        tokens: N×K×C output tokens of the hypotheses, or N×1×C where they share one; see `object_pointer`.
    """

    hypotheses: Tensor
    ious: Tensor
    presence: Tensor
    tokens: Tensor


def build_model(name: str = "nano", *, image_size: int | None = None) -> Sam2:
    """Build a catalog model with random weights, in evaluation mode, on the CPU.

    Args:
        name: a name of the catalog.
        image_size: another input side S than the model's own, a multiple of 32; the weights are the same for any.

    Raises:
        InputError: if the name is unknown, or there is no input of that side.
    """
    check_image_size(image_size)
    model: Sam2 = instantiate(model_config(name, image_size=image_size))
    _fit_rotations(model)
    return model.eval()


def _fit_rotations(model: Sam2) -> None:
    """Compute the rotary encoding for the model's own grid now.

    sam2 would otherwise do it at the first frame and keep it on the module: made in inference mode, it could not be
    trained through afterwards.
    """
    side = model.image_size // model.backbone_stride
    for module in model.modules():
        if isinstance(module, RoPEAttention):
            module.freqs_cis = module.compute_cis(end_x=side, end_y=side)


def place_rotations(model: Sam2) -> None:
    """Take the rotary encoding to where the network is.

    sam2 does so at the first frame: in inference mode, the copy on a GPU could not be trained through afterwards.
    """
    device = next(model.parameters()).device
    for module in model.modules():
        if isinstance(module, RoPEAttention):
            rotation_of(module, device)


def model_config(name: str, *, image_size: int | None = None) -> DictConfig:
    """The `model` node of a catalog model's configuration file, in the sam2 package's own format."""
    spec = find_model(name)
    home = "uamp_model" if spec.bundled else "sam2"
    config: DictConfig = OmegaConf.create(files(home).joinpath(spec.config).read_text(encoding="utf-8")).model
    if image_size is not None:
        config.image_size = int(image_size)
    OmegaConf.resolve(config)
    return config


MOST_WINDOWS = 2**16 - 1
"""Of the image encoder's first stage that are computed at once: torch's attention kernels for GPUs refuse more."""
_WINDOW = 32
"""Their side in pixels: eight cells of stride 4."""


@stage(ENCODE)
def encode_image(model: Sam2, images: Tensor, *, fast: Forms | None = None) -> ImageFeatures:
    """Encode images, B×3×S×S normalised floats; `fast` as for `attend_memory`."""
    most = max(1, MOST_WINDOWS // max(1, images.shape[-1] // _WINDOW) ** 2)
    if len(images) <= most:
        return _encode(model, images, fast)
    parts = [_encode(model, part, fast) for part in images.split(most)]
    return ImageFeatures(
        torch.cat([part.stride16 for part in parts]),
        torch.cat([part.stride8 for part in parts]),
        torch.cat([part.stride4 for part in parts]),
        parts[0].position,
    )


def _encode(model: Sam2, images: Tensor, fast: Forms | None) -> ImageFeatures:
    if fast is not None and hiera.can_encode(model.image_encoder) and model.use_high_res_features_in_sam:
        return _encode_fast(model, images, fast)
    out = model.forward_image(images)
    stride4, stride8, stride16 = out["backbone_fpn"][-3:]
    return ImageFeatures(stride16, stride8, stride4, out["vision_pos_enc"][-1][:1])


def _encode_fast(model: Sam2, images: Tensor, fast: Forms) -> ImageFeatures:
    """`encode_image` by `hiera.encode_levels`."""
    ends = {0: model.sam_mask_decoder.conv_s0, 1: model.sam_mask_decoder.conv_s1}
    levels = fast.encode_levels(model.image_encoder, images.contiguous(memory_format=torch.channels_last), ends)
    stride4, stride8, stride16 = (level.permute(0, 3, 1, 2) for level in levels[-3:])
    position = model.image_encoder.neck.position_encoding(stride16[:1])
    return ImageFeatures(stride16, stride8, stride4, position.to(stride16.dtype))


def without_memory(model: Sam2, features: ImageFeatures) -> Tensor:
    """Stride-16 features (N×C×h×w) of a frame that is decoded from its prompt alone."""
    return features.stride16 + model.no_mem_embed.view(1, -1, 1, 1)


@stage(ATTEND)
def attend_memory(model: Sam2, features: ImageFeatures, memory: MemoryTokens, *, fast: Forms | None = None) -> Tensor:
    """Stride-16 features (N×C×h×w) that have seen the objects' memories.

    Args:
        model: the network.
        features: of the frame, one row per object.
        memory: what the objects remember.
        fast: compute with less arithmetic, for inference; None computes as the sam2 package does, to the last bit.
    """
    shape = features.stride16.shape
    if fast is not None and can_attend(model.memory_attention):
        return _attend_fast(model, features, memory, fast)
    spatial, spatial_position = _spatial_tokens(model, memory)
    pointers, pointer_position = _pointer_tokens(model, memory)
    now = features.stride16.flatten(2).permute(2, 0, 1)
    now_position = features.position.expand(shape[0], -1, -1, -1).flatten(2).permute(2, 0, 1)
    past, past_position = torch.cat([spatial, pointers]), torch.cat([spatial_position, pointer_position])
    if memory.bias is not None or memory.glance is not None:
        bias, hidden = _biases(memory, pointers.shape[0])
        query = (now.transpose(0, 1), now_position.transpose(0, 1))
        key = (past.transpose(0, 1), past_position.transpose(0, 1))
        biased = _attend_with_bias(model, query, key, bias, pointers.shape[0], hidden)
        return biased.transpose(1, 2).reshape(shape)
    attended: Tensor = model.memory_attention(
        curr=[now],
        curr_pos=[now_position],
        memory=past,
        memory_pos=past_position,
        num_obj_ptr_tokens=pointers.shape[0],
    )
    return attended.permute(1, 2, 0).reshape(shape)


def _attend_fast(model: Sam2, features: ImageFeatures, memory: MemoryTokens, fast: Forms) -> Tensor:
    """`attend_memory` by `attention.attend`, which can also read a part of the cells."""
    n, c, h, w = features.stride16.shape
    now = _once(features.stride16).flatten(2).transpose(1, 2)
    spatial, spatial_position = _cells_and_positions(model, memory)
    bias = None if memory.bias is None else memory.bias.flatten(1)
    pointers, pointer_position = (part.transpose(0, 1) for part in _pointer_tokens(model, memory))
    low = lowered(pointers).dtype
    values = torch.cat([spatial.to(low), pointers.to(low)], dim=1)
    keys = torch.cat([_sum(spatial, spatial_position, low), _sum(pointers, pointer_position, low)], dim=1)
    bias = None if bias is None else F.pad(bias, (0, pointers.shape[1]))  # pointers are read as ever
    tokens = Tokens(values, keys, spatial.shape[1], bias, memory.glance)
    out = fast.attend(model.memory_attention, now, features.position.flatten(2).transpose(1, 2), tokens)
    return out.transpose(1, 2).reshape(n, c, h, w)


def _sum(cells: Tensor, position: Tensor, dtype: torch.dtype) -> Tensor:
    """N×L×D cells with 1×L×D or N×L×D positions added in full precision; on a CPU one object after the other."""
    if len(position) > 1:
        return (cells + position).to(dtype)
    return in_parts(lambda part: (part + position).to(dtype), cells, 1)


def _cells_and_positions(model: Sam2, memory: MemoryTokens) -> tuple[Tensor, Tensor]:
    """N×(M·h·w)×D cells and their positional encoding, 1×… where all objects remember the same frames."""
    n, m, d, h, w = memory.spatial.shape
    cells = memory.spatial.permute(0, 1, 3, 4, 2).reshape(n, m * h * w, d)
    recency = _once(memory.recency)
    place = model.memory_encoder.position_encoding(memory.spatial[:1, 0]).flatten(2).transpose(1, 2)  # 1×hw×D
    time = model.maskmem_tpos_enc[model.num_maskmem - recency - 1].view(len(recency), m, 1, d)
    return cells, (place.contiguous().unsqueeze(1) + time).flatten(1, 2)


def _biases(memory: MemoryTokens, pointers: int) -> tuple[Tensor, Tensor | None]:
    """What is added to the attention logits of all tokens, and to the frame's own from the second layer on, if any.

    Where all cells read alike the first is N×1×L, else N×hw×L, and −∞ for what is not read. Pointers are read as ever.
    """
    n, m, _, h, w = memory.spatial.shape
    bias = memory.pointers.new_zeros(n, m * h * w) if memory.bias is None else memory.bias.flatten(1)
    bias = F.pad(bias, (0, pointers)).unsqueeze(1)
    if (glance := memory.glance) is None:
        return bias, None
    other = torch.zeros(n, h * w, dtype=torch.bool, device=bias.device).scatter(1, glance.others, True).unsqueeze(-1)
    unread = bias.new_full((n, m * h * w), -torch.inf).scatter(1, glance.rows, glance.worth.to(bias.dtype))
    hidden = bias.new_full((h * w,), -torch.inf).index_fill(0, glance.own, 0.0)
    nothing = bias.new_zeros(())
    part = torch.where(other, F.pad(unread, (0, pointers)).unsqueeze(1), nothing)
    return bias + part, torch.where(other, hidden, nothing)


def _attend_with_bias(
    model: Sam2,
    queries: tuple[Tensor, Tensor],
    memory: tuple[Tensor, Tensor],
    bias: Tensor,
    pointer_count: int,
    hidden: Tensor | None,
) -> Tensor:
    """SAM 2's memory attention over the same weights, with the biases of `_biases`.

    Queries N×hw×C and memory N×L×D come with their positions; the result is N×hw×C.
    """
    (now, now_position), (past, past_position) = queries, memory
    attention = model.memory_attention
    out = now + 0.1 * now_position if attention.pos_enc_at_input else now
    for number, layer in enumerate(attention.layers):
        if hidden is None or number == 0:
            out = layer._forward_sa(out, now_position)
        else:
            values = layer.norm1(out)
            asked = values + now_position if layer.pos_enc_at_attn else values
            out = out + layer.dropout1(_cross_attend(layer.self_attn, asked, asked, values, hidden, 0))
        asked = layer.norm2(out)
        asked = asked + now_position if layer.pos_enc_at_cross_attn_queries else asked
        keys = past + past_position if layer.pos_enc_at_cross_attn_keys else past
        out = out + layer.dropout2(_cross_attend(layer.cross_attn_image, asked, keys, past, bias, pointer_count))
        out = out + layer.dropout3(layer.linear2(layer.dropout(layer.activation(layer.linear1(layer.norm3(out))))))
    normed: Tensor = attention.norm(out)
    return normed


def _cross_attend(
    cross: RoPEAttention, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor, pointer_count: int
) -> Tensor:
    """Rotary cross-attention of the sam2 package, with a bias N×1×L or N×hw×L."""
    q, k, v = (
        cross._separate_heads(project(tokens), cross.num_heads)
        for project, tokens in ((cross.q_proj, queries), (cross.k_proj, keys), (cross.v_proj, values))
    )
    placed = k.shape[-2] - pointer_count  # pointers have no place
    rotation = rotation_of(cross, q.device)
    q, rotated = apply_rotary_enc(q, k[:, :, :placed], freqs_cis=rotation, repeat_freqs_k=cross.rope_k_repeat)
    k = torch.cat([rotated, k[:, :, placed:]], dim=2)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(1).to(q.dtype))
    joined: Tensor = cross.out_proj(cross._recombine_heads(out))
    return joined


def _spatial_tokens(model: Sam2, memory: MemoryTokens) -> tuple[Tensor, Tensor]:
    """(M·h·w)×N×D tokens and their positional encoding."""
    n, m, d, h, w = memory.spatial.shape
    tokens = memory.spatial.permute(1, 3, 4, 0, 2).reshape(m * h * w, n, d).to(memory.pointers.dtype)
    place = model.memory_encoder.position_encoding(memory.spatial[:1, 0])  # 1×D×h×w
    time = model.maskmem_tpos_enc[model.num_maskmem - memory.recency - 1].view(n, m, d)
    position = place.view(1, 1, d, h * w) + time.unsqueeze(-1)  # N×M×D×hw
    return tokens, position.permute(1, 3, 0, 2).reshape(m * h * w, n, d)


def _pointer_tokens(model: Sam2, memory: MemoryTokens) -> tuple[Tensor, Tensor]:
    """(P·C/D)×N×D tokens, each pointer split into C/D of them, and their positional encoding."""
    n, p, c = memory.pointers.shape
    d = model.mem_dim
    split = c // d
    tokens = memory.pointers.view(n, p, split, d).permute(1, 2, 0, 3).reshape(p * split, n, d)
    if not model.add_tpos_enc_to_obj_ptrs:
        return tokens, tokens.new_zeros(p * split, n, d)
    age = memory.pointer_age if model.use_signed_tpos_enc_to_obj_ptrs else memory.pointer_age.abs()
    width = c if model.proj_tpos_enc_in_obj_ptrs else d
    # group by group, since the rounding of a matrix product depends on its number of rows
    groups = [model.obj_ptr_tpos_proj(get_1d_sine_pe(own, dim=width)) for own in age]
    position = torch.stack(groups).repeat_interleave(n // len(groups), dim=0)  # N×P×D
    return tokens, position.permute(1, 0, 2).repeat_interleave(split, dim=0)


@stage(DECODE)
def decode_masks(
    model: Sam2,
    conditioned: Tensor,
    features: ImageFeatures,
    points: tuple[Tensor, Tensor] | None,
    mask_logits: Tensor | None,
    *,
    multimask: bool,
    fast: Forms | None = None,
) -> Decoded:
    """Decode masks from stride-16 features that have seen the memory.

    Args:
        model: the network.
        conditioned: N×C×h×w.
        features: the same N images' features, for the decoder's fine levels.
        points: N×P×2 coordinates in pixels of the S×S input and N×P labels, or None.
        mask_logits: N×1×4h×4w mask to start from, or None.
        multimask: whether to give K = 3 hypotheses, or one.
        fast: as for `attend_memory`.
    """
    if fast is not None and two_way.can_decode(model.sam_mask_decoder, multimask=multimask):
        return _decode_fast(model, conditioned, features, points, mask_logits, multimask=multimask, fast=fast)
    n = conditioned.shape[0]
    if points is None:  # SAM 2 pads a missing prompt with one point that is none (label −1)
        points = (conditioned.new_zeros(n, 1, 2), -torch.ones(n, 1, dtype=torch.int32, device=conditioned.device))
    sparse, dense = model.sam_prompt_encoder(points=points, boxes=None, masks=mask_logits)
    hypotheses, ious, tokens, presence = model.sam_mask_decoder(
        image_embeddings=conditioned,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
        repeat_image=False,
        high_res_features=[features.stride4, features.stride8],
    )
    return Decoded(hypotheses.float(), ious.float(), presence.float(), tokens)


def _decode_fast(
    model: Sam2,
    conditioned: Tensor,
    features: ImageFeatures,
    points: tuple[Tensor, Tensor] | None,
    mask_logits: Tensor | None,
    *,
    multimask: bool,
    fast: Forms,
) -> Decoded:
    """`decode_masks` by `two_way.decode`."""
    prompts, decoder, n = model.sam_prompt_encoder, model.sam_mask_decoder, len(conditioned)
    if points is None and mask_logits is None:  # two points that are none, as SAM 2 pads them
        sparse, dense = prompts.not_a_point_embed.weight.expand(n, 2, -1), prompts.no_mask_embed.weight[..., None, None]
    else:
        none = conditioned.new_zeros(n, 1, 2), -torch.ones(n, 1, dtype=torch.int32, device=conditioned.device)
        sparse, dense = prompts(points=none if points is None else points, boxes=None, masks=mask_logits)
    image = (conditioned + dense).permute(0, 2, 3, 1)
    position = prompts.get_dense_pe().flatten(2).transpose(1, 2)
    fine = _once(features.stride4).permute(0, 2, 3, 1), _once(features.stride8).permute(0, 2, 3, 1)
    masks, ious, tokens, presence = fast.decode(decoder, image.contiguous(), position, sparse, fine)
    kinds = slice(1, None) if multimask else slice(0, 1)
    own = kinds if decoder.use_multimask_token_for_obj_ptr else slice(0, 1)
    return Decoded(masks[:, kinds].float(), ious[:, kinds].float(), presence.float(), tokens[:, own])


def _once(features: Tensor) -> Tensor:
    """One row where N objects share it, as the features of an image that they all see; else all N rows."""
    return features[:1] if features.stride(0) == 0 else features


def object_pointer(model: Sam2, tokens: Tensor) -> Tensor:
    """What an object is known by, N×C, from the output tokens N×C of its masks; not yet mixed with absence."""
    pointer: Tensor = model.obj_ptr_proj(tokens)
    return pointer


def mix_absence(model: Sam2, pointer: Tensor, present: Tensor) -> Tensor:
    """Object pointers N×C, replaced by the learned "not here" where `present` (N×1, in [0, 1]) is 0."""
    if not model.pred_obj_scores:
        return pointer
    kept = present * pointer if model.fixed_no_obj_ptr else pointer
    return kept + (1 - present) * model.no_obj_ptr


@stage(MEMORY)
def encode_memory(
    model: Sam2,
    features: ImageFeatures,
    logits: Tensor,
    present: Tensor,
    *,
    prompted: bool,
    fast: Forms | None = None,
) -> Tensor:
    """Encode a frame and its masks into memory features, N×D×h×w.

    Args:
        model: the network.
        features: of the N objects' images.
        logits: N×1×4h×4w mask logits.
        present: N×1 in {0, 1}, whether the object is in view.
        prompted: whether the masks come from a prompt of the user.
        fast: as for `attend_memory`.
    """
    size = (model.image_size, model.image_size)
    # SAM 2 enlarges three hypotheses together where it tracks; torch rounds three channels otherwise than one
    channels = 3 if fast is None and not prompted else 1
    logits = F.interpolate(logits.float().expand(-1, channels, -1, -1), size=size, mode="bilinear", align_corners=False)
    logits = logits[:, :1]
    hard = prompted and model.binarize_mask_from_pts_for_mem_enc and not model.training
    mask = (logits > 0).float() if hard else logits.sigmoid()
    mask = mask * model.sigmoid_scale_for_mem_enc + model.sigmoid_bias_for_mem_enc
    if fast is None:
        encoded = model.memory_encoder(features.stride16.contiguous(), mask, skip_mask_sigmoid=True)
        memory: Tensor = encoded["vision_features"]
    else:
        memory = fast.encode_memory(model.memory_encoder, _once(features.stride16), mask)
    if model.no_obj_embed_spatial is not None:
        memory = memory + (1 - present)[..., None, None] * model.no_obj_embed_spatial[..., None, None]
    return memory
