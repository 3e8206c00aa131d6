"""What the page can show: a video of the user's, read as needed, or the generated clip."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from uamp_cli.sources import Source, open_source

if TYPE_CHECKING:
    from uamp_data.frames import Frame

GENERATED = "generated clip"


class Clip(Protocol):
    """Frames that can be had in any order."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def width(self) -> int:
        """Pixels across."""

    @property
    def height(self) -> int:
        """Pixels down."""

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second."""

    @property
    def time_base(self) -> Fraction | None:
        """The step in seconds that times are counted in, None if frames come evenly."""

    @property
    def pixel_aspect(self) -> Fraction:
        """How wide a pixel is to be shown for its height."""

    @property
    def frame_count(self) -> int:
        """How many frames there are."""

    def frame(self, index: int) -> "Frame":
        """One frame."""

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator["Frame"]:
        """The frames from `start` to before `stop`, or to the end."""

    def close(self) -> None:
        """Let go of the file."""


class GeneratedClip:
    """The demo's generated clip: small enough to be kept in memory; `truth` holds its T×H×W object ids."""

    def __init__(self, source: Source) -> None:
        self.name = GENERATED
        self.width, self.height = source.width, source.height
        self.frame_rate, self.time_base = source.frame_rate, source.time_base
        self.pixel_aspect = source.pixel_aspect
        self.truth = source.truth
        self._frames = list(source.frames)
        self.frame_count = len(self._frames)

    def frame(self, index: int) -> "Frame":
        """One frame."""
        return self._frames[index]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator["Frame"]:
        """The frames from `start` to before `stop`, or to the end."""
        return iter(self._frames[start:stop])

    def close(self) -> None:
        """Nothing to let go of."""


@cache
def generated_clip() -> GeneratedClip:
    """The generated clip, made once."""
    with open_source(None, None) as source:
        return GeneratedClip(source)


def open_clip(name: str | Path) -> Clip:
    """Open a video file, a folder of frames or a pattern.

    Raises:
        DataError: if it cannot be read, or is live.
    """
    from uamp_data.seeking import SeekableVideo

    return SeekableVideo(name)
