from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np

from uamp_data.errors import DataError
from uamp_data.frames import DEFAULT_RATE, Frame, Image, VideoReader
from uamp_data.words import counted

_CLOCK_STEP = Fraction(1, 1_000_000)
_LARGEST_RATE = 1000


class CameraReader(VideoReader):
    """A camera, through OpenCV. Frames carry the time at which they arrived."""

    def __init__(self, source: str, device: int | str) -> None:
        """Opens the camera and takes one frame, so that a camera without a picture is known at once.

        Args:
            source: How the camera was named.
            device: OpenCV's number of the camera, or the path of its device.

        Raises:
            DataError: There is no such camera or it gives no picture.
        """
        super().__init__(source)
        self._capture = _open_quietly(device)
        self._first = self._take()
        if self._first is None:
            self.close()
            raise DataError(
                f"Camera {source} gives no picture: check that it is connected and that no other program uses it."
            )
        self.height, self.width = self._first.shape[:2]
        announced = self._capture.get(cv2.CAP_PROP_FPS)
        if 0 < announced <= _LARGEST_RATE:
            self.frame_rate = Fraction(announced).limit_denominator(1001)
        else:
            self.frame_rate = DEFAULT_RATE
        self.time_base = _CLOCK_STEP
        self.is_live = True

    @property
    def frame_count(self) -> None:
        """A camera has no end."""
        return None

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames until the camera stops.

        Raises:
            DataError: The camera was iterated before.
        """
        if self._first is None:
            raise DataError(f"Camera {self.source} is read already: open it again.")
        image: Image | None = self._first
        self._first = None
        start = time.monotonic()
        index, now = 0, 0.0
        while image is not None:
            yield Frame(index, now, image)
            index += 1
            image = self._take()
            # strictly later, also where two frames wait in the camera's buffer
            now = max(time.monotonic() - start, now + float(_CLOCK_STEP))
        self.note = f"camera {self.source} stopped after {counted(index, 'frame')}"

    def close(self) -> None:
        """Lets the camera go."""
        self._capture.release()

    def _take(self) -> Image | None:
        taken, image = self._capture.read()
        if not taken:
            return None
        return np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _open_quietly(device: int | str) -> cv2.VideoCapture:
    """Opens a capture; OpenCV would print several warnings for a missing camera."""
    logs = getattr(cv2.utils, "logging", cv2)  # where these functions are since OpenCV 4.13, and before
    level = logs.getLogLevel()
    logs.setLogLevel(0)
    try:
        return cv2.VideoCapture(device)
    finally:
        logs.setLogLevel(level)
