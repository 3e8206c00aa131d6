"""The meta.json of YouTube-VOS: which objects a video has, what they are, and the frames in which they count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uamp_data.errors import DataError
from uamp_data.masks import VOID
from uamp_data.numbering import LONGEST_NAME, require_sequence_name


@dataclass(frozen=True, slots=True)
class MetaObject:
    """One object of a video.

    Attributes:
        frames: Names of the frames in which it counts, without ending; it enters in the first.
        category: What it is; None where the file does not say.
    """

    frames: tuple[str, ...]
    category: str | None


Meta = Mapping[str, Mapping[int, MetaObject]]
"""Objects by video and id."""


def read_meta(path: Path) -> Meta:
    """Reads a meta.json.

    Raises:
        DataError: The file is missing, not such a file, or names what can be no video.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: unpack the data set again.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: unpack the data set again.") from error
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict):
        raise DataError(f'{path} has no "videos" by name: replace it by the one of YouTube-VOS.')
    for name in videos:
        require_sequence_name(name, path)
    return {name: _objects(path, name, video) for name, video in videos.items()}


def _objects(path: Path, name: str, video: object) -> dict[int, MetaObject]:
    objects = video.get("objects") if isinstance(video, dict) else None
    if not isinstance(objects, dict):
        raise DataError(f'{path} gives no "objects" for {name}: replace it by the one of YouTube-VOS.')
    found = {}
    for key, value in objects.items():
        frames = value.get("frames") if isinstance(value, dict) else None
        if not (key.isdecimal() and len(key) < LONGEST_NAME and 0 < int(key) < VOID):
            raise DataError(f"{path} gives {name} an object {key[:80]!r}: ids are numbers from 1 to {VOID - 1}.")
        if int(key) in found:
            raise DataError(f"{path} gives {name} two objects {int(key)}, the second as {key!r}: remove one of them.")
        if not (isinstance(frames, list) and frames and all(map(_can_be_a_file, frames))):
            raise DataError(f'{path} gives no "frames" for object {key} of {name}: replace it by that of YouTube-VOS.')
        category = value.get("category")
        found[int(key)] = MetaObject(tuple(frames), category if isinstance(category, str) else None)
    return dict(sorted(found.items()))


def _can_be_a_file(frame: object) -> bool:
    return isinstance(frame, str) and len(frame) <= LONGEST_NAME
