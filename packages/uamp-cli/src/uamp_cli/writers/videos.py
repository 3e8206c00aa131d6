"""Videos: the objects marked, cut out, or before a green screen."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from uamp_data.encodings import ALPHA_ENCODINGS, H264, Encoding
from uamp_data.errors import DataError
from uamp_data.writer import VideoWriter

from uamp_cli.overlay import Ids, Image
from uamp_cli.painting import FramePainter
from uamp_cli.tracking import TrackedFrame
from uamp_cli.writers.writer import VideoForm

GREEN = (0, 177, 64)
"""RGB of the screen, the colour that cloth and paint for the purpose have."""

_KEPT_AROUND = 8
"""Pixels around the objects that keep their colour though they are transparent: an encoder mixes neighbours."""


class _Video:
    """A video of what `picture` makes of each frame."""

    def __init__(self, path: Path, form: VideoForm, size: tuple[int, int], encoding: Encoding = H264) -> None:
        self._writer = VideoWriter(
            path,
            frame_rate=form.frame_rate,
            size=size,
            time_base=form.time_base,
            encoding=encoding,
            sound_of=form.sound_of,
            pixel_aspect=form.pixel_aspect,
        )
        self.path = path

    @property
    def note(self) -> str | None:
        return self._writer.note

    def picture(self, frame: TrackedFrame) -> Image:
        raise NotImplementedError

    def add(self, frame: TrackedFrame) -> None:
        self._writer.write(self.picture(frame), frame.time)

    def close(self) -> Path:
        self._writer.close()
        return self.path

    def abort(self) -> None:
        self._writer.abort()


class OverlayVideo(_Video):
    """An MP4 with the objects tinted, outlined and labelled, and beside them what else there is to see."""

    def __init__(
        self, path: Path, form: VideoForm, *, truth: Ids | None = None, shows_uncertainty: bool = False
    ) -> None:
        """Start the video; `truth` and `shows_uncertainty` are those of `FramePainter`."""
        self._painter = FramePainter(form.height, form.width, truth=truth, shows_uncertainty=shows_uncertainty)
        super().__init__(path, form, self._painter.size)

    def picture(self, frame: TrackedFrame) -> Image:
        """What the painter makes of it."""
        return self._painter.paint(frame)


class GreenScreenVideo(_Video):
    """An MP4 with the objects as they are and green everywhere else."""

    def __init__(self, path: Path, form: VideoForm) -> None:
        super().__init__(path, form, (form.height, form.width))

    def picture(self, frame: TrackedFrame) -> Image:
        """The frame with green around the objects."""
        out: Image = np.empty_like(frame.image)
        out[:] = GREEN
        cv2.copyTo(frame.image, frame.ids, out)
        return out


class CutoutVideo(_Video):
    """The objects alone on transparency: ProRes 4444 in a .mov for editors, VP9 in a .webm for web pages."""

    def __init__(self, path: Path, form: VideoForm) -> None:
        """Start the video.

        Raises:
            DataError: the ending says neither, or the file cannot be written.
        """
        encoding = ALPHA_ENCODINGS.get(path.suffix.lower())
        if encoding is None:
            raise DataError(f"{path} must end in {' or '.join(ALPHA_ENCODINGS)} to hold a cut-out.")
        super().__init__(path, form, (form.height, form.width), encoding)

    def picture(self, frame: TrackedFrame) -> Image:
        """H×W×4 RGBA; alpha is 255 on objects and 0 elsewhere, and not multiplied in."""
        inside = (frame.ids > 0).view(np.uint8)
        around = cv2.dilate(inside, np.ones((2 * _KEPT_AROUND + 1,) * 2, np.uint8))
        return _with_alpha(cv2.copyTo(frame.image, around), inside)


def cut_out(image: Image, ids: Ids) -> npt.NDArray[np.uint8]:
    """H×W×4 RGBA: the H×W×3 frame where an object is, all zeros elsewhere."""
    inside = (ids > 0).view(np.uint8)
    return _with_alpha(cv2.copyTo(image, inside), inside)


def _with_alpha(image: npt.ArrayLike, inside: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.dstack([np.asarray(image, np.uint8), inside * np.uint8(255)])
