from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from PIL import ImageOps

from uamp_data.errors import DataError, FileError
from uamp_data.frames import DEFAULT_RATE, Frame, Image, VideoReader

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})

NaturalName = tuple[tuple[int, int | str], ...]
"""A name as numbers (0, n) and text (1, s), so that it sorts by number."""

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_MOVING = ("WEBP", "PNG")  # in a JPEG or a TIFF further pictures are something else, such as a small one


class PictureReader(VideoReader):
    """Pictures as the frames of a video, in the order given."""

    def __init__(self, source: str, paths: Sequence[Path], frame_rate: Fraction = DEFAULT_RATE) -> None:
        """Looks at every picture's header, so that a wrong size is known before the work starts.

        Args:
            source: How the pictures were named.
            paths: The pictures, first to last; at least one.
            frame_rate: Frames per second that they stand for.

        Raises:
            DataError: A file is no picture, or its size is not that of the first.
        """
        super().__init__(source)
        self._paths = list(paths)
        self.width, self.height = _upright_size(self._paths[0])
        for path in self._paths[1:]:
            size = _upright_size(path)
            if size != (self.width, self.height):
                raise DataError(
                    f"{path} is {size[0]}×{size[1]} pixels but {self._paths[0].name} is {self.width}×{self.height}: "
                    "all frames of one video must have the same size."
                )
        self.frame_rate = frame_rate
        self.time_base = 1 / frame_rate

    @property
    def frame_count(self) -> int:
        """The number of pictures."""
        return len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yields one frame for each picture.

        Raises:
            DataError: A picture is damaged; later pictures would no longer match their numbers if it were left out.
        """
        for index, path in enumerate(self._paths):
            yield Frame(index, float(index / self.frame_rate), read_picture(path))

    def close(self) -> None:
        """Does nothing: no file stays open between frames."""


def find_pictures(folder: Path) -> list[Path]:
    """Lists the pictures of a folder in natural order: frame 2 before frame 10.

    Hidden files are left out.

    Raises:
        DataError: There is none, or two have the same name but for the ending, as when masks lie beside frames.
    """
    try:
        found = sorted_pictures(folder.iterdir())
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read ({error.strerror}): check its permissions.") from error
    if not found:
        raise DataError(f"The folder {folder} holds no pictures: name one with .jpg or .png frames, or a video file.")
    by_stem: dict[str, Path] = {}
    for path in found:
        twin = by_stem.setdefault(path.stem, path)
        if twin is not path:
            raise DataError(
                f"The folder {folder} holds both {twin.name} and {path.name}: "
                f'choose one kind with a pattern such as "{folder}/*{twin.suffix}".'
            )
    return found


def sorted_pictures(paths: Iterator[Path]) -> list[Path]:
    """Keeps the picture files that are not hidden and sorts them naturally."""
    kept = [p for p in paths if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith(".") and p.is_file()]
    return sorted(kept, key=_natural_key)


def read_picture(path: Path, *, upright: bool = True) -> Image:
    """Reads a picture as 8-bit RGB; what is transparent shows black, 16 bits are reduced to 8.

    Args:
        path: The file.
        upright: Whether to turn it as its EXIF orientation says.

    Returns:
        H×W×3 uint8.

    Raises:
        DataError: The file is missing, damaged, no picture, or one of floats, whose black and white nobody knows.
    """
    try:
        with Pictures.open(path) as opened:
            picture = ImageOps.exif_transpose(opened) if upright else opened
            if picture.mode == "F":
                raise FileError(path, "holds floating-point numbers", "save it with 8 or 16 bits a channel")
            if picture.mode.startswith("I"):
                wide = np.asarray(picture)
                # Pillow gives a 16-bit picture as I;16 or, for some files, as I with the same values
                grey = (np.clip(wide, 0, 65535) >> 8).astype(np.uint8)
                return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
            if "A" in picture.mode or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                picture = Pictures.alpha_composite(Pictures.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
            return np.ascontiguousarray(np.asarray(picture.convert("RGB")))
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise unreadable_picture(path, error) from error


def _upright_size(path: Path) -> tuple[int, int]:
    """Width and height from the header alone."""
    try:
        with Pictures.open(path) as opened:
            width, height = opened.size
            sideways = opened.getexif().get(_ORIENTATION_TAG) in _SIDEWAYS
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise unreadable_picture(path, error) from error
    return (height, width) if sideways else (width, height)


def check_no_animation(path: Path) -> None:
    """Refuses a WebP or PNG that moves, of which the first picture alone would be read.

    Raises:
        DataError: It does.
    """
    with Pictures.open(path) as opened:
        count = getattr(opened, "n_frames", 1) if opened.format in _MOVING else 1
    if count > 1:
        raise DataError(f"{path} is an animation of {count} pictures: save it as a GIF, a video or single pictures.")


def unreadable_picture(path: Path, error: Exception) -> FileError:
    """Says in one sentence why a picture could not be read and what to do."""
    if isinstance(error, FileNotFoundError):
        return FileError(path, "does not exist", "check the path")
    if isinstance(error, PermissionError):
        return FileError(path, "cannot be read (permission denied)", "change its permissions")
    if path.is_file() and path.stat().st_size == 0:
        return FileError(path, "is empty", "replace it or leave it out")
    return FileError(path, "is damaged or not a picture", "replace it or leave it out")


def _natural_key(path: Path) -> tuple[NaturalName, str]:
    """Sorts digits as numbers; the plain name settles ties such as 1.png and 01.png."""
    return natural_name(str(path)), str(path)


def natural_name(text: str) -> NaturalName:
    """Splits a name into its numbers and what stands between; 1 and 00001 come to the same."""
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in parts)
