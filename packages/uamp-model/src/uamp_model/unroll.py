"""Training's view of the tracker: the core, frame after frame over a batch of clips, with gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from uamp_model.core import Doubt, FrameOutput, Learned, PromptBatch, track_frame, write_memory
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
    features: ImageFeatures | None = None,
    free: int = 0,
) -> list[FrameOutput]:
    """Follow N objects through B clips of T frames, each from its prompt on frame 0.

    Args:
        model: the network; its `image_size` is S.
        images: B×T×3×S×S, normalised.
        clip_of_object: N integers below B.
        prompts: of the N objects on their first frames.
        present: N×T booleans that overrule the predicted presence, or None to trust the prediction.
        learned: UAMP layers, and which of them act.
        features: of the B·T images, clip after clip, if they are known already.
        free: below T − 1; where positive, gradients begin after frame `free`: what comes before is only tracked, which
            costs little and makes the memories that are learned from those of an object that was followed for a while.

    Returns:
        T outputs for all N objects; the first is that of the prompted frame.
    """
    frames = images.shape[1]
    features_at = _features(model, images, clip_of_object, features, learned, free)
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
                tokens = gather([selection], age_span=model.max_obj_ptrs_in_encoder - 1, read=read)
                output = track_frame(model, here, tokens, present=known, learned=learned, past=past)
            outputs.append(output)
            if t + 1 < frames:
                doubt = None if past is None or learned is None else _doubt(output, past, learned)
                entry = write_memory(model, here, output, t, prompted=t == 0, doubt=doubt)
                if learned is not None and entry.features is not None:
                    given = t == 0 and prompts.masks is not None
                    past = Past(here.stride4, output.logits, output.uncertainty * (not given), entry.features)
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
    learned: Learned | None,
    free: int,
) -> Callable[[int], ImageFeatures]:
    """Gives the N objects' image features on frame t; frames that are only tracked are encoded without gradients."""
    if known is None and free > 0:
        split = free + 1
        with torch.no_grad():
            early = _features(model, images[:, :split], clip_of_object, None, learned, 0)
        late = _features(model, images[:, split:], clip_of_object, None, learned, 0)
        return lambda t: early(t) if t < split else late(t - split)
    found = encode_image(model, images.flatten(0, 1)) if known is None else known
    found = found if learned is None else learned.adapted(found)
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
