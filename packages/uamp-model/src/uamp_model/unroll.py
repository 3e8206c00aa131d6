"""Training's view of the tracker: the core, frame after frame over a batch of clips, with gradients."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from uamp_model.budget import Share
from uamp_model.core import (
    Doubt,
    FrameOutput,
    Learned,
    PromptBatch,
    read_in_part,
    readable_share,
    track_frame,
    write_memory,
)
from uamp_model.layers import Past
from uamp_model.memory import MemoryBank, Retention, gather, select_recent
from uamp_model.sam2 import ImageFeatures, Sam2, encode_image


def unroll(
    model: Sam2,
    images: Tensor,
    clip_of_object: Tensor,
    prompts: PromptBatch,
    *,
    present: Tensor | None = None,
    learned: Learned | None = None,
    weights: Mapping[str, Tensor] | None = None,
    features: ImageFeatures | None = None,
    free: int = 0,
    budget: float = 1.0,
) -> list[FrameOutput]:
    """Follow N objects through B clips of T frames, each from its prompt on frame 0.

    Args:
        model: the network; its `image_size` is S.
        images: B×T×3×S×S, normalised.
        clip_of_object: N integers below B.
        prompts: of the N objects on their first frames.
        present: N×T booleans that overrule the predicted presence, or None to trust the prediction.
        learned: UAMP layers, and which of them act.
        weights: what the network computes with in the place of its own weights, by their names, such as those that an
            adapter corrects; gradients flow to them.
        features: of the B·T images, clip after clip, if they are known already.
        free: below T − 1; where positive, gradients begin after frame `free`: what comes before is only tracked, which
            costs little and makes the memories that are learned from those of an object that was followed for a while.
        budget: share of memory's cells that is read, see `budget.py`.

    Returns:
        T outputs for all N objects; the first is that of the prompted frame.
    """
    given: dict[str, Any] = {
        "present": present,
        "learned": learned,
        "features": features,
        "free": free,
        "share": readable_share(model, budget),
    }
    if not weights:
        return _unroll(model, images, clip_of_object, prompts, **given)
    named = {f"model.{name}": weight for name, weight in weights.items()}
    outputs: list[FrameOutput] = functional_call(_Unrolling(model), named, (images, clip_of_object, prompts), given)
    return outputs


class _Unrolling(nn.Module):
    """`_unroll` as a module, so that the network in it can be called with other weights."""

    def __init__(self, model: Sam2) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **given: Any) -> list[FrameOutput]:
        return _unroll(self.model, *args, **given)


def _unroll(
    model: Sam2,
    images: Tensor,
    clip_of_object: Tensor,
    prompts: PromptBatch,
    *,
    present: Tensor | None,
    learned: Learned | None,
    features: ImageFeatures | None,
    free: int,
    share: Share | None,
) -> list[FrameOutput]:
    frames = images.shape[1]
    features_at = _features(model, images, clip_of_object, features, free)
    past: Past | None = None
    bank, learning = MemoryBank(), torch.is_grad_enabled()
    outputs = []
    for t in range(frames):
        with torch.set_grad_enabled(learning and (free == 0 or t > free)):
            here = features_at(t)
            known = None if present is None else present[:, t]
            if t == 0:
                output = track_frame(model, here, None, prompts, present=known)
            else:
                selection = select_recent(model, bank, t, direction=1)
                read = 0.0 if learned is None else learned.doubt * learned.layers.read
                tokens = gather([selection], age_span=model.max_obj_ptrs_in_encoder - 1, read=read, share=share)
                output = track_frame(model, here, tokens, present=known, learned=learned, past=past)
            outputs.append(output)
            if t + 1 < frames:
                doubt = None if past is None or learned is None else _doubt(output, past, learned)
                entry = write_memory(model, here, output, t, prompted=t == 0, doubt=doubt)
                if learned is not None and entry.features is not None:
                    given = t == 0 and prompts.masks is not None
                    past = Past(here.stride4, output.logits, output.uncertainty * (not given), entry.features)
                entry = entry if share is None else read_in_part(entry, output)
                if t == 0:
                    bank.remember_prompted(entry)
                else:
                    bank.remember(entry, Retention(model.num_maskmem, model.max_obj_ptrs_in_encoder))
    return outputs


def _features(
    model: Sam2,
    images: Tensor,
    clip_of_object: Tensor,
    known: ImageFeatures | None,
    free: int,
) -> Callable[[int], ImageFeatures]:
    """Gives the N objects' image features on frame t; frames that are only tracked are encoded without gradients."""
    if known is None and free > 0:
        split = free + 1
        with torch.no_grad():
            early = _features(model, images[:, :split], clip_of_object, None, 0)
        late = _features(model, images[:, split:], clip_of_object, None, 0)
        return lambda t: early(t) if t < split else late(t - split)
    found = encode_image(model, images.flatten(0, 1)) if known is None else known
    return lambda t: found.pick(clip_of_object * images.shape[1] + t)


def _doubt(output: FrameOutput, past: Past, learned: Learned) -> Doubt:
    layers = learned.layers
    return Doubt(output.uncertainty, past.memory, learned.doubt * layers.write, learned.doubt * layers.keep)


def initialise_local_memory(model: Sam2, bias: float = 2.5) -> None:
    """Start training from scratch with a memory that looks at the same place first.

    Rotary encoding rotates queries and keys by position, so equal constant vectors match best where positions are
    equal. A positive bias on the cross-attention's queries and keys therefore makes an untrained memory local, which
    it otherwise takes long to discover.
    """
    with torch.no_grad():
        for layer in model.memory_attention.layers:
            layer.cross_attn_image.q_proj.bias.fill_(bias)
            layer.cross_attn_image.k_proj.bias.fill_(bias)
