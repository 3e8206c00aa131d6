"""Video with alpha comes back as it was written."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.codec.context import CodecContext
from av.video.frame import VideoFrame
from uamp_data.encodings import ALPHA_ENCODINGS
from uamp_data.errors import DataError
from uamp_data.reader import open_video
from uamp_data.writer import VideoWriter


def _frame(index: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    picture = np.zeros((height, width, 4), np.uint8)
    picture[..., :3] = (200, 100, 50)
    picture[height // 4 : height // 2, width // 8 + index : width // 2 + index, 3] = 255
    return picture


def _rgba(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    return frame.to_ndarray(format="rgba").astype(np.uint8, copy=False)


def _decode(path: Path) -> list[npt.NDArray[np.uint8]]:
    """Frames as H×W×4 RGBA. FFmpeg's own VP9 decoder passes over alpha, so libvpx decodes that."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.codec_context.name != "vp9":
            return [_rgba(frame) for frame in container.decode(stream)]
        decoder = CodecContext.create("libvpx-vp9", "r")
        frames = [frame for packet in container.demux(stream) if packet.size for frame in decoder.decode(packet)]
        return [_rgba(frame) for frame in [*frames, *decoder.decode(None)]]


@pytest.mark.parametrize("ending", [".mov", ".webm"])
@pytest.mark.parametrize(("height", "width"), [(64, 96), (63, 95), (17, 400), (1, 1)])
def test_alpha_comes_back(tmp_path: Path, ending: str, height: int, width: int) -> None:
    path = tmp_path / f"cut{ending}"
    frames = [_frame(index, height, width) for index in range(5)]
    with VideoWriter(path, frame_rate=10, size=(height, width), encoding=ALPHA_ENCODINGS[ending]) as writer:
        for frame in frames:
            writer.write(frame)
    found = _decode(path)
    assert len(found) == 5
    for before, after in zip(frames, found, strict=True):
        assert after.shape == before.shape
        assert np.abs(before[..., 3].astype(int) - after[..., 3]).max() <= 8
        assert np.array_equal(before[..., 3] > 127, after[..., 3] > 127)
        solid = before[..., 3] > 0
        assert np.abs(before.astype(int) - after)[solid].max(initial=0) <= 4
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 10


@pytest.mark.parametrize("ending", [".mov", ".webm"])
def test_pixels_that_are_not_square_stay_so_or_a_note_says_otherwise(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"cut{ending}"
    encoding = ALPHA_ENCODINGS[ending]
    with VideoWriter(path, frame_rate=10, size=(48, 64), encoding=encoding, pixel_aspect=Fraction(2)) as writer:
        writer.write(_frame(0, 48, 64))
    with open_video(path) as video:
        assert (video.pixel_aspect == 2) == encoding.keeps_pixel_aspect == (writer.note is None)


def test_pictures_without_alpha_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"takes uint8 of \(8, 8, 4\)"),
        VideoWriter(tmp_path / "a.mov", frame_rate=10, size=(8, 8), encoding=ALPHA_ENCODINGS[".mov"]) as writer,
    ):
        writer.write(np.zeros((8, 8, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_endings_belong_to_encodings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in \.mp4: name an output that ends in \.webm"):
        VideoWriter(tmp_path / "a.mp4", frame_rate=10, size=(8, 8), encoding=ALPHA_ENCODINGS[".webm"])
