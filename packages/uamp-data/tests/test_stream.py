from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from pipes_of_files import in_time, piped
from uamp_data import DataError, open_video
from uamp_data.seeking import SeekableVideo

MakeVideo = Callable[..., Path]


def grey_of(image: npt.NDArray[np.uint8]) -> int:
    """The level that tells the numbered frames apart, from the quarter that is not red."""
    return int(np.median(image[image.shape[0] // 2 + 4 :, image.shape[1] // 2 + 4 :]))


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30), Fraction(10)])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
def test_reads_every_frame_with_its_time_and_rate(make_video: MakeVideo, ending: str, rate: Fraction) -> None:
    path = make_video(f"clip.{ending}", rate=rate)
    with open_video(path) as video:
        frames = list(video)
        assert (video.width, video.height, video.is_live, video.note) == (64, 48, False, None)
        # MPEG-TS stores no rate, so FFmpeg works it out from times of 1/90000 s
        assert float(video.frame_rate) == pytest.approx(float(rate), rel=1e-4 if ending == "ts" else 1e-12)
        assert video.frame_count == len(frames) == 12
    assert [frame.index for frame in frames] == list(range(12))
    precision = float(video.time_base) / 2 + 1e-9
    assert [frame.time for frame in frames] == pytest.approx([k / float(rate) for k in range(12)], abs=precision * 2)
    levels = [grey_of(frame.image) for frame in frames]
    assert levels == pytest.approx([60 + k * 7 for k in range(12)], abs=4)
    image = frames[0].image
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    assert image[4, 4] == pytest.approx([200, 20, 20], abs=12)


def test_a_file_can_be_read_again(make_video: MakeVideo) -> None:
    with open_video(make_video("clip.mp4")) as video:
        first = [frame.image for frame in video]
        for frame in video:
            if frame.index == 3:
                break
        again = [frame.image for frame in video]
    assert np.array_equal(first, again)


@pytest.mark.parametrize("hflip", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_applied(make_video: MakeVideo, degrees: int, hflip: bool) -> None:
    path = make_video("turned.mp4", rotation=(degrees, hflip), count=2)
    with open_video(path) as video:
        frame = next(iter(video))
        upright = (64, 48) if degrees in (0, 180) else (48, 64)
        assert (video.width, video.height) == upright
        assert frame.image.shape == (upright[1], upright[0], 3)
    # the tag's degrees count against the clock, and the mirror comes after the turn
    stored = np.zeros((48, 64), dtype=bool)
    stored[:24, :32] = True
    turned = np.rot90(stored, degrees // 90)
    expected = turned[:, ::-1] if hflip else turned
    red = frame.image[..., 0].astype(int) - frame.image[..., 1] > 80
    assert (red == expected).mean() > 0.97


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_shape_of_pixels_turns_with_the_picture(make_video: MakeVideo, degrees: int) -> None:
    path = make_video("wide.mp4", rotation=(degrees, False), pixel_aspect=Fraction(2), count=2)
    with open_video(path) as video, SeekableVideo(path) as seekable:
        assert video.pixel_aspect == seekable.pixel_aspect == (2 if degrees in (0, 180) else Fraction(1, 2))
        assert type(video.pixel_aspect) is Fraction
    with open_video(make_video("square.mp4", rotation=(degrees, False), count=2)) as video:
        assert video.pixel_aspect == 1


def test_times_of_a_variable_rate_are_exact(make_video: MakeVideo) -> None:
    ticks = [0, 3003, 6006, 12012, 12600, 21000, 90000, 93003]
    path = make_video("vfr.mp4", count=8, ticks=ticks, time_base=Fraction(1, 90000), rate=Fraction(30))
    with open_video(path) as video:
        assert [frame.time for frame in video] == pytest.approx([tick / 90000 for tick in ticks], abs=1e-9)
        assert video.frame_count == 8


def test_time_starts_at_zero(make_video: MakeVideo) -> None:
    path = make_video("late.ts", ticks=range(500, 512))
    with open_video(path) as video:
        assert [frame.time for frame in video] == pytest.approx([k / 25 for k in range(12)], abs=1e-4)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
def test_a_truncated_video_gives_what_decodes_and_says_so(make_video: MakeVideo, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    muxing = {"movflags": "+faststart"} if ending == "mp4" else {}
    path = make_video(f"cut.{ending}", frames=noise, muxing=muxing)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 5])
    with open_video(path) as video:
        count = len(list(video))
    assert 12 <= count <= 17
    assert video.note is not None
    # MPEG-TS does not say how long it should be
    expected = f"{count} frames could be read" if ending == "ts" else f"{count} of 40 frames could be read"
    assert video.note.startswith(f"the file is damaged: {expected}")


@pytest.mark.parametrize("late", [0, 10, 1500])  # steps of 1/25 s by which the first frame is late on the file's clock
def test_a_matroska_file_is_judged_on_its_own_clock(make_video: MakeVideo, late: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    path = make_video("late.mkv", frames=noise, ticks=range(late, late + 40))
    with open_video(path) as video:
        assert len(list(video)) == 40
        assert video.note is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])
    with open_video(path) as video:
        count = len(list(video))
    assert 12 <= count <= 17
    assert video.note == f"the file is damaged: {count} of 40 frames could be read"


def test_a_last_frame_that_is_shown_for_long_is_no_damage(make_video: MakeVideo, tmp_path: Path) -> None:
    path = tmp_path / "long.mkv"
    with av.open(str(make_video("clip.mkv"))) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.duration = 3000 if packet.dts == 440 else packet.duration
                packet.stream = stream
                new.mux(packet)
    with av.open(str(path)) as written:
        if max(packet.duration or 0 for packet in written.demux(written.streams.video[0])) < 3000:
            pytest.skip("this FFmpeg does not write how long a packet is shown")
    with open_video(path) as video:
        assert len(list(video)) == 12
        assert video.note is None


def test_noise_in_the_middle_does_not_end_the_reading(make_video: MakeVideo) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), dtype=np.uint8)
    path = make_video("noise.mp4", frames=noise, muxing={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 4000] = np.random.default_rng(1).bytes(4000)
    path.write_bytes(data)
    with open_video(path) as video:
        frames = list(video)
    assert 40 < len(frames) < 60
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[-1].time == pytest.approx(59 / 25)
    assert video.note == f"the file is damaged: {len(frames)} of 60 frames could be read"


def test_stopping_early_is_no_damage(make_video: MakeVideo) -> None:
    with open_video(make_video("clip.mkv")) as video:
        for frame in video:
            if frame.index == 2:
                break
    assert video.note is None


def refused(source: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        open_video(source)
    message = str(caught.value)
    assert message.count("\n") == 0
    assert message.endswith(".")
    return message


def test_what_is_no_video_is_refused(make_video: MakeVideo, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 400)
    assert "is not a video" in refused(text)
    notes = tmp_path / "notes.txt"
    notes.write_text("FFmpeg would draw this as a terminal.\n" * 40)
    assert "holds no video" in refused(notes)
    noise = tmp_path / "noise.mkv"
    noise.write_bytes(np.random.default_rng(3).bytes(50_000))
    assert "noise.mkv" in refused(noise)
    no_index = make_video("no_index.mp4")
    no_index.write_bytes(no_index.read_bytes()[:-900])
    assert "is damaged" in refused(no_index)


def test_an_index_without_pictures_is_refused(make_video: MakeVideo) -> None:
    path = make_video("head.mp4", muxing={"movflags": "+faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    assert "can be decoded" in refused(path)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "holds no video" in refused(path)


def test_a_colon_and_a_percent_sign_in_the_name_are_plain_characters(make_video: MakeVideo, tmp_path: Path) -> None:
    path = tmp_path / "http:100%d ünï.mp4"
    make_video("clip.mp4").rename(path)
    with open_video(path) as video:
        assert len(list(video)) == 12


def test_a_stream_that_changes_its_size_keeps_the_first(make_video: MakeVideo, tmp_path: Path) -> None:
    joined = tmp_path / "joined.ts"
    joined.write_bytes(make_video("a.ts").read_bytes() + make_video("b.ts", size=(24, 32)).read_bytes())
    with open_video(joined) as video:
        frames = list(video)
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert len(frames) == 24
    assert all(a.time < b.time for a, b in pairwise(frames))


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_a_file_behind_an_address(make_video: MakeVideo, tmp_path: Path) -> None:
    make_video("clip.mp4", muxing={"movflags": "+faststart"})
    with serving(partial(QuietFiles, directory=str(tmp_path))) as address:
        with open_video(f"{address}/clip.mp4") as video:
            assert not video.is_live
            assert video.frame_count == 12
            assert len(list(video)) == 12
            assert video.note is None
        assert "cannot be opened" in refused(f"{address}/missing.mp4")
    assert "cannot be opened" in refused(f"{address}/clip.mp4")


def test_a_pipe_is_read_once(make_video: MakeVideo) -> None:
    def read_twice(pipe: str | Path) -> int:
        with open_video(pipe) as video:
            count = len(list(video))
            with pytest.raises(DataError, match="was read already"):
                list(video)
            return count

    with piped(make_video("clip.mkv")) as pipe:
        assert in_time(lambda: read_twice(pipe)) == 12
    with piped(make_video("clip.mkv")) as pipe:
        assert in_time(lambda: read_twice(pipe.as_uri())) == 12


@pytest.mark.parametrize("b_frames", [0, 2])  # with any, the decoder holds frames back to put them in order
def test_a_live_stream_has_no_length_and_is_read_once(make_video: MakeVideo, b_frames: int) -> None:
    data = make_video("live.ts", b_frames=b_frames).read_bytes()

    class Broadcast(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Broadcast) as address, open_video(f"{address}/live") as video:
        assert video.is_live
        assert video.frame_count is None
        assert len(list(video)) == 12
        assert video.note is not None
        assert video.note.startswith("the stream ended after 12 frames")
        with pytest.raises(DataError, match="read already"):
            next(iter(video))
