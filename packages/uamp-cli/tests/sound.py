"""A small video with a tone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

RATE = 48_000


def write_video_with_sound(path: Path, *, seconds: int, height: int = 64, width: int = 96) -> None:
    """Write 10 frames per second with a tone in AAC."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=RATE, layout="mono")
        for index in range(10 * seconds):
            frame = VideoFrame.from_ndarray(np.full((height, width, 3), 9 * index, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = (np.sin(np.arange(RATE * seconds) / 20) * 9000).astype(np.int16)
        for start in range(0, len(tone), 1024):
            part = AudioFrame.from_ndarray(tone[None, start : start + 1024], format="s16", layout="mono")
            part.sample_rate, part.pts, part.time_base = RATE, start, Fraction(1, RATE)
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
