from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.container import InputContainer
from uamp_data import DataError, VideoWriter, open_video

MakeVideo = Callable[..., Path]


def pictures(count: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A slow change of colour, which compression keeps."""
    levels = (np.arange(count) * 11 % 200 + 20).astype(np.uint8)
    frames = np.empty((count, height, width, 3), dtype=np.uint8)
    frames[:] = levels[:, None, None, None]
    frames[..., 2] = 255 - frames[..., 2]
    return frames


def times_of(path: Path) -> tuple[Fraction | None, list[Fraction]]:
    """Average rate and frame times, as FFmpeg sees them."""
    container: InputContainer
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [(frame.pts or 0) * Fraction(frame.time_base or 0) for frame in container.decode(stream)]
        return stream.average_rate, times


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25), Fraction(30), Fraction(10)]
)
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("timed", [False, True])
def test_count_rate_and_times_survive(tmp_path: Path, ending: str, rate: Fraction, timed: bool) -> None:
    path = tmp_path / f"out{ending}"
    with VideoWriter(path, frame_rate=rate, size=(16, 24)) as writer:
        for index, image in enumerate(pictures(20, 16, 24)):
            writer.write(image, float(index / rate) if timed else None)
    average, times = times_of(path)
    assert average == rate
    if ending == ".mkv":  # it stores milliseconds
        assert [float(time) for time in times] == pytest.approx([k / float(rate) for k in range(20)], abs=6e-4)
    else:
        assert times == [k / rate for k in range(20)]


@pytest.mark.parametrize("source", ["mp4", "mkv", "avi", "ts"])
@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(10)])
def test_a_copy_has_the_count_rate_and_times_of_its_source(
    make_video: MakeVideo, tmp_path: Path, source: str, rate: Fraction
) -> None:
    path = tmp_path / "copy.mp4"
    with open_video(make_video(f"in.{source}", rate=rate)) as video:
        size = (video.height, video.width)
        with VideoWriter(path, frame_rate=video.frame_rate, size=size, time_base=video.time_base) as writer:
            for frame in video:
                writer.write(frame.image, frame.time)
        average, times = times_of(path)
        assert len(times) == video.frame_count == 12
        assert average == video.frame_rate
        # also from Matroska, which rounds times to milliseconds: even steps are made exact again
        assert times == [k / video.frame_rate for k in range(12)]


def test_times_of_a_variable_rate_are_kept_exactly(make_video: MakeVideo, tmp_path: Path) -> None:
    ticks = [0, 3003, 6006, 12012, 12600, 21000, 90000, 93003]
    source = make_video("vfr.mp4", count=8, ticks=ticks, time_base=Fraction(1, 90000), rate=Fraction(30))
    path = tmp_path / "copy.mp4"
    with open_video(source) as video:
        size = (video.height, video.width)
        with VideoWriter(path, frame_rate=video.frame_rate, size=size, time_base=video.time_base) as writer:
            for frame in video:
                writer.write(frame.image, frame.time)
        average, times = times_of(path)
        assert times == [Fraction(tick, 90000) for tick in ticks]
        assert average == video.frame_rate


def test_times_that_do_not_grow_are_pushed_on(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, frame_rate=25, size=(16, 16)) as writer:
        for image, time in zip(pictures(5, 16, 16), [3.0, 3.0, 2.0, 4.0, None], strict=True):
            writer.write(image, time)
    _, times = times_of(path)
    assert times[0] == 0
    assert all(a < b for a, b in pairwise(times))
    assert times[3:] == [1, Fraction(26, 25)]


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(16, 11)])
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_pixels_that_are_not_square_stay_so(tmp_path: Path, ending: str, aspect: Fraction) -> None:
    path = tmp_path / f"out{ending}"
    with VideoWriter(path, frame_rate=25, size=(16, 24), pixel_aspect=aspect) as writer:
        writer.write(pictures(1, 16, 24)[0])
    with open_video(path) as video:
        assert (video.pixel_aspect, video.height, video.width) == (aspect, 16, 24)
    assert writer.note is None


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 2), (17, 31), (17, 4000), (4000, 17), (48, 64)])
def test_every_size_is_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "out.mp4"
    frames = pictures(3, *size)
    with VideoWriter(path, frame_rate=Fraction(25), size=size) as writer:
        for image in frames:
            writer.write(image)
    with open_video(path) as video:
        again = [frame.image for frame in video]
        assert (video.height, video.width) == size
    assert np.abs(np.asarray(again).astype(int) - frames).max() <= 8


def test_4k(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, frame_rate=25, size=(2160, 3840)) as writer:
        writer.write(pictures(1, 2160, 3840)[0])
    with open_video(path) as video:
        assert [frame.image.shape for frame in video] == [(2160, 3840, 3)]


def test_browsers_play_it(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, frame_rate=25, size=(32, 48)) as writer:
        for image in pictures(4, 32, 48):
            writer.write(image)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # the index comes first
    container: InputContainer
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace, context.color_range) == ("h264", "yuv420p", 1, 1)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (180, 90, 30)])
def test_colours_stay(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, frame_rate=25, size=(32, 32)) as writer:
        writer.write(np.full((32, 32, 3), colour, dtype=np.uint8))
    with open_video(path) as video:
        (frame,) = video
    assert np.abs(frame.image.astype(int) - colour).max() <= 4


def test_a_new_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.mp4"
    writer = VideoWriter(path, frame_rate=25, size=(16, 16))
    writer.write(pictures(1, 16, 16)[0])
    assert not path.exists()
    writer.close()
    assert path.exists()
    writer.close()
    writer.abort()
    assert path.exists()
    assert left_behind(path.parent) == []
    with pytest.raises(DataError, match="is closed"):
        writer.write(pictures(1, 16, 16)[0])


def test_an_exception_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("older")

    def fail() -> None:
        with VideoWriter(path, frame_rate=25, size=(16, 16)) as writer:
            for image in pictures(30, 16, 16):
                writer.write(image)
            raise RuntimeError("went wrong")

    with pytest.raises(RuntimeError, match="went wrong"):
        fail()
    assert path.read_text() == "older"
    assert left_behind(tmp_path) == []


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "out.mp4"
    try:
        link.symlink_to(tmp_path / "far" / "real.mp4")
    except OSError:
        pytest.skip("no links here")
    with VideoWriter(link, frame_rate=25, size=(16, 16)) as writer:
        writer.write(pictures(1, 16, 16)[0])
    assert link.is_symlink()
    assert (tmp_path / "far" / "real.mp4").stat().st_size > 0


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_ctrl_c_keeps_what_was_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    path.write_text("older")

    def interrupt() -> None:
        with VideoWriter(path, frame_rate=25, size=(16, 16)) as writer:
            for index, image in enumerate(pictures(30, 16, 16)):
                writer.write(image)
                if index == 16:
                    signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with open_video(path) as video:
        assert len(list(video)) == 17
        assert video.note is None
    assert left_behind(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_the_first_frame_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, frame_rate=25, size=(16, 16)):
        raise KeyboardInterrupt
    assert path.read_text() == "older"
    assert left_behind(tmp_path) == []


def refused(path: Path, **changes: object) -> str:
    settings: dict[str, object] = {"frame_rate": Fraction(25), "size": (16, 16)} | changes
    with pytest.raises(DataError) as caught, VideoWriter(path, **settings) as writer:  # type: ignore[arg-type]
        writer.write(pictures(1, 16, 16)[0])
    message = str(caught.value)
    assert message.count("\n") == 0
    assert message.endswith(".")
    return message


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    assert "ends in .avi" in refused(tmp_path / "out.avi")
    assert "ends in nothing" in refused(tmp_path / "out")
    (tmp_path / "folder.mp4").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.mp4")
    (tmp_path / "file").touch()
    assert "is not a folder" in refused(tmp_path / "file" / "out.mp4")
    assert "is not a folder" in refused(tmp_path / "file" / "deep" / "out.mp4")
    assert "too long" in refused(tmp_path / ("x" * 300 + ".mp4"))
    assert "0×16 pixels" in refused(tmp_path / "out.mp4", size=(16, 0))
    assert "20000×16 pixels" in refused(tmp_path / "out.mp4", size=(16, 20000))
    assert "frames per second" in refused(tmp_path / "out.mp4", frame_rate=Fraction(0))
    assert "takes uint8" in refused(tmp_path / "out.mp4", size=(16, 32))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_the_home_of_nobody_is_a_name_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with VideoWriter("~nobody-of-this-name/out.mp4", frame_rate=25, size=(16, 16)) as writer:
        writer.write(pictures(1, 16, 16)[0])
    assert (tmp_path / "~nobody-of-this-name" / "out.mp4").stat().st_size > 0


def test_no_frame_is_no_video(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="No frame was written"),
        VideoWriter(tmp_path / "out.mp4", frame_rate=25, size=(16, 16)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
@pytest.mark.parametrize("room", [0, 3000, 25000])
def test_where_there_is_no_room_the_older_file_stays(
    tmp_path: Path, ending: str, room: int, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / f"out{ending}"
    path.write_text("older")
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)

    def fill() -> None:
        with VideoWriter(path, frame_rate=25, size=(64, 64)) as writer:
            for image in noise:
                writer.write(image)

    with room_for(room), pytest.raises(DataError, match="would exceed the largest file allowed here"):
        fill()
    assert path.read_text() == "older"
    assert left_behind(tmp_path) == []
    fill()
    assert path.stat().st_size > 25000
