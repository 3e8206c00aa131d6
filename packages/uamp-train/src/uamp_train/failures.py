"""What a person can do when a step fails for want of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from uamp_model.devices import is_short_of_memory
from uamp_model.errors import DeviceError

from uamp_train.config import Stage


@contextmanager
def explained_memory(stage: Stage, step: int) -> Iterator[None]:
    """Turn an allocation that fails at step `step` (from 0) into a `DeviceError` that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_short_of_memory(error):
            raise
        raise DeviceError(
            f"Memory ran out at step {step + 1}, with {stage.batch_size} clip(s) of {stage.num_frames} frames of "
            f"{stage.image_size}×{stage.image_size}: lower batch_size (gradient_accumulation makes up for it), "
            "num_frames, image_size or max_objects."
        ) from error
