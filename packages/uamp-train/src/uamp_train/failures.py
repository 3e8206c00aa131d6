"""What a person can do when a step fails for want of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from uamp_model.errors import DeviceError

from uamp_train.config import Stage

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch's allocators say it, of which only CUDA's has an error class of its own."""


@contextmanager
def explained_memory(stage: Stage, step: int) -> Iterator[None]:
    """Turn an allocation that fails at step `step` (from 0) into a `DeviceError` that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(sign in str(error).lower() for sign in _SIGNS):
            raise
        raise DeviceError(
            f"Memory ran out at step {step + 1}, with {stage.batch_size} clip(s) of {stage.num_frames} frames of "
            f"{stage.image_size}×{stage.image_size}: lower batch_size (gradient_accumulation makes up for it), "
            "num_frames, image_size or max_objects."
        ) from error
