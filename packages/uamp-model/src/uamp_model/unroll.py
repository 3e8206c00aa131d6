"""Training's view of the tracker: the core, frame after frame over a batch of clips, with gradients."""

import torch
from torch import Tensor

from uamp_model.core import FrameOutput, PromptBatch, track_frame, write_memory
from uamp_model.memory import MemoryBank, Retention, gather, select_recent
from uamp_model.sam2 import Sam2, encode_image


def unroll(
    model: Sam2,
    images: Tensor,
    clip_of_object: Tensor,
    prompts: PromptBatch,
    *,
    present: Tensor | None = None,
) -> list[FrameOutput]:
    """Follow N objects through B clips of T frames, each from its prompt on frame 0.

    Args:
        model: the network; its `image_size` is S.
        images: B×T×3×S×S, normalised.
        clip_of_object: N integers below B.
        prompts: of the N objects on their first frames.
        present: N×T booleans that overrule the predicted presence, or None to trust the prediction.

    Returns:
        T outputs for all N objects; the first is that of the prompted frame.
    """
    frames = images.shape[1]
    features = encode_image(model, images.flatten(0, 1))
    bank = MemoryBank()
    outputs = []
    for t in range(frames):
        here = features.pick(clip_of_object * frames + t)
        known = None if present is None else present[:, t]
        if t == 0:
            output = track_frame(model, here, None, prompts, present=known)
        else:
            selection = select_recent(model, bank, t, direction=1)
            tokens = gather([selection], age_span=model.max_obj_ptrs_in_encoder - 1)
            output = track_frame(model, here, tokens, present=known)
        outputs.append(output)
        if t + 1 < frames:
            entry = write_memory(model, here, output, t, prompted=t == 0)
            if t == 0:
                bank.remember_prompted(entry)
            else:
                bank.remember(entry, Retention(model.num_maskmem, model.max_obj_ptrs_in_encoder))
    return outputs


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
