from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from uamp_data.errors import DataError
from uamp_data.frames import VideoReader
from uamp_data.pictures import PICTURE_SUFFIXES, PictureReader, check_no_animation, find_pictures, sorted_pictures

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CAMERA = re.compile(r"\d{1,2}|/dev/video\d+")
_NUMBERED = re.compile(r"%0?\d*d")  # FFmpeg's way to name numbered files: frames/%05d.jpg


def open_video(source: str | Path) -> VideoReader:
    """Opens anything that has frames.

    | `source` | is read as |
    |---|---|
    | a video file | its frames with their exact times, turned upright |
    | a folder | its pictures in natural order (frame 2 before frame 10), at 25 frames per second |
    | a pattern: `frames/*.jpg`, `frames/%05d.jpg` | the pictures that match, likewise |
    | one picture | a video of one frame |
    | `0`, `1`, `/dev/video0` | a camera (an existing file or folder of that name comes first) |
    | an address: `rtsp://...`, `http://...` | a network stream |

    Use it as a context manager:

    ```python
    with open_video("clip.mp4") as video:
        for frame in video:
            ...
    ```

    Raises:
        DataError: It is missing, or not one frame of it can be read.
    """
    name = _path_of(source) if isinstance(source, str) else str(source)
    if not name.strip():
        raise DataError("The name of the video is empty: name a file, a folder, a camera number or an address.")
    # OpenCV and FFmpeg take long to import, and not every source needs both
    if isinstance(source, str) and _URL.match(name):
        from uamp_data.stream import StreamReader

        return StreamReader(name, is_file=False)
    try:
        return _open_local(name, _expanded(name))
    except (OSError, ValueError) as error:
        # a name that no file can have, a folder that may not be entered
        raise DataError(f"{name[:200]} cannot be opened ({error}): check the path.") from error


def local_files(source: str) -> list[Path]:
    """The files that `open_video` would read; none of a camera, a network stream, or what it cannot open."""
    try:
        name = _path_of(source)
        if not name.strip():  # which is no name of the current folder
            return []
        path = _expanded(name)
        if path.is_dir():
            return find_pictures(path)
        return [path] if path.exists() else _match_pattern(source, path)
    except (DataError, OSError, ValueError):
        return []


def _path_of(source: str) -> str:
    """What a file's address names; anything else as it is."""
    return url2pathname(urlsplit(source).path) if source.startswith("file:") else source


def _expanded(name: str) -> Path:
    return Path(os.path.expanduser(name))  # noqa: PTH111 - as it is where nobody has a home


def _open_local(name: str, path: Path) -> VideoReader:
    if _CAMERA.fullmatch(name) and not (path.is_dir() or path.is_file()):
        from uamp_data.camera import CameraReader

        return CameraReader(name, int(name) if name.isdecimal() else name)
    if path.is_dir():
        return PictureReader(name, find_pictures(path))
    if not path.exists():
        return PictureReader(name, _match_pattern(name, path))
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{name} is empty: get it or export it again.")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        reader = PictureReader(name, [path])
        check_no_animation(path)
        return reader
    from uamp_data.stream import StreamReader

    return StreamReader(str(path), is_file=True)


def _match_pattern(name: str, path: Path) -> list[Path]:
    pattern, fits = str(path), re.compile(".*", re.DOTALL)
    literal = _NUMBERED.split(pattern)
    if len(literal) > 1:  # then nothing but the number stands for anything else
        pattern, fits = "[0-9]*".join(map(glob.escape, literal)), re.compile("[0-9]+".join(map(re.escape, literal)))
    elif not glob.has_magic(pattern):
        raise DataError(f"{name} does not exist: check the path.")
    matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 - absolute and relative patterns alike
    found = sorted_pictures(Path(match) for match in matches if fits.fullmatch(match))
    if not found:
        raise DataError(f"No picture matches {name}: check the pattern, and put it in quotes.")
    return found
