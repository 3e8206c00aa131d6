"""The numbered pictures of one folder: the frames of a video or their masks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from uamp_data.errors import DataError, FileError
from uamp_data.pictures import PICTURE_SUFFIXES, NaturalName, natural_name

LONGEST_NAME = 255
"""Bytes of a file's or folder's name, on nearly all disks."""

FrameKey = NaturalName
"""What a file's name says about its number: 1.jpg and 00001.png have the same key."""


def frame_key(path: Path) -> FrameKey:
    """The number of a frame by its file's name without ending."""
    return natural_name(path.stem)


def require_sequence_name(name: str, listing: Path) -> None:
    """Makes sure that a name that a file lists is that of a folder inside the data set.

    Raises:
        FileError: It leads elsewhere, or no folder can have it.
    """
    parts = re.split(r"[/\\]", name)
    leads_out = any(part in ("", ".", "..") for part in parts) or Path(name).anchor
    too_long = any(len(part.encode(errors="replace")) > LONGEST_NAME for part in parts)
    if leads_out or too_long or re.search("[\0\ud800-\udfff]", name):
        raise FileError(listing, f"lists {name[:80]!r}, which no sequence can be called", "correct it or take it out")


def list_pictures(folder: Path) -> list[Path]:
    """Lists a folder's pictures that are not hidden, by number; an empty list if there is no such folder.

    Raises:
        FileError: The folder cannot be read.
    """
    names = _names(folder, os.DirEntry.is_file)
    found = [folder / name for name in names if os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES]  # noqa: PTH122
    return sorted(found, key=lambda path: (frame_key(path), path.name))


def list_folders(folder: Path) -> list[Path]:
    """Lists a folder's folders that are not hidden, by name; an empty list if there is no such folder.

    Raises:
        FileError: The folder cannot be read.
    """
    return [folder / name for name in sorted(_names(folder, os.DirEntry.is_dir))]


def _names(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and wanted(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise FileError(folder, problem, "check its permissions", kind="The folder") from error


def twins(paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs of neighbours with the same number, in a list as `list_pictures` gives it."""
    return [(first, second) for first, second in pairwise(paths) if frame_key(first) == frame_key(second)]


def numbered_pictures(folder: Path) -> list[Path]:
    """Lists a folder's pictures by number, each number once.

    Raises:
        DataError: The folder is missing or cannot be read, has no pictures, or two with the same number.
    """
    paths = list_pictures(folder)
    if not paths:
        what = "holds no pictures" if folder.is_dir() else "does not exist"
        raise DataError(f"The folder {folder} {what}: unpack the data set again or name the sequences that are there.")
    for first, second in twins(paths):
        raise DataError(f"{first} and {second.name} have the same frame number: remove one of them.")
    return paths


def match_masks(frames: Sequence[Path], masks: Iterable[Path]) -> dict[int, Path]:
    """Finds the frame of each mask.

    Args:
        frames: The frames, by number.
        masks: Their masks, by number; there may be fewer.

    Returns:
        Masks by the index of their frame, rising.

    Raises:
        DataError: A mask belongs to no frame.
    """
    index_of = {frame_key(path): index for index, path in enumerate(frames)}
    matched = {}
    for mask in masks:
        index = index_of.get(frame_key(mask))
        if index is None:
            raise DataError(f"The mask {mask} belongs to no frame in {frames[0].parent}: add the frame or remove it.")
        matched[index] = mask
    return matched
