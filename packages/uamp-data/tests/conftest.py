from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

MakeVideo = Callable[..., Path]

# in importlib mode the tests' folder is not on the path, and several test files share data_trees.py
sys.path.insert(0, str(Path(__file__).parent))


def numbered_frames(count: int, height: int, width: int) -> list[npt.NDArray[np.uint8]]:
    """Frames whose grey says which they are, with a red top left quarter that says which way is up."""
    frames = []
    for index in range(count):
        frame = np.full((height, width, 3), 60 + (index * 7) % 160, dtype=np.uint8)
        frame[: height // 2, : width // 2] = (200, 20, 20)
        frames.append(frame)
    return frames


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Encodes a small video with PyAV alone, independently of the writer under test."""

    def make(
        name: str,
        *,
        frames: Sequence[npt.NDArray[np.uint8]] | None = None,
        count: int = 12,
        size: tuple[int, int] = (48, 64),
        rate: Fraction = Fraction(25),
        ticks: Sequence[int] | None = None,
        time_base: Fraction | None = None,
        rotation: tuple[int, bool] | None = None,
        pixel_aspect: Fraction = Fraction(1),
        b_frames: int = 0,
        codec: str = "libx264",
        muxing: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        pictures = numbered_frames(count, *size) if frames is None else frames
        with av.open(str(path), "w", options=muxing or {}) as container:
            x264 = {"g": "4", "bf": str(b_frames), "preset": "ultrafast", "threads": "1"}
            options = x264 if codec == "libx264" else {}
            stream = container.add_stream(codec, rate=rate, options=options)
            assert isinstance(stream, VideoStream)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = time_base or 1 / rate
            stream.codec_context.sample_aspect_ratio = pixel_aspect
            if rotation is not None:
                stream.set_display_rotation(rotation[0], hflip=rotation[1])
            for index, picture in enumerate(pictures):
                frame = VideoFrame.from_ndarray(picture, format="rgb24")
                frame.time_base = time_base or 1 / rate
                frame.pts = index if ticks is None else ticks[index]
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make
