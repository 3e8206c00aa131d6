from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import cv2
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from uamp_data.containers import open_container
from uamp_data.errors import DataError
from uamp_data.frames import DEFAULT_RATE, Frame, Image, VideoReader
from uamp_data.words import counted

logger = logging.getLogger(__name__)

# A stream that does not answer within this time is given up, so that nobody waits for ever.
NETWORK_TIMEOUT = 15.0  # seconds
_MOST_PLAUSIBLE_RATE = 1000
_MOST_READ_ERRORS = 100  # in a row, before the rest of a damaged file is given up
# FFmpeg reads any text file as the output of a terminal; nobody means that as a video.
_NOT_VIDEO = frozenset({"tty"})


@dataclass(slots=True)
class _Tally:
    """What one pass over a file met, to judge afterwards whether the file is whole."""

    packets: int = 0
    frames: int = 0
    frames_with_errors: int = 0
    errors: int = 0
    stopped_by: str | None = None
    shown_until: float = 0.0
    """Seconds on the file's clock to where the last frame ends, as far as the file says."""


class StreamReader(VideoReader):
    """A video file or a network stream, through FFmpeg."""

    def __init__(self, source: str, *, is_file: bool) -> None:
        """Opens the source and decodes its first frame, so that what cannot be played is known at once.

        Args:
            source: Path of a file, or an address such as rtsp://... or http://...
            is_file: Whether `source` is a path.

        Raises:
            DataError: Nothing of it can be played.
        """
        super().__init__(source)
        self._is_file = is_file
        self._counted: int | None = None
        self._tally = _Tally()
        # "file:" keeps FFmpeg from taking a colon in a file name for a protocol
        self._address = f"file:{source}" if is_file else source
        self._container, self._stream = self._open()
        self._decoder: Generator[VideoFrame] | None = self._decode(self._container, self._stream, self._tally)
        try:
            self._first: VideoFrame | None = next(self._decoder, None)
        except BaseException:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise DataError(f"No frame of {source} can be decoded: the file is damaged, so get it or export it again.")
        # Read once: asking a frame for its side data ties it into a cycle that only the garbage collector undoes.
        self._display_matrix = _display_matrix(self._first)
        self.height, self.width = _upright(self._first, self._display_matrix).shape[:2]
        self.pixel_aspect = _shown_aspect(self._stream, self._display_matrix)
        self.frame_rate = _plausible_rate(self._stream)
        if self._stream.time_base is not None:
            self.time_base = Fraction(self._stream.time_base)
        self.is_live = not is_file and self._container.duration is None
        self._skips_sound = not is_file and len(self._container.streams.audio) > 0
        self._announced = 0 if self.is_live else _announced_frames(self._stream)
        self._announced_seconds = None if self.is_live else _announced_seconds(self._container, self._stream)

    @property
    def is_read_once(self) -> bool:
        """Whether the frames cannot be had again, as those of a live stream or a pipe."""
        return self.is_live or (self._is_file and Path(self.source).is_fifo())

    @property
    def frame_count(self) -> int | None:
        """Frames announced by the file; where it does not say, its packets are counted without decoding them."""
        if self._announced or not self._is_file or not Path(self.source).is_file():
            return self._announced or None
        if self._counted is None:
            self._counted = self._count_packets()
        return self._counted

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames; damaged places are passed over, and `note` then says so, and that sound is left out.

        Raises:
            DataError: The source is live or a pipe and was iterated before, or has disappeared.
        """
        frame: VideoFrame | None
        decoder, frame = self._begin()
        tally = self._tally
        self.note = silence = (
            "the sound of the stream is left out: only that of files is kept" if self._skips_sound else None
        )
        start = frame.time or 0.0
        step = float(1 / self.frame_rate)
        index, now = 0, 0.0
        try:
            while frame is not None:
                yield Frame(index, now, _fitted(_upright(frame, self._display_matrix), self.width, self.height))
                index += 1
                frame = next(decoder, None)
                if frame is not None:
                    later = now + step if frame.time is None else frame.time - start
                    # a time that does not grow is an error of the file, and no two frames may share one
                    now = later if later > now else now + step
            self.note = "; ".join(part for part in (self._judge(tally, start, now + step), silence) if part) or None
        finally:
            decoder.close()

    def close(self) -> None:
        """Closes the file or the connection."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None
        self._container.close()

    def _open(self) -> tuple[InputContainer, VideoStream]:
        options = {"rtsp_transport": "tcp"} if self._address.startswith("rtsp") else {}
        timeout = None if self._is_file else NETWORK_TIMEOUT
        try:
            container = open_container(self._address, options=options, timeout=timeout)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._cannot_open(error) from error
        stream = _main_video(container)
        if stream is None:
            container.close()
            raise DataError(f"{self.source} holds no video: name a video file.")
        return container, stream

    def _cannot_open(self, error: Exception) -> DataError:
        if isinstance(error, PermissionError):
            return DataError(f"{self.source} cannot be read (permission denied): change its permissions.")
        if self._is_file:
            return DataError(
                f"{self.source} is not a video or is damaged: name a file that a video player opens, "
                "or get it or export it again."
            )
        if isinstance(error, (av.error.ExitError, TimeoutError)):
            return DataError(f"{self.source} did not answer within {NETWORK_TIMEOUT:.0f} s: check the address.")
        reason = getattr(error, "strerror", None) or str(error)
        return DataError(f"{self.source} cannot be opened ({reason}): check the address and the connection.")

    def _begin(self) -> tuple[Generator[VideoFrame], VideoFrame]:
        """The decoder and the first frame: the ones from opening, or on a later pass those of a new container."""
        if self._decoder is not None and self._first is not None:
            decoder, first = self._decoder, self._first
            self._decoder = self._first = None
            return decoder, first
        if self.is_read_once:
            raise DataError(f"{self.source} is live and was read already: open it again.")
        self._container.close()
        self._container, self._stream = self._open()
        self._tally = _Tally()
        decoder = self._decode(self._container, self._stream, self._tally)
        again = next(decoder, None)
        if again is None:
            raise DataError(f"{self.source} could be read before and now cannot: leave it in place while it is read.")
        return decoder, again

    def _decode(self, container: InputContainer, stream: VideoStream, tally: _Tally) -> Generator[VideoFrame]:
        """Decodes all that can be, counting what cannot."""
        # several frames at a time would be faster, but lose more of them around a damaged place
        stream.thread_type = "SLICE"
        errors_in_a_row = 0
        packets = container.demux(stream)
        while errors_in_a_row < _MOST_READ_ERRORS:
            frames: list[VideoFrame] = []
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                tally.packets += packet.size > 0
                frames = packet.decode()
                errors_in_a_row = 0
            except av.error.EOFError:
                return
            except av.error.InvalidDataError as error:
                logger.debug("%s: %s", self.source, error)
                tally.errors += 1
                errors_in_a_row += 1
                # goes on behind the damaged place; a demuxer that raised has ended
                packets = container.demux(stream)
            except (av.error.FFmpegError, OSError) as error:
                tally.stopped_by = getattr(error, "strerror", None) or str(error)
                frames = self._held_back(stream)
            for frame in frames:
                tally.frames += 1
                tally.frames_with_errors += frame.is_corrupt
                tally.shown_until = max(tally.shown_until, _shown_until(frame))
                yield frame
            if tally.stopped_by is not None:
                return

    def _held_back(self, stream: VideoStream) -> list[VideoFrame]:
        """The frames that a decoder still puts in order when what it reads breaks off."""
        try:
            return stream.decode(None)
        except (av.error.FFmpegError, OSError) as error:
            logger.debug("%s: %s", self.source, error)
            return []

    def _count_packets(self) -> int:
        container, stream = self._open()
        with container:
            try:
                return sum(p.size > 0 and not p.is_discard for p in container.demux(stream))
            except (av.error.FFmpegError, OSError) as error:
                logger.debug("%s: %s", self.source, error)
                return 0

    def _judge(self, tally: _Tally, start: float, end: float) -> str | None:
        """Says what is wrong with a file or stream that was read to its end.

        Args:
            tally: What was met.
            start: Seconds on the file's clock at the first frame.
            end: Seconds from the first frame to the end of the last.
        """
        frames = counted(tally.frames, "frame")
        if self.is_live or not self._is_file:
            reason = f" ({tally.stopped_by})" if tally.stopped_by else ""
            return f"the stream ended after {frames}{reason}" if self.is_live or reason else None
        expected = None
        until = max(start + end, tally.shown_until)
        # old AVI files announce frames that repeat the one before and are not stored: then the time is still filled
        if tally.packets < self._announced and end < (self._announced - 0.5) / self.frame_rate:
            expected = self._announced
        elif self._announced_seconds is not None and self._announced_seconds - until > 2 / self.frame_rate:
            expected = round((self._announced_seconds - start) * self.frame_rate)
        elif tally.errors:
            expected = max(self._announced, tally.packets)
        if expected is not None and expected > tally.frames:
            return f"the file is damaged: {tally.frames} of {expected} frames could be read"
        if tally.frames_with_errors or tally.stopped_by:
            return f"the file is damaged: {frames} could be read, {tally.frames_with_errors} with errors"
        return None


def _main_video(container: InputContainer) -> VideoStream | None:
    """The first video stream that is not the cover picture of a sound file."""
    if container.format.name in _NOT_VIDEO:
        return None
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            return stream
    return None


def _plausible_rate(stream: VideoStream) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and 0 < rate <= _MOST_PLAUSIBLE_RATE:
            return Fraction(rate)
    return DEFAULT_RATE


def _announced_frames(stream: VideoStream) -> int:
    """Frames according to the header, less those that an edit list hides; 0 where it does not say."""
    if stream.frames <= 0:
        return 0
    hidden = sum(int(entry.is_discard) for entry in getattr(stream, "index_entries", ()))
    return max(int(stream.frames) - hidden, 0)


def _announced_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds on the file's clock at which the video should end, where a Matroska header says so."""
    if "matroska" not in container.format.name:
        return None
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        # sound may be longer than the picture, so the whole file's length counts only where there is nothing else
        alone = len(container.streams) == 1 and container.duration is not None
        return container.duration / av.time_base if alone and container.duration is not None else None


def _shown_until(frame: VideoFrame) -> float:
    """Seconds on the file's clock at which a frame ends; where it begins if the file does not say how long it lasts."""
    lasts = frame.duration * frame.time_base if frame.duration and frame.time_base else 0
    return (frame.time or 0.0) + float(lasts)


def _display_matrix(frame: VideoFrame) -> npt.NDArray[np.int32] | None:
    """The nine numbers that say how the video is to be turned and mirrored, if there are any."""
    side_data = cast("Mapping[str, Buffer]", frame.side_data)
    if "DISPLAYMATRIX" not in side_data:
        return None
    return np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), dtype=np.int32)


def _lies_on_its_side(matrix: npt.NDArray[np.int32]) -> bool:
    """Whether rows and columns are to change places."""
    x_to_x, x_to_y, y_to_x, y_to_y = (abs(int(matrix[i])) for i in (0, 1, 3, 4))
    return x_to_x + y_to_y < x_to_y + y_to_x


def _shown_aspect(stream: VideoStream, display_matrix: npt.NDArray[np.int32] | None) -> Fraction:
    """Width by height of a pixel of the upright picture."""
    aspect = stream.sample_aspect_ratio
    if aspect is None or aspect <= 0:  # the file does not say
        return Fraction(1)
    upright = Fraction(aspect)  # PyAV 19 has fractions of its own
    return 1 / upright if display_matrix is not None and _lies_on_its_side(display_matrix) else upright


def _upright(frame: VideoFrame, display_matrix: npt.NDArray[np.int32] | None) -> Image:
    """The frame as H×W×3 RGB, turned and mirrored as the display matrix says."""
    image: npt.NDArray[np.uint8] = frame.to_ndarray(format="rgb24", threads=1).astype(np.uint8, copy=False)
    if display_matrix is not None:
        image = _apply_display_matrix(image, display_matrix)
    return np.ascontiguousarray(image)


def _apply_display_matrix(image: Image, matrix: npt.NDArray[np.int32]) -> Image:
    """Turns an H×W×3 picture as FFmpeg's nine numbers say, in steps of 90 degrees.

    They are row-major and multiply from the right, so a shown point is (x, y) → (m0·x + m3·y, m1·x + m4·y).
    """
    x_to_x, x_to_y, y_to_x, y_to_y = (int(matrix[i]) for i in (0, 1, 3, 4))
    across, down = x_to_x, y_to_y
    if _lies_on_its_side(matrix):
        image = image.transpose(1, 0, 2)
        across, down = y_to_x, x_to_y
    if across < 0:
        image = image[:, ::-1]
    if down < 0:
        image = image[::-1]
    return image


def _fitted(image: Image, width: int, height: int) -> Image:
    """The picture at the size of the first frame: a stream may change its size on the way."""
    if image.shape[:2] == (height, width):
        return image
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(resized, dtype=np.uint8)
