"""Any frame of a video at once: for pages and editors, where people jump to and fro."""

from __future__ import annotations

import bisect
import logging
import threading
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from uamp_data.errors import DataError
from uamp_data.frames import Frame, VideoReader
from uamp_data.pictures import PictureReader, read_picture
from uamp_data.reader import open_video
from uamp_data.stream import StreamReader, _fitted, _upright

logger = logging.getLogger(__name__)

_NEAR = 12  # frames ahead up to which decoding on costs less than seeking


class SeekableVideo:
    """A video file, folder of pictures or pattern whose frames can be had in any order; at most one stays in memory.

    Frames, numbers and times are those of `open_video`. Where a file's packets do not say what time they are for, or
    seeking in it fails, frames are decoded from the first on: slower, but the same.

    Attributes:
        name: What was opened, as it was named.
        width: Pixels across, after rotation.
        height: Pixels down, after rotation.
        frame_rate: Frames per second: the average where the rate varies.
        time_base: The step, in seconds, that the source counts time in.
        pixel_aspect: How wide a pixel is to be shown for its height, after rotation; 1 for nearly all videos.
        frame_count: How many frames there are; fewer if a damaged end turns up.
    """

    def __init__(self, source: str | Path) -> None:
        """Opens the video and reads, without decoding, where its frames are.

        Raises:
            DataError: It cannot be read, or is a camera or a stream, which cannot be wound back.
        """
        self.name = str(source)
        self._lock = threading.Lock()
        self._cursor: Generator[Frame] | None = None
        self._last: Frame | None = None
        with open_video(source) as reader:
            if reader.is_live or not isinstance(reader, StreamReader | PictureReader):
                raise DataError(f"{self.name} is live and cannot be wound back: record it to a file first.")
            self.width, self.height = reader.width, reader.height
            self.frame_rate, self.time_base = reader.frame_rate, reader.time_base
            self.pixel_aspect = reader.pixel_aspect
            self._pictures = reader._paths if isinstance(reader, PictureReader) else []
            self._times = _frame_times(reader) if isinstance(reader, StreamReader) else []
            self.frame_count = len(self._pictures or self._times) or _count(reader)

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
        with self._lock:
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
        if start > 0 and self._times:
            for frame in self._seek(start, end):
                yield frame
                reached = frame.index + 1
        if reached == end:
            return
        with open_video(self.name) as reader:
            yield from islice(reader, reached, end)

    def _forget(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
        self._cursor = self._last = None

    def _seek(self, start: int, end: int) -> Iterator[Frame]:
        """Frames from `start` on, as far as they come in order and without gaps."""
        with open_video(self.name) as reader:
            if not isinstance(reader, StreamReader):
                return
            container, stream = reader._open()
            with container:
                stream.thread_type = "SLICE"
                wanted = start
                try:
                    container.seek(self._times[start], stream=stream, backward=True)
                    for frame in container.decode(stream):
                        if frame.pts is None or frame.pts > self._times[wanted]:
                            return
                        if frame.pts < self._times[wanted]:
                            continue
                        yield self._as_frame(frame, wanted, reader)
                        wanted += 1
                        if wanted == end:
                            return
                except (av.error.FFmpegError, OSError) as error:
                    logger.debug("%s: seeking to frame %d: %s", self.name, start, error)

    def _as_frame(self, frame: VideoFrame, index: int, reader: StreamReader) -> Frame:
        image = _fitted(_upright(frame, reader._display_matrix), self.width, self.height)
        return Frame(index, float((self._times[index] - self._times[0]) * reader.time_base), image)


def _count(reader: VideoReader) -> int:
    # what a header announces may be far too many, and people scroll there
    packets = reader._count_packets() if isinstance(reader, StreamReader) else 0
    return packets or reader.frame_count or sum(1 for _ in reader)


def _frame_times(reader: StreamReader) -> list[int]:
    """Presentation times of all frames in the stream's own steps, in order; empty where they cannot be trusted."""
    try:
        container, stream = reader._open()
        with container:
            first = next((frame.pts for frame in container.decode(stream)), None)
        container, stream = reader._open()
        with container:
            times = _packet_times(container, stream)
    except (av.error.FFmpegError, OSError) as error:
        logger.debug("%s: %s", reader.source, error)
        return []
    if first is None or not times:
        return []
    start = bisect.bisect_left(times, first)
    return times[start:] if start < len(times) and times[start] == first else []


def _packet_times(container: InputContainer, stream: VideoStream) -> list[int]:
    times: list[int] = []
    for packet in container.demux(stream):
        if packet.size > 0 and not packet.is_discard:
            if packet.pts is None:
                return []
            times.append(packet.pts)
    times.sort()
    return times if len(set(times)) == len(times) else []
