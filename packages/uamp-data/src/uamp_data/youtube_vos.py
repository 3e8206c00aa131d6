"""YouTube-VOS 2018 and 2019: objects that appear later, and masks for some frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from uamp_data.errors import DataError
from uamp_data.layout import (
    FRAMES_FOLDER,
    MASKS_FOLDER,
    META_FILE,
    Layout,
    choose,
    require_root,
    wrong_layout,
    youtube_splits,
)
from uamp_data.numbering import frame_key, match_masks, numbered_pictures
from uamp_data.pictures import natural_name
from uamp_data.sequence import DiskSequence, SequenceList
from uamp_data.youtube_meta import Meta, MetaObject, read_meta

YEARS = (2018, 2019)


class YoutubeVosDataset(SequenceList):
    """The videos of one split.

    A result must hold the frames that meta.json lists for any object; the other frames are there to be processed.
    Where the frames between them lie beside the split (`valid_all_frames`), a sequence has all of them.
    """

    def __init__(
        self,
        root: str | Path,
        year: int = 2019,
        split: str = "valid",
        sequences: Iterable[str] | None = None,
        *,
        all_frames: bool = True,
    ) -> None:
        """Lists the split.

        Args:
            root: The folder with train, valid ..., or that of the split itself.
            year: 2018 or 2019; both have the same layout.
            split: train, valid or test.
            sequences: Names to keep; None for all.
            all_frames: Whether to take all frames of a video where they are there.

        Raises:
            DataError: The root is missing or of another layout, meta.json is damaged or empty, a name is unknown, or a
                video lacks its folder, a listed frame or the mask with which an object enters.
        """
        self.root, self.year, self.split = Path(root), year, split
        require_root(self.root)
        if year not in YEARS:
            raise DataError(f"There is no YouTube-VOS of {year} with given masks: use 2018 or 2019.")
        self.folder = find_split(self.root, split)
        meta_path = self.folder / META_FILE
        meta = read_meta(meta_path)
        if not meta:
            raise DataError(f"{meta_path} lists no video: unpack the data set again.")
        self.frames_folder = (
            find_all_frames(self.folder, split) if all_frames else None
        ) or self.folder / FRAMES_FOLDER
        names = choose(meta, sequences, f"YouTube-VOS {year} {split}")
        super().__init__([self._load(name, meta) for name in names])

    @cached_property
    def seen_categories(self) -> frozenset[str] | None:
        """What the objects of the training split are, or None if its meta.json is not here.

        Raises:
            DataError: The file is damaged.
        """
        for folder in (self.root, self.folder.parent):
            path = folder / "train" / META_FILE
            if path.is_file():
                return categories_of(read_meta(path))
        return categories_of(read_meta(self.folder / META_FILE)) if self.split == "train" else None

    def _load(self, name: str, meta: Meta) -> DiskSequence:
        frames = numbered_pictures(self.frames_folder / name)
        masks = match_masks(frames, numbered_pictures(self.folder / MASKS_FOLDER / name))
        objects = meta[name]
        if not objects:
            raise DataError(f"{self.folder / META_FILE} lists no object of {name}: leave {name} out.")
        listed = listed_frames(frames, name, objects)
        for object_id, indices in listed.items():
            if indices[0] not in masks:
                raise DataError(
                    f"The frame {frames[indices[0]]}, in which object {object_id} enters, has no mask in "
                    f"{self.folder / MASKS_FOLDER / name}: add it or leave {name} out."
                )
        return DiskSequence(
            name=name,
            frame_paths=tuple(frames),
            annotation_paths=masks,
            listed=tuple(sorted({index for indices in listed.values() for index in indices})),
            object_frames=listed,
            categories={key: value.category for key, value in objects.items() if value.category is not None},
        )


def find_split(root: Path, split: str) -> Path:
    """The folder of a split: in the root, or the root itself.

    Raises:
        DataError: There is none; the sentence says which splits there are.
    """
    splits = {folder.resolve(): folder for folder in youtube_splits(root)}
    wanted = root / split
    if wanted.resolve() in splits:
        return wanted
    if root.resolve() in splits:
        if root.resolve().name in ("train", "valid", "test") and root.resolve().name != split:
            raise DataError(
                f"{root} is the split {root.resolve().name}, not {split}: choose that split or name another folder."
            )
        return root
    if wanted.is_dir():
        lacking = (
            f"no {META_FILE}" if not (wanted / META_FILE).is_file() else f"neither {FRAMES_FOLDER} nor {MASKS_FOLDER}"
        )
        if (wanted / META_FILE).is_file() or (wanted / FRAMES_FOLDER).is_dir():
            raise DataError(f"{wanted} has {lacking}: unpack that split of YouTube-VOS again.")
    if splits:
        there = ", ".join(folder.name for folder in splits.values())
        raise DataError(f"{root} has no split {split!r} of YouTube-VOS: choose from {there}.")
    raise wrong_layout(root, Layout.YOUTUBE_VOS)


def find_all_frames(folder: Path, split: str) -> Path | None:
    """The frames of a split at full rate, which are a download of their own; None if they are not here."""
    beside = folder.resolve().parent
    for name in dict.fromkeys((f"{folder.name}_all_frames", f"{split}_all_frames")):
        for candidate in (beside / name, beside / "all_frames" / name):
            if (candidate / FRAMES_FOLDER).is_dir():
                return candidate / FRAMES_FOLDER
    return None


def listed_frames(frames: Sequence[Path], name: str, objects: Mapping[int, MetaObject]) -> dict[int, tuple[int, ...]]:
    """Numbers of the frames that meta.json lists for each object, rising.

    Args:
        frames: The frames of the video, by number.
        name: The video's.
        objects: What meta.json says of it.

    Raises:
        DataError: A listed frame is not there.
    """
    index_of = {frame_key(path): index for index, path in enumerate(frames)}
    found = {}
    for object_id, value in objects.items():
        indices = set()
        for frame in value.frames:
            index = index_of.get(natural_name(frame))
            if index is None:
                raise DataError(
                    f"The frame {frame} that {META_FILE} lists for object {object_id} of {name} is not in "
                    f"{frames[0].parent}: unpack the frames again or leave {name} out."
                )
            indices.add(index)
        found[object_id] = tuple(sorted(indices))
    return found


def categories_of(meta: Meta) -> frozenset[str]:
    """What the objects of all videos are."""
    return frozenset(value.category for objects in meta.values() for value in objects.values() if value.category)
