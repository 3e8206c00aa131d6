"""Where the demo's frames come from: the user's video, or a generated clip whose true masks are known."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from uamp_cli.prompts import ObjectPrompt, Plan

if TYPE_CHECKING:
    from uamp_data.frames import Frame, VideoReader

Ids = npt.NDArray[np.uint8]

CLIP_SEED = 9
CLIP_FAMILY = "calm"
CLIP_FRAMES = 72
CLIP_SIZE = (432, 768)
"""The generated clip, an easy one: seed, family, frames, and height and width in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A video to track.

    Attributes:
        name: for the summary.
        frames: the frames, each once.
        width: pixels.
        height: pixels.
        frame_rate: frames per second.
        frame_count: how many frames there are, None if that is not known before the end.
        time_base: the step in seconds that the video counts time in, None if its frames come evenly.
        reader: the open video, None for a generated clip.
        truth: T×H×W true object ids of a generated clip.
    """

    name: str
    frames: Iterator["Frame"]
    width: int
    height: int
    frame_rate: Fraction
    frame_count: int | None
    time_base: Fraction | None = None
    reader: "VideoReader | None" = None
    truth: Ids | None = None

    @property
    def note(self) -> str | None:
        """What the reader has to say about the video, such as how much of it could not be decoded."""
        return self.reader.note if self.reader is not None else None

    @property
    def title(self) -> str:
        """The name without folders."""
        return Path(self.name).name if self.reader is not None and Path(self.name).exists() else self.name

    @property
    def sound_of(self) -> Path | None:
        """The file whose sound belongs to the frames, if it is a file that can have any."""
        return sound_file(self.name) if self.reader is not None else None

    @property
    def pixel_aspect(self) -> Fraction:
        """How wide a pixel is to be shown for its height."""
        return self.reader.pixel_aspect if self.reader is not None else Fraction(1)

    @property
    def is_live(self) -> bool:
        """Whether the frames come from a camera or a stream."""
        return self.reader is not None and self.reader.is_live


def sound_file(name: str) -> Path | None:
    """The file whose sound belongs to the video of that name, if it is a file that can have any."""
    from uamp_data.reader import local_files

    files = local_files(name)
    return files[0] if len(files) == 1 else None


@contextmanager
def open_source(name: str | None, max_frames: int | None) -> Iterator[Source]:
    """Open a video file, folder of frames, camera or address; or generate a clip if there is no name.

    Raises:
        DataError: if it cannot be read.
    """
    if name is None:
        yield _generated(CLIP_FRAMES if max_frames is None else min(max_frames, CLIP_FRAMES))
        return
    from uamp_data.ahead import AHEAD, read_ahead
    from uamp_data.reader import open_video

    most = None if max_frames is None else min(max_frames, sys.maxsize)
    with (
        open_video(name) as reader,
        # a live picture must not grow old in a queue
        closing(read_ahead(islice(iter(reader), most), most=1 if reader.is_live else AHEAD)) as frames,
    ):
        count = reader.frame_count
        yield Source(
            name=name,
            frames=frames,
            width=reader.width,
            height=reader.height,
            frame_rate=reader.frame_rate,
            frame_count=count if max_frames is None or count is None else min(count, max_frames),
            time_base=reader.time_base,
            reader=reader,
        )


def _generated(num_frames: int) -> Source:
    from uamp_data.frames import Frame
    from uamp_data.synthetic import generate_clip

    # Always the whole clip: a shorter one of the same seed would be another one.
    clip = generate_clip(CLIP_SEED, num_frames=CLIP_FRAMES, size=CLIP_SIZE, family=CLIP_FAMILY, num_objects=2)
    rate = Fraction(clip.frame_rate).limit_denominator(1001)
    frames = (Frame(index, float(index / rate), clip.frames[index]) for index in range(num_frames))
    height, width = CLIP_SIZE
    name = f"generated clip {clip.name}"
    return Source(name, frames, width, height, rate, num_frames, truth=clip.masks[:num_frames])


def true_plan(truth: Ids) -> Plan:
    """Prompts that give the tracker the true masks of the first frame."""
    ids = [int(value) for value in np.unique(truth[0]) if value]
    return Plan(tuple(ObjectPrompt(value, 0, mask=truth[0] == value, name="the true mask") for value in ids))


def default_output(name: str | None) -> Path:
    """Where the video goes if the user does not say: the current folder, named after the input."""
    if name is None:
        return Path("uamp_demo.mp4")
    if "://" in name:
        stem = Path(urlsplit(name).path).stem or "stream"
    elif name.isdecimal() and not Path(name).exists():
        stem = f"camera{name}"
    else:
        path = Path(name).resolve()
        stem = path.name if path.is_dir() else path.stem
        if any(letter in stem for letter in "*?[%") and not Path(name).exists():
            stem = Path(name).resolve().parent.name or "frames"
    return Path(f"{stem}_uamp.mp4")
