"""Any frame of a video at once: for pages and editors, where people jump to and fro."""

from __future__ import annotations

import bisect
import logging
import math
import threading
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import av.error
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from uamp_data.errors import DataError
from uamp_data.frames import Frame, VideoReader
from uamp_data.pictures import PictureReader, read_picture
from uamp_data.reader import open_video
from uamp_data.stream import StreamReader, _fitted, _upright

logger = logging.getLogger(__name__)

_NEAR = 12  # frames ahead up to which decoding on costs less than seeking
_PACKET_CHECKS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""FFmpeg's filters that go through a packet's parts, without decoding, and refuse lengths that do not add up."""


class SeekableVideo:
    """A video file, folder of pictures or pattern whose frames can be had in any order; at most one stays in memory.

    Frames, numbers and times are those of `open_video`. Where a file's packets do not say what time they are for or
    are broken, or seeking in it fails, frames are decoded from the first on: slower, but the same.

    Some damage shows only when it is decoded, and seeking skips all that lies before its target. Until a pass from the
    first frame has come to the damage (a full pass of `frames` does), frames sought behind it may bear higher numbers
    than in `open_video`, by as many frames as the damage costs. From then on all numbers are those of `open_video`, and
    frames behind the damage are decoded from the first on.

    Attributes:
        name: What was opened, as it was named.
        width: Pixels across, after rotation.
        height: Pixels down, after rotation.
        frame_rate: Frames per second: the average where the rate varies.
        time_base: The step, in seconds, that the source counts time in.
        pixel_aspect: How wide a pixel is to be shown for its height, after rotation; 1 for nearly all videos.
        frame_count: How many frames there are; where damage loses some, those left as soon as a pass comes to the end.
    """

    def __init__(self, source: str | Path) -> None:
        """Opens the video and reads, without decoding, where its frames are.

        Raises:
            DataError: It cannot be read, or is a camera, a stream or a pipe, which cannot be wound back.
        """
        self.name = str(source)
        self._lock = threading.Lock()
        self._cursor: Generator[Frame] | None = None
        self._last: Frame | None = None
        with open_video(source) as reader:
            is_file = isinstance(reader, StreamReader) and not reader.is_read_once
            if not is_file and not isinstance(reader, PictureReader):
                raise DataError(f"{self.name} is live and cannot be wound back: record it to a file first.")
            self.width, self.height = reader.width, reader.height
            self.frame_rate, self.time_base = reader.frame_rate, reader.time_base
            self.pixel_aspect = reader.pixel_aspect
            self._pictures = reader._paths if isinstance(reader, PictureReader) else []
            # of the frames that can be sought; replaced, never changed, since passes run on several threads
            self._times, count = _frame_times(reader) if isinstance(reader, StreamReader) else ([], 0)
            self._cursor_times = self._times
            self.frame_count = len(self._pictures) or count or _count(reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file. Closing twice is fine, and so is going on afterwards."""
        with self._lock:
            self._forget()

    def frame(self, index: int) -> Frame:
        """One frame.

        Raises:
            DataError: There is no such frame, or it cannot be decoded.
        """
        if index < 0:
            raise DataError(f"{self.name} has no frame {index}: frames are counted from 0.")
        with self._lock:
            if self._cursor_times is not self._times:
                self._forget()
                self._cursor_times = self._times
            if self._last is not None and self._last.index == index:
                return self._last
            ahead = index - self._last.index if self._last is not None else 0
            if self._cursor is None or not 0 < ahead <= _NEAR:
                self._forget()
                self._cursor = self.frames(index)
            for frame in self._cursor:
                self._last = frame
                if frame.index == index:
                    return frame
            self._forget()
            raise DataError(f"Frame {index} of {self.name} cannot be decoded: go to an earlier one.")

    def frames(self, start: int = 0, stop: int | None = None) -> Generator[Frame]:
        """The frames from `start` to before `stop`, or to the end; each pass reads the file on its own.

        Raises:
            DataError: The file has disappeared, or a picture of a folder is damaged.
        """
        end = self.frame_count if stop is None else min(stop, self.frame_count)
        if start >= end:
            return
        if self._pictures:
            for index in range(start, end):
                yield Frame(index, float(index / self.frame_rate), read_picture(self._pictures[index]))
            return
        reached = start
        times = self._times
        if 0 < start < len(times):
            for frame in self._seek(times, start, min(end, len(times))):
                yield frame
                reached = frame.index + 1
        if reached < end:
            yield from self._decode_from_first(reached, end)

    def _decode_from_first(self, start: int, end: int) -> Iterator[Frame]:
        """Frames from `start` to before `end`; sees on the way whether all are where seeking takes them to be."""
        count = 0
        with open_video(self.name) as reader:
            for frame in islice(reader, end):
                count += 1
                self._compare(frame)
                if frame.index >= start:
                    yield frame
        if count < end:
            self.frame_count, self._times = count, self._times[:count]

    def _compare(self, frame: Frame) -> None:
        """Where a frame is not the one that its number would seek, none is sought any more from there on."""
        times = self._times
        if frame.index < len(times) and abs(frame.time - self._time(times, frame.index)) > self.time_base / 2:
            self._times = times[: frame.index]

    def _forget(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
        self._cursor = self._last = None

    def _seek(self, times: list[int], start: int, end: int) -> Iterator[Frame]:
        """Frames from `start` on, as far as they come in order, whole and without gaps."""
        with open_video(self.name) as reader:
            if not isinstance(reader, StreamReader):
                return
            container, stream = reader._open()
            with container:
                stream.thread_type = "SLICE"
                wanted = start
                try:
                    container.seek(times[start], stream=stream, backward=True)
                    for frame in container.decode(stream):
                        if frame.pts is None or frame.pts > times[wanted]:
                            return
                        if frame.pts < times[wanted]:
                            continue
                        if frame.is_corrupt:
                            return
                        image = _fitted(_upright(frame, reader._display_matrix), self.width, self.height)
                        yield Frame(wanted, self._time(times, wanted), image)
                        wanted += 1
                        if wanted == end:
                            return
                except (av.error.FFmpegError, OSError) as error:
                    logger.debug("%s: seeking to frame %d: %s", self.name, start, error)

    def _time(self, times: list[int], index: int) -> float:
        return float((times[index] - times[0]) * self.time_base)


def _count(reader: VideoReader) -> int:
    # what a header announces may be far too many, and people scroll there
    packets = reader._count_packets() if isinstance(reader, StreamReader) else 0
    return packets or reader.frame_count or sum(1 for _ in reader)


def _frame_times(reader: StreamReader) -> tuple[list[int], int]:
    """Where the frames that can be sought are, and how many there are in all; nothing if times cannot be trusted.

    Returns:
        Presentation times in the stream's own steps, in order, of the frames before the first broken packet; and the
        number of all frames, as far as packets say.
    """
    try:
        container, stream = reader._open()
        with container:
            first = next((frame.pts for frame in container.decode(stream)), None)
        container, stream = reader._open()
        with container:
            times, total = _packet_times(container, stream)
    except (av.error.FFmpegError, OSError) as error:
        logger.debug("%s: %s", reader.source, error)
        return [], 0
    if first is None or not times:
        return [], 0
    start = bisect.bisect_left(times, first)
    return (times[start:], total - start) if start < len(times) and times[start] == first else ([], 0)


def _packet_times(container: InputContainer, stream: VideoStream) -> tuple[list[int], int]:
    times: list[int] = []
    whole: int | None = None
    check = _packet_check(stream)
    for packet in container.demux(stream):
        if packet.size > 0 and not packet.is_discard:
            if packet.pts is None:
                return [], 0
            times.append(packet.pts)
            if whole is None and _is_broken(packet, check):
                whole = len(times) - 1
    if len(set(times)) < len(times):
        return [], 0
    limit = math.inf if whole is None else min(times[whole:])
    return sorted(time for time in times[:whole] if time < limit), len(times)


def _packet_check(stream: VideoStream) -> BitStreamFilterContext | None:
    name = _PACKET_CHECKS.get(stream.codec_context.codec.canonical_name)
    try:
        return None if name is None else BitStreamFilterContext(name, stream)
    except (av.error.FFmpegError, ValueError) as error:
        logger.debug("packets are not checked: %s", error)
        return None


def _is_broken(packet: Packet[VideoStream], check: BitStreamFilterContext | None) -> bool:
    """Whether a packet is seen to be damaged without decoding it. `check` takes the packet over."""
    if packet.is_corrupt or check is None:
        return packet.is_corrupt
    try:
        check.filter(packet)
    except av.error.FFmpegError:
        return True
    return False
