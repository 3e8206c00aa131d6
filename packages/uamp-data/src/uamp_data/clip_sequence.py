"""A clip in memory as a sequence, as if it lay on disk with a mask for every frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from uamp_data.pool import ClipPool
from uamp_data.sequence import object_ids


@dataclass(frozen=True)
class ClipSequence:
    """A generated clip of T frames.

    Attributes:
        name: Unique among those it is used with.
        frames: T×H×W×3 uint8, RGB.
        masks: T×H×W uint8 object ids.
    """

    name: str
    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]

    @cached_property
    def annotated(self) -> tuple[int, ...]:
        """Every frame has a mask."""
        return tuple(range(len(self.frames)))

    @property
    def listed(self) -> tuple[int, ...]:
        """Every frame counts."""
        return self.annotated

    @cached_property
    def frame_names(self) -> tuple[str, ...]:
        """The frames' numbers, with five digits."""
        return tuple(f"{number:05d}" for number in self.annotated)

    @cached_property
    def prompts(self) -> Mapping[int, tuple[int, ...]]:
        """All objects of the first frame are given there."""
        return {0: object_ids(self.annotation(0))}

    def image(self, frame: int) -> NDArray[np.uint8]:
        """A frame."""
        return np.array(self.frames[frame])

    def annotation(self, frame: int) -> NDArray[np.uint8]:
        """Its mask."""
        return np.array(self.masks[frame])


def pool_sequences(pool: ClipPool) -> list[ClipSequence]:
    """The clips of a pool as they were rendered, without the changes that the pool makes to its training clips."""
    clips = [pool.stored(index) for index in range(len(pool))]
    return [ClipSequence(f"generated-{index}", clip.frames, clip.masks) for index, clip in enumerate(clips)]
