"""The sound of one video file, laid under the pictures of another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition

logger = logging.getLogger(__name__)

_COPIED = {
    "mp4": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"}),
    "mov": frozenset({"aac", "mp3", "ac3", "eac3", "alac"}),
    "matroska": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "vorbis", "flac"}),
    "webm": frozenset({"opus", "vorbis"}),
}
"""Codecs that players expect in a container; any other is encoded anew, as Opus in WebM and as AAC elsewhere."""
_AAC_RATES = frozenset({96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000})
_USUAL_RATE = 48_000
_AAC_LAYOUTS = frozenset({"mono", "stereo", "5.1", "7.1"})


class Sound:
    """Takes the sound of a file and writes it beside new pictures, up to where these have come.

    Its zero is the file's first picture. Sound that players take in the new container is copied as it is. A damaged
    place ends it: the pictures matter more. Then `note` says so.
    """

    def __init__(self, source: Path, container: InputContainer, stream: AudioStream, start: float) -> None:
        """Use `open_sound`.

        Args:
            source: The file.
            container: The file, open.
            stream: The sound in it.
            start: Seconds on the file's clock of its first picture.
        """
        self.source = source
        self.note: str | None = None
        self._container = container
        self._stream = stream
        self._start = start
        self._queue: Iterator[tuple[float, Any]] = iter(())
        self._waiting: tuple[float, Any] | None = None
        self._output: OutputContainer | None = None
        self._out_stream: AudioStream | None = None
        self._copies = False
        self._last_dts: int | None = None

    def attach(self, output: OutputContainer) -> None:
        """Adds a stream for it to a container that is being made, before anything is written to that."""
        self._output = output
        self._copies = self._stream.codec_context.codec.canonical_name in _COPIED.get(output.format.name, ())
        if self._copies:
            self._out_stream = output.add_stream_from_template(self._stream)
            self._queue = self._packets()
        else:
            context = self._stream.codec_context
            is_web = output.format.name == "webm"
            rate = context.sample_rate if context.sample_rate in _AAC_RATES and not is_web else _USUAL_RATE
            layout = context.layout.name if context.layout.name in _AAC_LAYOUTS else "stereo"
            self._out_stream = output.add_stream("libopus" if is_web else "aac", rate=rate, layout=layout)
            self._queue = self._frames(AudioResampler(format="flt" if is_web else "fltp", layout=layout, rate=rate))

    def write_until(self, time: float) -> None:
        """Writes what begins before `time`, in seconds from the first picture."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._queue, None)
            if self._waiting is None or self._waiting[0] >= time:
                return
            _, item = self._waiting
            self._waiting = None
            self._mux([item] if self._copies else self._encoded(item))

    def finish(self, end: float) -> None:
        """Writes the rest up to where the pictures end and what the encoder holds back."""
        self.write_until(end)
        if not self._copies:
            self._mux(self._encoded(None))

    def close(self) -> None:
        """Lets go of the file."""
        self._container.close()

    def _packets(self) -> Iterator[tuple[float, Packet[AudioStream]]]:
        """Packets on the new clock with their times; the last one that ends before the first picture leads in."""
        step = self._stream.time_base or Fraction(1)
        shift = round(self._start / step)
        for packet in self._read():
            if packet.pts is None or packet.dts is None:
                continue
            packet.pts -= shift
            packet.dts -= shift
            if packet.pts + (packet.duration or 0) < 0 or (self._last_dts is not None and packet.dts <= self._last_dts):
                continue
            self._last_dts = packet.dts
            time = float(packet.pts * step)
            assert self._out_stream is not None
            packet.stream = self._out_stream
            yield time, packet

    def _frames(self, resampler: AudioResampler) -> Iterator[tuple[float, AudioFrame]]:
        """Decoded sound on the new clock, in the rate and layout of the encoder, with its times."""
        shift = Fraction(self._start).limit_denominator(1_000_000)
        for packet in self._read():
            try:
                frames = [new for old in packet.decode() for new in resampler.resample(old)]
            except (av.error.FFmpegError, ValueError) as error:
                self._stop(error)
                return
            for frame in frames:
                if frame.pts is None or frame.time_base is None:
                    continue
                frame.pts -= round(shift / frame.time_base)
                if frame.pts + frame.samples > 0:
                    yield float(frame.pts * frame.time_base), frame

    def _read(self) -> Iterator[Packet[AudioStream]]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self._stop(error)
                return
            if packet is None:
                return
            yield packet

    def _encoded(self, frame: AudioFrame | None) -> list[Packet[AudioStream]]:
        assert self._out_stream is not None
        return self._out_stream.encode(frame)

    def _mux(self, packets: list[Packet[AudioStream]]) -> None:
        assert self._output is not None
        for packet in packets:
            self._output.mux(packet)

    def _stop(self, error: Exception) -> None:
        logger.debug("sound of %s: %s", self.source, error)
        self.note = f"the sound of {self.source.name} is damaged and ends early"


def open_sound(source: Path) -> Sound | None:
    """The sound of a video file; None if it has none, or none that can be read."""
    start = _first_picture_time(source)
    if start is None:
        return None
    try:
        container = av.open(f"file:{source}", "r", metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError):
        return None
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.codec_context.sample_rate and stream.time_base:
            return Sound(source, container, stream, start)
    container.close()
    return None


def _first_picture_time(source: Path) -> float | None:
    """Seconds on the file's clock; None if it holds no pictures that move."""
    try:
        with av.open(f"file:{source}", "r", metadata_errors="replace") as container:
            for stream in container.streams.video:
                if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
                    frame = next(container.decode(stream), None)
                    # AVI stores no times; those that FFmpeg guesses come late by what the decoder holds back
                    guessed = container.format.name == "avi"
                    return None if frame is None else 0.0 if guessed else frame.time or 0.0
    except (av.error.FFmpegError, OSError, ValueError) as error:
        logger.debug("sound of %s: %s", source, error)
    return None
