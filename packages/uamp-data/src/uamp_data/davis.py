"""DAVIS 2016 and 2017."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from uamp_data.errors import DataError, FileError
from uamp_data.layout import (
    FRAMES_FOLDER,
    LISTS_FOLDER,
    MASKS_FOLDER,
    RESOLUTIONS,
    Layout,
    choose,
    require_root,
    wrong_layout,
)
from uamp_data.numbering import list_folders, match_masks, numbered_pictures, require_sequence_name
from uamp_data.sequence import DiskSequence, SequenceList

YEARS = (2016, 2017)


class DavisDataset(SequenceList):
    """The sequences of one split.

    All frames of train and val must have a mask, of the test splits only the first. Folders are listed at once, so
    that what is missing is known before the work starts; pictures are read when they are asked for.
    """

    def __init__(
        self,
        root: str | Path,
        year: int = 2017,
        split: str = "val",
        resolution: str = RESOLUTIONS[0],
        sequences: Iterable[str] | None = None,
    ) -> None:
        """Lists the split.

        Args:
            root: The folder with ImageSets, JPEGImages and Annotations.
            year: 2017, or 2016, in which all objects of a video count as one.
            split: A list in ImageSets: train, val, trainval, test-dev, test-challenge.
            resolution: A folder in JPEGImages: 480p, Full-Resolution, 1080p.
            sequences: Names to keep, in the list's order; None for all.

        Raises:
            DataError: The root is missing or of another layout, the list is missing or empty, a name is unknown, or a
                sequence lacks its folder, frames or masks, or numbers a frame twice.
        """
        self.root, self.year, self.split, self.resolution = Path(root), year, split, resolution
        require_root(self.root)
        if year not in YEARS:
            raise DataError(f"There is no DAVIS of {year} whose first masks are given: use 2016 or 2017.")
        if not all((self.root / folder).is_dir() for folder in (LISTS_FOLDER, FRAMES_FOLDER, MASKS_FOLDER)):
            raise wrong_layout(self.root, Layout.DAVIS)
        _require_resolution(self.root, resolution)
        self.list_path = find_list(self.root, year, split, resolution)
        names = read_list(self.list_path)
        if not names:
            raise DataError(f"The list {self.list_path} is empty: write one sequence name on each line.")
        chosen = choose(names, sequences, f"DAVIS {year} {split}")
        super().__init__([self._load(name) for name in chosen])

    def _load(self, name: str) -> DiskSequence:
        frames = numbered_pictures(self.root / FRAMES_FOLDER / self.resolution / name)
        masks = match_masks(frames, numbered_pictures(self.root / MASKS_FOLDER / self.resolution / name))
        needed = range(1) if is_test_split(self.split) else range(len(frames))
        for index in needed:
            if index not in masks:
                folder = self.root / MASKS_FOLDER / self.resolution / name
                raise DataError(f"The frame {frames[index]} has no mask in {folder}: add it or leave {name} out.")
        return DiskSequence(
            name=name,
            frame_paths=tuple(frames),
            annotation_paths=masks,
            listed=tuple(range(len(frames))),
            one_object=self.year == 2016,
        )


def is_test_split(split: str) -> bool:
    """Whether only first masks of a split are public."""
    return split.startswith("test")


def split_lists(root: Path, year: int) -> dict[str, Path]:
    """The lists of a year by split.

    DAVIS 2017 brings those of both years; the release of 2016 has one for each resolution instead.
    """
    folders = [root / LISTS_FOLDER / str(year)]
    if year == 2016:
        folders += [folder for folder in list_folders(root / LISTS_FOLDER) if not folder.name.isdecimal()]
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.txt")):
            found.setdefault(path.stem, path)
    return found


def find_list(root: Path, year: int, split: str, resolution: str = RESOLUTIONS[0]) -> Path:
    """The file that lists a split's sequences.

    Raises:
        DataError: There is none; the sentence names the years or splits there are.
    """
    own = root / LISTS_FOLDER / resolution / f"{split}.txt"
    if year == 2016 and own.is_file() and not (root / LISTS_FOLDER / "2016").is_dir():
        return own
    lists = split_lists(root, year)
    if split in lists:
        return lists[split]
    if lists:
        raise DataError(f"{root} has no split {split!r} of DAVIS {year}: choose from {', '.join(lists)}.")
    other = next((candidate for candidate in YEARS if candidate != year and split_lists(root, candidate)), None)
    if other is not None:
        raise DataError(f"{root} has no lists of DAVIS {year}, only of {other}: choose the year {other}.")
    raise DataError(f"{root / LISTS_FOLDER / str(year)} holds no lists: unpack DAVIS {year} again.")


def read_list(path: Path) -> list[str]:
    """Names of the sequences in a list, in order: one name a line, or, as in 2016, a frame and its mask.

    Raises:
        FileError: The file cannot be read, or holds what is no name.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        remedy = "replace it by a text file with a sequence name on each line"
        raise FileError(path, "cannot be read", remedy, kind="The list") from error
    first_words = (line.split()[0] for line in lines if line.strip())
    names = [word.rstrip("/").split("/")[-2] if "/" in word.strip("/") else word.strip("/") for word in first_words]
    for name in names:
        require_sequence_name(name, path)
    return list(dict.fromkeys(names))


def _require_resolution(root: Path, resolution: str) -> None:
    for kind in (FRAMES_FOLDER, MASKS_FOLDER):
        if (root / kind / resolution).is_dir():
            continue
        there = ", ".join(folder.name for folder in list_folders(root / kind))
        hint = f"choose from {there}." if there else "unpack the data set again."
        raise DataError(f"{root / kind} has no resolution {resolution!r}: {hint}")
