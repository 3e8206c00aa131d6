from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""One picture, H×W×3 RGB, contiguous."""

DEFAULT_RATE = Fraction(25)
"""Frames per second where the source does not say, as in a folder of pictures (FFmpeg's default too)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video.

    Attributes:
        index: 0 for the first frame, then 1, 2, ...
        time: Seconds since the first frame; strictly increasing.
        image: H×W×3 uint8 RGB, contiguous, upright.
    """

    index: int
    time: float
    image: Image


class VideoReader(ABC):
    """Frames of one source, read one at a time; what `open_video` returns.

    Iterating starts at the first frame each time. A live source can be iterated once.

    Attributes:
        source: What was opened, as it was named.
        width: Pixels across, after rotation.
        height: Pixels down, after rotation.
        frame_rate: Frames per second: the average where the rate varies.
        time_base: The step, in seconds, that the source counts time in.
        pixel_aspect: How wide a pixel is to be shown for its height, after rotation; 1 for nearly all videos.
        is_live: A camera or a stream without an end: it can be read once and its length is unknown.
        note: None, or after iterating a sentence on what could not be read or is left out.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.width = 0
        self.height = 0
        self.frame_rate = DEFAULT_RATE
        self.time_base = 1 / DEFAULT_RATE
        self.pixel_aspect = Fraction(1)
        self.is_live = False
        self.note: str | None = None

    @property
    @abstractmethod
    def frame_count(self) -> int | None:
        """Frames that the source announces or that were counted; None where that cannot be known."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames from the first to the last, keeping none of them."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the source. Closing twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
