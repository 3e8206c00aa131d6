"""Which data set lies in a folder."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from uamp_data.errors import DataError
from uamp_data.numbering import list_folders

FRAMES_FOLDER, MASKS_FOLDER, LISTS_FOLDER, META_FILE = "JPEGImages", "Annotations", "ImageSets", "meta.json"

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
"""The folders in which DAVIS keeps its pictures."""


class Layout(enum.Enum):
    """The arrangements of folders that are understood."""

    DAVIS = "DAVIS"
    """ImageSets/<year>/<split>.txt, JPEGImages/<resolution>/<sequence>, Annotations/<resolution>/<sequence>."""

    YOUTUBE_VOS = "YouTube-VOS"
    """<split>/meta.json, <split>/JPEGImages/<sequence>, <split>/Annotations/<sequence>."""

    FOLDERS = "DAVIS-like folders"
    """JPEGImages/<sequence> and Annotations/<sequence>, without lists."""


def find_layout(root: Path) -> Layout | None:
    """Tells by its folders which layout a tree has; None if none that is known."""
    if _is_davis(root):
        return Layout.DAVIS
    if youtube_splits(root):
        return Layout.YOUTUBE_VOS
    return Layout.FOLDERS if plain_trees(root) else None


def youtube_splits(root: Path) -> list[Path]:
    """The folders with a meta.json beside frames or masks: the root itself, or those in it."""
    return [folder for folder in (root, *list_folders(root)) if _is_youtube_split(folder)]


def plain_trees(root: Path) -> list[Path]:
    """The folders with both frames and masks: the root itself, or those in it (MOSE has train and valid)."""
    return [
        folder
        for folder in (root, *list_folders(root))
        if (folder / FRAMES_FOLDER).is_dir() and (folder / MASKS_FOLDER).is_dir() and not _is_davis(folder)
    ]


def require_root(root: Path) -> None:
    """Makes sure that there is a folder.

    Raises:
        DataError: There is none.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"The data set's root {root} {what}: check the path.")


def wrong_layout(root: Path, wanted: Layout) -> DataError:
    """Says what a root that should have one layout holds instead."""
    for folder in list_folders(root):
        if find_layout(folder) is wanted:
            return DataError(f"{root} is not a {wanted.value} tree but {folder} is: name that one.")
    found = find_layout(root)
    if found is not None and found is not wanted:
        return DataError(
            f"{root} is laid out as {found.value}, not as {wanted.value}: name a {wanted.value} tree or read this one "
            f"as {found.value}."
        )
    if wanted is Layout.DAVIS and found is wanted:
        missing = next(name for name in (LISTS_FOLDER, FRAMES_FOLDER, MASKS_FOLDER) if not (root / name).is_dir())
        return DataError(f"The DAVIS tree {root} has no {missing}: unpack DAVIS again.")
    if find_layout(root.parent) is wanted:
        return DataError(f"{root} lies inside a {wanted.value} tree: name {root.parent}.")
    needs = {
        Layout.DAVIS: f"{LISTS_FOLDER}, {FRAMES_FOLDER} and {MASKS_FOLDER}",
        Layout.YOUTUBE_VOS: f"train or valid, with {META_FILE}, {FRAMES_FOLDER} and {MASKS_FOLDER} in it",
        Layout.FOLDERS: f"{FRAMES_FOLDER} and {MASKS_FOLDER}",
    }[wanted]
    return DataError(f"{root} is not a {wanted.value} tree: name the folder that holds {needs}.")


def choose(names: Iterable[str], wanted: Iterable[str] | None, where: str) -> list[str]:
    """Picks sequences by name.

    Args:
        names: All there are.
        wanted: Those to keep, None for all; they keep the order of `names`.
        where: What the names are of, for the error.

    Raises:
        DataError: A wanted name is not there, or none is wanted.
    """
    known = list(dict.fromkeys(names))
    if wanted is None:
        return known
    chosen = set(wanted)
    if not chosen:
        raise DataError(f"No sequence of {where} was named: name at least one or leave the choice out.")
    for name in sorted(chosen - set(known)):
        near = get_close_matches(name, known, n=1)
        shown = ", ".join(known[:5]) + (" and others" if len(known) > 5 else "")
        hint = f"did you mean {near[0]}?" if near else f"choose from {shown}."
        raise DataError(f"There is no sequence {name!r} in {where}; {hint}")
    return [name for name in known if name in chosen]


def _is_davis(root: Path) -> bool:
    return (root / LISTS_FOLDER).is_dir() or any((root / FRAMES_FOLDER / name).is_dir() for name in RESOLUTIONS)


def _is_youtube_split(folder: Path) -> bool:
    return (folder / META_FILE).is_file() and ((folder / FRAMES_FOLDER).is_dir() or (folder / MASKS_FOLDER).is_dir())
