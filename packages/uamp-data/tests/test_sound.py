"""Sound goes with the pictures, whatever it was stored as."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from uamp_data.encodings import ALPHA_ENCODINGS
from uamp_data.reader import open_video
from uamp_data.sound import open_sound
from uamp_data.writer import VideoWriter

RATE = 48_000
FLASH = 0.6
"""Seconds at which the picture turns white and a tone begins."""


def _make(path: Path, codec: str, *, delay: float = 0.0, layout: str = "stereo", rate: int = RATE) -> Path:
    """A video of 2 s at 10 frames per second; picture and tone start together, both `delay` seconds late."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(sound, AudioStream)
        for index in range(20):
            shade = 255 if index / 10 >= FLASH else 0
            frame = VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round((index / 10 + delay) * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        times = np.arange(2 * rate) / rate
        tone = np.where(times >= FLASH, np.sin(2 * np.pi * 440 * times) * 20000, 0).astype(np.int16)
        channels = av.AudioLayout(layout).nb_channels
        for start in range(0, len(tone), 960):
            part = np.repeat(tone[start : start + 960, None], channels, axis=1).reshape(1, -1)
            heard = AudioFrame.from_ndarray(part, format="s16", layout=layout)
            heard.sample_rate, heard.time_base = rate, Fraction(1, rate)
            heard.pts = start + round(delay * rate)
            container.mux(sound.encode(heard))
        container.mux(sound.encode(None))
    return path


def _rewrite(source: Path, target: Path, frames: int | None = None, skip: int = 0) -> VideoWriter:
    with (
        open_video(source) as video,
        VideoWriter(target, frame_rate=video.frame_rate, size=(48, 64), sound_of=source) as writer,
    ):
        for frame in video:
            if skip <= frame.index and (frames is None or frame.index < frames):
                writer.write(frame.image, frame.time)
    return writer


def _heard(path: Path) -> tuple[str, float, float]:
    """Codec, where the tone begins and where the sound ends, in seconds."""
    onset, end = float("nan"), 0.0
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for frame in container.decode(stream):
            assert frame.time is not None
            samples = frame.to_ndarray().astype(float)
            loud = np.flatnonzero(np.abs(samples).max(axis=0) > 0.1 * (1 if "flt" in frame.format.name else 32768))
            if loud.size and np.isnan(onset):
                step = frame.format.is_planar or 1 / len(frame.layout.channels)
                onset = frame.time + loud[0] * step / frame.sample_rate
            end = frame.time + frame.samples / frame.sample_rate
        return stream.codec_context.codec.canonical_name, onset, end


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("a.mp4", "aac", "aac"),
        ("a.mkv", "aac", "aac"),
        ("a.ts", "aac", "aac"),
        ("a.mp4", "libmp3lame", "mp3"),
        ("a.webm.mkv", "libopus", "opus"),
        ("a.mov", "pcm_s16le", "aac"),
        ("a.avi", "pcm_s16le", "aac"),
        ("a.mkv", "flac", "aac"),
    ],
)
def test_sound_stays_with_the_picture(tmp_path: Path, name: str, codec: str, kept: str) -> None:
    source = _make(tmp_path / name, codec)
    writer = _rewrite(source, tmp_path / "out.mp4")
    assert writer.note is None
    found, onset, end = _heard(tmp_path / "out.mp4")
    assert found == kept
    assert onset == pytest.approx(FLASH, abs=0.05)
    assert end == pytest.approx(2, abs=0.06)
    with open_video(tmp_path / "out.mp4") as video:
        assert next(frame.time for frame in video if frame.image.mean() > 128) == pytest.approx(FLASH)
        assert video.frame_count == 20


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_video_that_starts_late_on_its_own_clock(tmp_path: Path, codec: str) -> None:
    source = _make(tmp_path / "late.mkv", codec, delay=1.5)
    _rewrite(source, tmp_path / "out.mp4")
    assert _heard(tmp_path / "out.mp4")[1] == pytest.approx(FLASH, abs=0.05)


@pytest.mark.parametrize("codec", ["aac", "flac"])
def test_sound_ends_with_the_pictures(tmp_path: Path, codec: str) -> None:
    _rewrite(_make(tmp_path / "a.mkv", codec), tmp_path / "out.mp4", frames=9)
    _, onset, end = _heard(tmp_path / "out.mp4")
    assert onset == pytest.approx(FLASH, abs=0.05)
    assert end == pytest.approx(0.9, abs=0.1)  # whole blocks


@pytest.mark.parametrize(("layout", "rate"), [("mono", 11025), ("5.1", 48000), ("stereo", 37800)])
def test_unusual_rates_and_layouts(tmp_path: Path, layout: str, rate: int) -> None:
    source = _make(tmp_path / "a.mkv", "pcm_s16le", layout=layout, rate=rate)
    assert _rewrite(source, tmp_path / "out.mp4").note is None
    assert _heard(tmp_path / "out.mp4")[1] == pytest.approx(FLASH, abs=0.06)


@pytest.mark.parametrize(
    ("ending", "codec", "kept"), [(".webm", "aac", "opus"), (".webm", "libopus", "opus"), (".mov", "aac", "aac")]
)
def test_sound_beside_alpha(tmp_path: Path, ending: str, codec: str, kept: str) -> None:
    source, target = _make(tmp_path / "a.mkv", codec), tmp_path / f"out{ending}"
    with VideoWriter(target, frame_rate=10, size=(48, 64), encoding=ALPHA_ENCODINGS[ending], sound_of=source) as writer:
        for _ in range(20):
            writer.write(np.zeros((48, 64, 4), np.uint8))
    found, onset, end = _heard(target)
    assert found == kept
    assert onset == pytest.approx(FLASH, abs=0.05)
    assert end == pytest.approx(2, abs=0.06)


def test_damaged_sound_ends_early_and_the_pictures_go_on(tmp_path: Path) -> None:
    whole = _make(tmp_path / "a.avi", "pcm_s16le").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    _rewrite(tmp_path / "cut.avi", tmp_path / "out.mp4")
    assert _heard(tmp_path / "out.mp4")[2] < 2


def test_no_sound(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "silent.mp4", frame_rate=10, size=(48, 64)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "text.mp4").write_text("no video")
    assert open_sound(tmp_path / "silent.mp4") is None
    assert open_sound(tmp_path / "text.mp4") is None
    _rewrite(tmp_path / "silent.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
