"""A video of a benchmark as it lies on disk: pictures, and masks for some or all of them."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image as Pictures

from uamp_data.errors import DataError, FileError
from uamp_data.frames import Image
from uamp_data.masks import VOID, Ids, read_stored
from uamp_data.pictures import read_picture, unreadable_picture


class Entry(enum.Enum):
    """When objects enter a sequence."""

    FIRST = "first"
    """All of them in the first annotation; later ones do not count."""

    EACH = "each"
    """Each in the first annotation that shows it."""


@dataclass(frozen=True)
class DiskSequence:
    """One video of T frames whose pictures and masks are read when they are asked for. It can be pickled.

    Attributes:
        name: The name of its folder.
        frame_paths: T pictures, in order.
        annotation_paths: The masks that exist, by frame number from 0, rising.
        listed: Numbers of the frames whose masks a result must hold, rising.
        entry: When objects enter, where `object_frames` does not say.
        object_frames: The frames in which each object counts, rising, for data sets that list them (YouTube-VOS); an
            object enters in the first of them. Empty for the others.
        one_object: Whether all ids but void are one object, as in DAVIS 2016.
        categories: What each object is, as far as the data set says.
    """

    name: str
    frame_paths: tuple[Path, ...]
    annotation_paths: Mapping[int, Path]
    listed: tuple[int, ...]
    entry: Entry = Entry.FIRST
    object_frames: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    one_object: bool = False
    categories: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def frame_names(self) -> tuple[str, ...]:
        """The frames' file names without ending, in order."""
        return tuple(path.stem for path in self.frame_paths)

    @cached_property
    def annotated(self) -> tuple[int, ...]:
        """Numbers of the frames that have a mask, rising."""
        return tuple(sorted(self.annotation_paths))

    @cached_property
    def prompts(self) -> Mapping[int, tuple[int, ...]]:
        """By frame number from 0: ids of the objects whose mask there is given to the tracker.

        Reads as many masks as it must, once.

        Raises:
            DataError: A mask cannot be read, or shows no object where one should enter.
        """
        if self.object_frames:
            return self._listed_entries()
        if self.entry is Entry.EACH:
            return self._every_entry()
        first = self.annotated[0]
        ids = object_ids(self.annotation(first))
        if not ids:
            path = self.annotation_paths[first]
            raise DataError(
                f"The first mask of {self.name}, {path}, shows no object: replace it or leave {self.name} out."
            )
        return {first: ids}

    def image(self, frame: int) -> Image:
        """Reads a frame.

        Returns:
            H×W×3 uint8 RGB, as stored: masks are drawn on the stored pixels, whatever a camera noted about turning.

        Raises:
            DataError: The file is missing or damaged.
        """
        return read_picture(self.frame_paths[frame], upright=False)

    def annotation(self, frame: int) -> Ids:
        """Reads the mask of an annotated frame.

        Black and white alone are one object, unless the first mask that shows an object holds ids: then 255 is void.

        Returns:
            H×W uint8, the frame's size: 0 background, 1 to 254 objects, 255 void.

        Raises:
            DataError: The frame has no mask, or it cannot be read, or is not of the frame's size.
        """
        path = self.annotation_paths.get(frame)
        if path is None:
            raise DataError(f"The frame {self.frame_paths[frame]} has no mask: ask for one of the annotated frames.")
        stored = read_stored(path)
        ids = stored.as_ids(numbered=stored.white is not None and self._numbered)
        check_size(path, ids.shape, self.frame_paths[frame])
        if self.one_object:
            ids[(ids > 0) & (ids < VOID)] = 1
        return ids

    @cached_property
    def _numbered(self) -> bool:
        """Whether the masks hold ids, by the first that shows an object; needed only for black and white masks."""
        told = (read_stored(self.annotation_paths[frame]).numbered for frame in self.annotated)
        return next((numbered for numbered in told if numbered is not None), False)

    def _listed_entries(self) -> Mapping[int, tuple[int, ...]]:
        """Each object in the first of its listed frames that has a mask with it: as a rule the very first."""
        prompts: dict[int, list[int]] = {}
        shown: dict[int, tuple[int, ...]] = {}
        for object_id, frames in sorted(self.object_frames.items()):
            for frame in frames:
                if frame not in self.annotation_paths:
                    continue
                if frame not in shown:
                    shown[frame] = object_ids(self.annotation(frame))
                if object_id in shown[frame]:
                    prompts.setdefault(frame, []).append(object_id)
                    break
            else:
                raise DataError(
                    f"No mask of {self.name} shows its object {object_id} in a frame that meta.json lists for it: "
                    f"unpack the masks again or leave {self.name} out."
                )
        return {frame: tuple(prompts[frame]) for frame in sorted(prompts)}

    def _every_entry(self) -> Mapping[int, tuple[int, ...]]:
        prompts: dict[int, tuple[int, ...]] = {}
        seen: set[int] = set()
        for frame in self.annotated:
            new = tuple(sorted(set(object_ids(self.annotation(frame))) - seen))
            if new:
                prompts[frame] = new
                seen.update(new)
        if not prompts:
            folder = self.annotation_paths[self.annotated[0]].parent
            raise DataError(f"No mask in {folder} shows an object: replace them or leave {self.name} out.")
        return prompts


class SequenceList(Sequence[DiskSequence]):
    """The sequences of a data set, in order."""

    def __init__(self, sequences: Iterable[DiskSequence]) -> None:
        """Keeps the sequences."""
        self._sequences = list(sequences)

    @overload
    def __getitem__(self, index: int) -> DiskSequence: ...

    @overload
    def __getitem__(self, index: slice) -> list[DiskSequence]: ...

    def __getitem__(self, index: int | slice) -> DiskSequence | list[DiskSequence]:
        """A sequence by its place."""
        return self._sequences[index]

    def __len__(self) -> int:
        """The number of sequences."""
        return len(self._sequences)


def object_ids(ids: Ids) -> tuple[int, ...]:
    """The objects that a mask shows, rising; void is none."""
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=VOID + 1))
    return tuple(int(value) for value in present if 0 < value < VOID)


def check_size(mask: Path, shape: tuple[int, ...], frame: Path) -> None:
    """Compares a mask's size with that of its frame.

    Args:
        mask: The mask's file.
        shape: Its height and width.
        frame: The frame's file; only its header is read.

    Raises:
        DataError: They differ, or the frame cannot be read.
    """
    try:
        with Pictures.open(frame) as picture:
            width, height = picture.size
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise unreadable_picture(frame, error) from error
    if shape != (height, width):
        raise FileError(
            mask,
            f"is {shape[1]}×{shape[0]} pixels but its frame {frame.name} is {width}×{height}",
            "replace it by one of the frame's size",
            kind="The mask",
        )
