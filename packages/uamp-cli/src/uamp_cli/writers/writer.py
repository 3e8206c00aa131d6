"""What every form of output has in common."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from uamp_cli.tracking import TrackedFrame


@dataclass(frozen=True, slots=True)
class VideoForm:
    """What an output has in common with the input.

    Attributes:
        height: pixels.
        width: pixels.
        frame_rate: frames per second, the average where the rate varies.
        time_base: the step in seconds that the input counts time in, None if its frames come evenly.
        sound_of: a video file whose sound videos are to carry, None for silence.
        pixel_aspect: how wide players show a pixel for its height; frames, masks and boxes are in stored pixels.
    """

    height: int
    width: int
    frame_rate: Fraction
    time_base: Fraction | None = None
    sound_of: Path | None = None
    pixel_aspect: Fraction = Fraction(1)


class Writer(Protocol):
    """One output. Until `close` nothing at its path changes; all raise `DataError` if something cannot be written."""

    @property
    def path(self) -> Path:
        """The file or folder."""

    @property
    def note(self) -> str | None:
        """What the user should know about it, after closing."""

    def add(self, frame: TrackedFrame) -> None:
        """Take the next frame."""

    def close(self) -> Path:
        """Finish, put the result in place and return where it is. At least one frame must have come."""

    def abort(self) -> None:
        """Leave nothing behind. Does nothing after `close` or another `abort`."""
