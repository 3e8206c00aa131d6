from __future__ import annotations

import logging
import math
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from uamp_data.atomic import create_temporary, replace, unwritable
from uamp_data.encodings import H264, Encoding
from uamp_data.errors import DataError
from uamp_data.interrupts import interrupts_deferred
from uamp_data.sound import Sound, open_sound

logger = logging.getLogger(__name__)

LARGEST_SIDE = 16384
"""Pixels; beyond it H.264 decoders give up."""

_MPEG_CLOCK = 90_000  # steps per second; divides into the clocks of most cameras and containers
_FINEST_CLOCK = 10_000_000
_BT709 = 1  # what players assume for H.264 where nothing is said, in H.264's numbering
_VIDEO_RANGE = 1


class VideoWriter:
    """Writes video, H.264 unless asked otherwise, and puts it in place only when it is complete.

    Frames go to a temporary file beside `path`, which replaces `path` in `close`. Until then an older file there stays
    as it was. As a context manager, leaving normally closes; Ctrl-C keeps what was written so far as a playable file
    and goes on; any other exception discards it.

    Sizes that are not even keep every pixel: such H.264 has full colour resolution (4:4:4), which Chrome, VLC and
    FFmpeg play, but Firefox and Safari do not.

    Attributes:
        note: None, or after closing a sentence on what could not be kept of sound or pixels that are not square.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        frame_rate: Fraction | int,
        size: tuple[int, int],
        time_base: Fraction | None = None,
        encoding: Encoding = H264,
        sound_of: Path | None = None,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        """Starts the file; missing parent folders are created.

        Args:
            path: What to write; for H.264 .mp4, .mov or .mkv.
            frame_rate: Frames per second; the average where the rate varies.
            size: Height and width in pixels.
            time_base: The step in seconds that the times given to `write` are counted in, as `VideoReader.time_base`.
                Lets every time be kept exactly, and times that the source could only store rounded be restored.
            encoding: How to encode.
            sound_of: A video file whose sound goes under the pictures as long as these last; its first picture is
                taken to be the first one written. A file without sound is fine.
            pixel_aspect: How wide players are to show a pixel for its height, as `VideoReader.pixel_aspect`.

        Raises:
            DataError: The ending, the size or the rate cannot be written, or the folder cannot be written to.
        """
        self.path = Path(os.path.expanduser(path))  # noqa: PTH111 - as it is where nobody has a home
        self.frame_rate = Fraction(frame_rate)
        self.size = size
        self.pixel_aspect = pixel_aspect
        self.encoding = encoding
        self.frame_count = 0
        self.note: str | None = None
        if pixel_aspect != 1 and not encoding.keeps_pixel_aspect:
            self.note = f"players show the pixels of {self.path.name} as squares, which they are not: .mov keeps them"
        if self.path.suffix.lower() not in encoding.containers:
            raise DataError(
                f"{self.path} ends in {self.path.suffix or 'nothing'}: name an output that ends in "
                f"{', '.join(encoding.containers)}."
            )
        if not all(1 <= side <= LARGEST_SIDE for side in size):
            raise DataError(f"A video of {size[1]}×{size[0]} pixels cannot be written: use 1 to {LARGEST_SIDE} a side.")
        if not 0 < self.frame_rate <= 1000:
            raise DataError(f"{self.frame_rate} frames per second cannot be written: use more than 0, at most 1000.")
        self._clock = _choose_clock(self.frame_rate, time_base)
        self._rounding = 1e-9 if time_base is None else float(time_base) / 2 + 1e-9  # seconds
        self._is_steady = True
        self._start_time = 0.0
        self._last_tick = 0
        self._held: Packet[VideoStream] | None = None
        self._sound: Sound | None = None
        # through a link, to the file itself
        self._target = self.path.resolve()
        temporary = create_temporary(self._target)
        try:
            if sound_of is not None:
                self._sound = open_sound(sound_of)
                if sound_of.is_fifo():
                    self._add_note(f"sound that {sound_of.name} may have is left out: a pipe can be read only once")
            self._container, self._stream = self._start(temporary)
        except OSError as error:
            self._discard(temporary)
            raise unwritable(self.path, error) from error
        except (av.error.FFmpegError, ValueError) as error:
            self._discard(temporary)
            raise DataError(
                f"A video of {size[1]}×{size[0]} pixels at {self.frame_rate} frames per second cannot be encoded "
                f"({error}): use another size or rate."
            ) from error
        except BaseException:
            self._discard(temporary)
            raise
        self._temporary: Path | None = temporary

    def write(self, image: npt.NDArray[np.uint8], time: float | None = None) -> None:
        """Adds a frame.

        Args:
            image: H×W×3 uint8 RGB of the size given at the start; H×W×4 RGBA if the encoding has alpha.
            time: Seconds, as `Frame.time`; None for one step of `frame_rate` after the frame before. The first frame
                is the zero of the video. A time that is not later than the one before counts as just after it.

        Raises:
            DataError: The picture has another size or type, the disk is full, or the writer is closed.
        """
        if self._temporary is None:
            raise DataError(f"{self.path} is closed: open another writer.")
        shape = (*self.size, self.encoding.channels)
        if image.dtype != np.uint8 or image.shape != shape:
            raise DataError(f"A frame is {image.dtype} of shape {image.shape}: {self.path} takes uint8 of {shape}.")
        layout = "rgba" if self.encoding.has_alpha else "rgb24"
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format=layout)
        # on several threads FFmpeg's conversion now and then spoils a few pixels at the threads' borders
        frame = frame.reformat(format=self._stream.pix_fmt, dst_colorspace=Colorspace.ITU709, threads=1)
        frame.time_base = Fraction(1, self._clock)
        frame.pts = tick = self._next_tick(time)
        with interrupts_deferred():
            self._guarded_mux(frame)
            self._last_tick = tick
            self.frame_count += 1

    def close(self) -> None:
        """Finishes the file and puts it in place; afterwards does nothing.

        Raises:
            DataError: No frame was written, or the file cannot be finished; an older file at `path` is then untouched.
        """
        if self._temporary is None:
            return
        if self.frame_count == 0:
            self.abort()
            raise DataError(f"No frame was written, so there is no {self.path}: check that the input has frames.")
        with interrupts_deferred():
            self._guarded_mux(None)
            temporary, self._temporary = self._temporary, None
            replace(temporary, self._target)

    def abort(self) -> None:
        """Discards what was written; an older file at `path` stays. Afterwards does nothing."""
        temporary, self._temporary = self._temporary, None
        if temporary is None:
            return
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            logger.debug("closing %s: %s", temporary, error)
        finally:
            self._discard(temporary)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or (issubclass(kind, KeyboardInterrupt) and self.frame_count > 0):
            self.close()
        else:
            self.abort()

    def _start(self, temporary: Path) -> tuple[OutputContainer, VideoStream]:
        encoding = self.encoding
        kind = encoding.containers[self.path.suffix.lower()]
        # the index goes first, so that a browser starts before it has loaded all
        muxing = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
        # "file:" keeps FFmpeg from taking a colon in the path for a protocol
        container = av.open(f"file:{temporary}", "w", format=kind, options=muxing)
        height, width = self.size
        stream: VideoStream = container.add_stream(  # type: ignore[assignment]  # it is what the codec says
            encoding.codec, rate=self.frame_rate, options=dict(encoding.options)
        )
        stream.width, stream.height = width, height
        stream.pix_fmt = encoding.stored_as(height, width)
        stream.metadata.update(encoding.metadata)
        context = stream.codec_context
        context.time_base = Fraction(1, self._clock)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _VIDEO_RANGE
        context.sample_aspect_ratio = self.pixel_aspect
        if self._sound is not None:
            self._sound.attach(container)
        container.start_encoding()
        return container, stream

    def _next_tick(self, time: float | None) -> int:
        """The frame's place on the clock of the file."""
        if self.frame_count == 0:
            self._start_time = time or 0.0
            return 0
        if time is None:
            tick = self._last_tick + round(self._clock / self.frame_rate)
        else:
            tick = self._tick_at(time - self._start_time)
        return max(tick, self._last_tick + 1)

    def _tick_at(self, time: float) -> int:
        """Where `time` lies; while all frames came in even steps, exactly at the step that `time` is rounded from.

        A Matroska file, say, holds milliseconds only: 24000/1001 frames per second come as 0.042, 0.083, 0.125 s.
        """
        step = round(time * self.frame_rate)
        self._is_steady = self._is_steady and abs(time - step / self.frame_rate) <= self._rounding
        return round(step * self._clock / self.frame_rate) if self._is_steady else round(time * self._clock)

    def _guarded_mux(self, frame: VideoFrame | None) -> None:
        """Encodes and writes, or with None finishes; what fails there fails with a clear sentence."""
        try:
            for packet in self._stream.encode(frame):
                self._hold(packet)
            if frame is not None and frame.pts is not None and self._sound is not None:
                self._sound.write_until(frame.pts / self._clock)
            elif frame is None:
                last = self._last_duration()
                self._release(last)
                if self._sound is not None:
                    self._sound.finish((self._last_tick + last) / self._clock)
                self._container.close()
                self._close_sound()
        except (av.error.FFmpegError, OSError) as error:
            self.abort()
            cause = error if isinstance(error, OSError) else OSError(error.errno, error.strerror)
            raise unwritable(self.path, cause) from error
        except BaseException:
            self.abort()
            raise

    def _hold(self, packet: Packet[VideoStream]) -> None:
        """Writes the packet before this one: how long a frame is shown is known when the next one comes."""
        if self._held is not None and packet.pts is not None and self._held.pts is not None:
            self._release(packet.pts - self._held.pts)
        self._held = packet

    def _release(self, duration: int) -> None:
        if self._held is not None:
            self._held.duration = duration
            self._container.mux(self._held)
            self._held = None

    def _discard(self, temporary: Path) -> None:
        self._close_sound()
        temporary.unlink(missing_ok=True)

    def _close_sound(self) -> None:
        if self._sound is not None:
            self._add_note(self._sound.note)
            self._sound.close()

    def _add_note(self, note: str | None) -> None:
        self.note = "; ".join(part for part in (self.note, note) if part) or None

    def _last_duration(self) -> int:
        """How long the last frame is shown: so long that the average rate is the one asked for, if that is sensible."""
        step = self._clock / self.frame_rate
        wanted = self.frame_count * step - self._last_tick
        return max(round(wanted if step / 10 <= wanted <= step * 10 else step), 1)


def _choose_clock(frame_rate: Fraction, time_base: Fraction | None) -> int:
    """Steps per second in which even steps of `frame_rate` and the source's times are whole, if not too fine."""
    given = _MPEG_CLOCK if time_base is None else time_base.denominator
    rate = frame_rate.numerator
    for clock in (math.lcm(rate, given), math.lcm(rate, _MPEG_CLOCK), given, rate):
        if clock <= _FINEST_CLOCK:
            return clock
    return _MPEG_CLOCK
