"""Frames in any order are the frames in order."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from pipes_of_files import in_time, piped
from uamp_data.errors import DataError
from uamp_data.frames import Frame
from uamp_data.reader import open_video
from uamp_data.seeking import SeekableVideo


def write_video(path: Path, frames: int, *, rate: int = 25, group: int = 8, ticks: list[int] | None = None) -> None:
    """H.264 with frames that wait for later ones, a key frame every `group`; each frame's grey says its number."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "g": str(group), "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            picture = np.full((48, 64, 3), 20 + 4 * number, np.uint8)
            picture[:, : 2 + number] = (200, 40, 40)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = ticks[number] if ticks else number * 1000 // rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_every_frame_is_the_one_that_reading_in_order_gives(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    write_video(path, 30)
    with open_video(path) as reader:
        expected = list(reader)
    with SeekableVideo(path) as video:
        assert video.frame_count == 30
        assert (video.width, video.height) == (64, 48)
        for index in (29, 3, 4, 17, 0, 16, 15, 7, 8):
            frame = video.frame(index)
            assert frame.index == index
            assert frame.time == pytest.approx(expected[index].time)
            np.testing.assert_array_equal(frame.image, expected[index].image)


def test_a_pass_from_the_middle_gives_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    ticks = [0, 40, 90, 91, 200, 260, 300, 330, 500, 520, 560, 600]
    write_video(path, 12, ticks=ticks, group=4)
    video = SeekableVideo(path)
    with open_video(path) as reader:
        expected = list(reader)
    got = list(video.frames(5, 11))
    assert [frame.index for frame in got] == list(range(5, 11))
    for frame in got:
        assert frame.time == pytest.approx(expected[frame.index].time)
        np.testing.assert_array_equal(frame.image, expected[frame.index].image)
    assert list(video.frames(12)) == []


def test_pictures_are_read_one_by_one(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(5):
        Image.fromarray(np.full((8, 12, 3), 10 * number, np.uint8)).save(tmp_path / f"{number}.png")
    video = SeekableVideo(tmp_path)
    assert video.frame_count == 5
    assert video.frame(3).image[0, 0, 0] == 30
    assert [frame.image[0, 0, 0] for frame in video.frames(1, 3)] == [10, 20]
    with pytest.raises(DataError, match="has no frame -1"):
        video.frame(-1)


def test_a_cut_off_file_gives_what_there_is_and_says_what_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "whole.mkv"
    write_video(path, 40)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    video = SeekableVideo(cut)
    assert 0 < video.frame_count < 40
    assert video.frame(2).index == 2
    with pytest.raises(DataError, match="cannot be decoded"):
        video.frame(39)


def damaged(path: Path, offset: int, data: bytes) -> Path:
    """H.264 of 30 frames in which packet 10, which is no key frame, is overwritten from a byte of it on."""
    write_video(path, 30)
    with av.open(str(path)) as container:
        packet = next(islice(container.demux(container.streams.video[0]), 10, None))
        assert packet.pos is not None
        assert not packet.is_keyframe
    with path.open("r+b") as file:
        file.seek(packet.pos + offset)
        file.write(data)
    return path


def check_is_as_read(video: SeekableVideo, index: int, expected: list[Frame]) -> None:
    frame = video.frame(index)
    assert frame.index == index
    assert frame.time == pytest.approx(expected[index].time)
    np.testing.assert_array_equal(frame.image, expected[index].image)


def test_behind_a_broken_packet_numbers_are_those_of_reading(tmp_path: Path) -> None:
    path = damaged(tmp_path / "clip.mp4", 0, bytes([255] * 8))
    with open_video(path) as reader:
        expected = list(reader)
    assert len(expected) < 30
    for index in range(len(expected)):
        with SeekableVideo(path) as video:  # anew, so that nothing was read before
            check_is_as_read(video, index, expected)


def test_damage_that_only_decoding_shows_counts_from_the_first_pass_over_it(tmp_path: Path) -> None:
    path = damaged(tmp_path / "clip.mp4", 4, bytes(4))  # the length stays, the part's kind does not
    with open_video(path) as reader:
        expected = list(reader)
    assert len(expected) < 30
    with SeekableVideo(path) as video:
        assert video.frame_count == 30
        assert video.frame(25).index == 25
        assert [frame.index for frame in video.frames()] == list(range(len(expected)))
        assert video.frame_count == len(expected)
        for index in (25, len(expected) - 1, 12, 3, 16):
            check_is_as_read(video, index, expected)
        with pytest.raises(DataError, match="cannot be decoded"):
            video.frame(len(expected))


def test_a_pass_that_meets_damage_goes_on_with_the_numbers_of_reading(tmp_path: Path) -> None:
    path = damaged(tmp_path / "clip.mp4", 4, bytes(4))
    with open_video(path) as reader:
        expected = list(reader)
    for frame, other in zip(SeekableVideo(path).frames(2), expected[2:], strict=True):
        assert frame.index == other.index
        assert frame.time == pytest.approx(other.time)
        np.testing.assert_array_equal(frame.image, other.image)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"no video at all" * 50)
    with pytest.raises(DataError, match="not a video"):
        SeekableVideo(tmp_path / "no.mp4")
    with pytest.raises(DataError, match="does not exist"):
        SeekableVideo(tmp_path / "missing.mp4")


def test_a_pipe_cannot_be_wound_back(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mkv", 12)
    with (
        piped(tmp_path / "clip.mkv") as pipe,
        pytest.raises(DataError, match="cannot be wound back: record it to a file"),
    ):
        in_time(lambda: SeekableVideo(pipe))
