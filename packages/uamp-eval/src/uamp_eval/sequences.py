"""What a benchmark needs to know about a video; data sets satisfy it by their shape alone. Nothing here needs torch."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint8]
"""Object ids, H×W: 0 is background, 1 to 254 are objects, 255 is void."""

Image = NDArray[np.uint8]
"""H×W×3, RGB."""


class VideoSequence(Protocol):
    """One video of T frames with the truth, as far as the data set has it. Must be picklable."""

    @property
    def name(self) -> str:
        """The folder's name, unique in the data set."""

    @property
    def frame_names(self) -> Sequence[str]:
        """The frames' file names without ending, in order; results are written under them."""

    @property
    def prompts(self) -> Mapping[int, Sequence[int]]:
        """By frame number from 0: ids of the objects whose mask in that frame's annotation is given to the tracker."""

    @property
    def annotated(self) -> Sequence[int]:
        """Numbers of the frames that have an annotation, rising."""

    @property
    def listed(self) -> Sequence[int]:
        """Numbers of the frames whose masks a result must hold, rising."""

    def image(self, frame: int) -> Image:
        """Read a frame."""

    def annotation(self, frame: int) -> Ids:
        """Read the annotation of an annotated frame, of the same size as the frame."""
