"""The sound of one video file, laid under the pictures of another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition

from uamp_data.containers import open_container

logger = logging.getLogger(__name__)

_COPIED = {
    "mp4": frozenset({"aac", "mp3", "ac3", "alac", "opus"}),
    "mov": frozenset({"aac", "mp3", "ac3", "alac"}),
    "matroska": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "vorbis", "flac"}),
    "webm": frozenset({"opus", "vorbis"}),
}
"""Codecs that players expect in a container; any other is encoded anew, as Opus in WebM and as AAC elsewhere.

E-AC3 is not copied into MP4: few players take it, and FFmpeg parses it so late that damage in it would be reported
while a picture is written.
"""
_AAC_RATES = frozenset({96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000})
_USUAL_RATE = 48_000
_AAC_LAYOUTS = frozenset({"mono", "stereo", "5.1", "7.1"})
_CLOCK_ROUNDING = Fraction(1, 200)  # seconds; Matroska, say, holds milliseconds only


class Sound:
    """Takes the sound of a file and writes it beside new pictures, up to where these have come.

    Its zero is the file's first picture. Sound that players take in the new container is copied as it is. Where its
    clock jumps back, as in files joined end to end, what follows is appended to what was written. Damage ends the
    sound, and so does what the encoder or the container refuses: the pictures matter more. Then `note` says so.
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
        self._is_copied = False
        self._is_refused = False

    def attach(self, output: OutputContainer) -> None:
        """Adds a stream for it to a container that is being made, before anything is written to that."""
        self._output = output
        self._is_copied = self._stream.codec_context.codec.canonical_name in _COPIED.get(output.format.name, ())
        if self._is_copied:
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
        """Writes what begins before `time`, in seconds from the first picture.

        Raises:
            FFmpegError: The file cannot be written, on a full disk say; what is wrong with the sound is not raised.
        """
        while not self._is_refused:
            if self._waiting is None:
                self._waiting = next(self._queue, None)
            if self._waiting is None or self._waiting[0] >= time:
                return
            _, item = self._waiting
            self._waiting = None
            self._write(item)

    def finish(self, end: float) -> None:
        """Writes the rest up to where the pictures end and what the encoder holds back.

        Raises:
            FFmpegError: The file cannot be written, on a full disk say; what is wrong with the sound is not raised.
        """
        self.write_until(end)
        if not self._is_copied and not self._is_refused:
            self._write(None)

    def close(self) -> None:
        """Lets go of the file."""
        self._container.close()

    def _packets(self) -> Iterator[tuple[float, Packet[AudioStream]]]:
        """Packets on the new clock with their times; the last one that ends before the first picture leads in."""
        step = self._stream.time_base or Fraction(1)
        shift = -round(self._start / step)
        last: int | None = None
        end = 0
        for packet in self._read():
            if packet.pts is None or packet.dts is None or packet.dts + shift == last:
                continue
            if last is not None and packet.dts + shift < last:
                shift = end - packet.dts
            packet.pts += shift
            packet.dts += shift
            last, end = packet.dts, packet.dts + (packet.duration or 1)
            if packet.pts + (packet.duration or 0) >= 0:
                time = float(packet.pts * step)
                assert self._out_stream is not None
                packet.stream = self._out_stream
                yield time, packet

    def _frames(self, resampler: AudioResampler) -> Iterator[tuple[float, AudioFrame]]:
        """Decoded sound on the new clock, in the rate and layout of the encoder, with its times."""
        start = Fraction(self._start).limit_denominator(1_000_000)
        late = 0
        end: int | None = None
        for packet in self._read():
            try:
                frames = [new for old in packet.decode() for new in resampler.resample(old)]
            except (av.error.FFmpegError, ValueError) as error:
                self._stop(error)
                return
            for frame in frames:
                if frame.pts is None or frame.time_base is None:
                    continue
                frame.pts += late - round(start / frame.time_base)
                if end is not None and frame.pts < end - int(_CLOCK_ROUNDING / frame.time_base):
                    late += end - frame.pts
                    frame.pts = end
                own_end = frame.pts + round(frame.samples / frame.sample_rate / frame.time_base)
                end = own_end if end is None else max(end, own_end)
                if own_end > 0:
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

    def _write(self, item: Any) -> None:
        """Writes a packet, or a frame once it is encoded; what is refused as such, not by the disk, ends the sound."""
        assert self._output is not None
        assert self._out_stream is not None
        try:
            packets = [item] if self._is_copied else self._out_stream.encode(item)
        except (av.error.FFmpegError, ValueError) as error:
            self._refuse(error)
            return
        try:
            self._output.mux(packets)
        except (av.error.ArgumentError, av.error.InvalidDataError) as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self._is_refused = True
        self._stop(error)

    def _stop(self, error: Exception) -> None:
        logger.debug("sound of %s: %s", self.source, error)
        self.note = f"the sound of {self.source.name} is damaged and ends early"


def open_sound(source: Path) -> Sound | None:
    """The sound of a video file; None if it has none, or none that can be read, as in a pipe that another reads."""
    # a pipe would wait for ever, or give away what belongs to the pictures' reader
    start = _first_picture_time(source) if source.is_file() else None
    if start is None:
        return None
    try:
        container = open_container(f"file:{source}")
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
        with open_container(f"file:{source}") as container:
            for stream in container.streams.video:
                if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
                    frame = next(container.decode(stream), None)
                    # AVI stores no times; those that FFmpeg guesses come late by what the decoder holds back
                    guessed = container.format.name == "avi"
                    return None if frame is None else 0.0 if guessed else frame.time or 0.0
    except (av.error.FFmpegError, OSError, ValueError) as error:
        logger.debug("sound of %s: %s", source, error)
    return None
