"""Sound goes with the pictures, whatever it was stored as."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from pipes_of_files import in_time, piped
from uamp_data.encodings import ALPHA_ENCODINGS
from uamp_data.errors import DataError
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


def _loud(path: Path) -> list[tuple[float, float]]:
    """Where each tone begins and ends, in seconds."""
    tones: list[list[float]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[0]):
            assert frame.time is not None
            for at in np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1) / frame.sample_rate + frame.time:
                if not tones or at > tones[-1][1] + 0.1:
                    tones.append([at, at])
                tones[-1][1] = at
    return [(begin, end) for begin, end in tones]


def _frame_count(path: Path) -> int:
    with open_video(path) as video:
        return len(list(video))


@pytest.mark.parametrize(("codec", "kept"), [("mp2", "aac"), ("aac", "aac"), ("ac3", "ac3")])
def test_files_joined_end_to_end_keep_the_sound_of_both(tmp_path: Path, codec: str, kept: str) -> None:
    joined = tmp_path / "joined.ts"
    joined.write_bytes(_make(tmp_path / "a.ts", codec).read_bytes() * 2)
    assert _rewrite(joined, tmp_path / "out.mp4").note is None
    assert _heard(tmp_path / "out.mp4")[0] == kept
    assert _frame_count(tmp_path / "out.mp4") == 40
    (first, first_end), (second, second_end) = _loud(tmp_path / "out.mp4")
    assert (first, first_end) == pytest.approx((FLASH, 2), abs=0.06)
    assert (second, second_end) == pytest.approx((2 + FLASH, 4), abs=0.12)


def _change_sound(source: Path, target: Path, change: Callable[[int, Packet[Any]], Packet[Any]]) -> Path:
    """Copies a file; `change` gets each packet of sound with its number, and its result goes into the copy."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = [new.add_stream_from_template(stream) for stream in (old.streams.video[0], old.streams.audio[0])]
        number, last = 0, -1
        packet: Packet[Any]
        for packet in old.demux(old.streams.video[0], old.streams.audio[0]):
            if packet.dts is None:
                continue
            if packet.stream.type != "audio":
                packet.stream = streams[0]
                new.mux(packet)
                continue
            changed = change(number, packet)
            number += 1
            changed.stream = streams[1]
            if changed.dts is not None and changed.dts > last:
                last = changed.dts
                new.mux(changed)
    return target


def _same_time(packet: Packet[Any], other: Packet[Any]) -> Packet[Any]:
    packet.pts, packet.dts, packet.duration, packet.time_base = other.pts, other.dts, other.duration, other.time_base
    return packet


def test_a_clock_of_sound_that_goes_back_costs_nothing_else(tmp_path: Path) -> None:
    def set_back(number: int, packet: Packet[Any]) -> Packet[Any]:
        if number >= 6 and packet.pts is not None and packet.dts is not None:
            packet.pts -= 150
            packet.dts -= 150
        return packet

    path = _change_sound(_make(tmp_path / "a.mkv", "flac"), tmp_path / "back.mkv", set_back)
    writer = _rewrite(path, tmp_path / "out.mp4")
    assert writer.note is None
    assert _frame_count(tmp_path / "out.mp4") == 20
    assert _heard(tmp_path / "out.mp4")[2] > 1.8


def test_sound_that_mp4_would_refuse_costs_no_pictures(tmp_path: Path) -> None:
    def hurt(number: int, packet: Packet[Any]) -> Packet[Any]:
        if number != 30:
            return packet
        data = bytearray(bytes(packet))
        data[4] = 0x40  # another sampling rate in the header of E-AC3
        return _same_time(Packet(bytes(data)), packet)

    path = _change_sound(_make(tmp_path / "a.mp4", "eac3"), tmp_path / "hurt.mkv", hurt)
    writer = _rewrite(path, tmp_path / "out.mp4")
    assert _frame_count(tmp_path / "out.mp4") == 20, writer.note
    assert _heard(tmp_path / "out.mp4")[2] > 0.7


def test_sound_that_the_encoder_refuses_ends_and_the_pictures_go_on(tmp_path: Path) -> None:
    def spoil(number: int, packet: Packet[Any]) -> Packet[Any]:
        if packet.pts is None or packet.pts < 1000:
            return packet
        return _same_time(Packet(np.full(packet.size // 4, np.nan, np.float32).tobytes()), packet)

    path = _change_sound(_make(tmp_path / "a.mkv", "pcm_f32le"), tmp_path / "spoilt.mkv", spoil)
    writer = _rewrite(path, tmp_path / "out.mp4")
    assert writer.note == "the sound of spoilt.mkv is damaged and ends early"
    assert _frame_count(tmp_path / "out.mp4") == 20
    assert 0.8 < _heard(tmp_path / "out.mp4")[2] < 1.1


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_tags_may_be_of_any_encoding(tmp_path: Path, ending: str) -> None:
    source = _make(tmp_path / f"a.{ending}", "aac")
    whole = source.read_bytes()
    assert b"Lavf" in whole  # FFmpeg tells in a tag who wrote the file
    source.write_bytes(whole.replace(b"Lavf", b"\xe9\xe8vf"))
    assert _rewrite(source, tmp_path / "out.mkv").note is None
    assert _frame_count(tmp_path / "out.mkv") == 20
    assert 0.5 < _heard(tmp_path / "out.mkv")[1] < 0.7


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_a_full_disk_is_not_taken_for_damaged_sound(
    tmp_path: Path, codec: str, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    source = _make(tmp_path / "a.mkv", codec)
    with room_for(6000), pytest.raises(DataError, match="would exceed the largest file"):
        _rewrite(source, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def test_a_pipe_gives_its_pictures_without_sound(tmp_path: Path) -> None:
    with piped(_make(tmp_path / "a.mkv", "aac")) as pipe:
        writer = in_time(lambda: _rewrite(pipe, tmp_path / "out.mp4"))
    assert writer.note == "sound that pipe.mkv may have is left out: a pipe can be read only once"
    assert _frame_count(tmp_path / "out.mp4") == 20
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_no_sound(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "silent.mp4", frame_rate=10, size=(48, 64)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "text.mp4").write_text("no video")
    assert open_sound(tmp_path / "silent.mp4") is None
    assert open_sound(tmp_path / "text.mp4") is None
    _rewrite(tmp_path / "silent.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
