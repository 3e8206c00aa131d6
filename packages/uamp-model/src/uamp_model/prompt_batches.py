"""Prompts as the network reads them: checked, on what is seen of a frame, and those of one kind in one batch."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from uamp_model.core import PromptBatch
from uamp_model.errors import InputError
from uamp_model.focus import Window
from uamp_model.preprocess import prepare_mask, prepare_points
from uamp_model.types import Prompt


def batch_prompts(
    prompts: Mapping[int, Prompt], window: Window, image_size: int, device: torch.device
) -> list[tuple[list[int], PromptBatch]]:
    """Batch the prompts of a frame: all masks, and points by how many a prompt has, a box's two corners among them.

    Args:
        prompts: by object id, in pixels of the frame.
        window: what is seen of the frame.
        image_size: side of the network's input.
        device: where batches are to lie.

    Returns:
        (ids, their prompts) for each batch.

    Raises:
        InputError: if a prompt is none, or does not fit the frame.
    """
    if not isinstance(prompts, Mapping):
        raise InputError(f"Prompts must be a mapping like {{1: Prompt.box(...)}}, not {type(prompts).__name__}.")
    masks: dict[int, Tensor] = {}
    points: dict[int, dict[int, tuple[Tensor, Tensor]]] = defaultdict(dict)
    for object_id, given in prompts.items():
        if not isinstance(given, Prompt):
            raise InputError(f"Object {object_id} needs a prompt such as Prompt.box, not {type(given).__name__}.")
        prompt = window.prompt(given)
        if prompt.region is not None:
            masks[object_id] = prepare_mask(prompt.region, *window.size, image_size)
        else:
            points[len(prompt.labels)][object_id] = prepare_points(prompt, *window.size, image_size)
    batches = [(list(masks), PromptBatch(masks=torch.cat([*masks.values()]).to(device)))] if masks else []
    for group in points.values():
        xy, labels = (torch.cat(parts).to(device) for parts in zip(*group.values(), strict=True))
        batches.append((list(group), PromptBatch(points=xy, labels=labels)))
    return batches
