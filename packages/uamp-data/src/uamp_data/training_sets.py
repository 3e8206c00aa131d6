"""Which sequences of a data set on disk to train on, and which to hold out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from uamp_data.davis import DavisDataset, split_lists
from uamp_data.errors import DataError
from uamp_data.folders import FolderDataset
from uamp_data.layout import (
    FRAMES_FOLDER,
    MASKS_FOLDER,
    Layout,
    choose,
    find_layout,
    plain_trees,
    require_root,
    wrong_layout,
)
from uamp_data.sequence import DiskSequence, SequenceList
from uamp_data.youtube_vos import YoutubeVosDataset

_DAVIS_YEARS = {"davis2016": 2016, "davis2017": 2017}
_NAMES = ("davis", *_DAVIS_YEARS, "youtube_vos", "folders")
_LEAST_ANNOTATED = 3
"""Scores leave out the first annotated frame and the last."""
_HELD_OUT_OF = 10
"""One sequence of so many is held out where nobody says which."""


def open_training_set(dataset: str, root: Path | str, split: str = "train") -> SequenceList:
    """List the sequences of a split.

    Args:
        dataset: `davis2016`, `davis2017`, `davis` (the year whose lists are there, 2017 before 2016), `youtube_vos`
            (its annotated frames alone) or `folders` (`JPEGImages/<sequence>` and `Annotations/<sequence>`).
        root: The data set's folder.
        split: The split; of plain folders the one of this name if there are several trees.

    Raises:
        DataError: The name is unknown, the root is missing or of another layout, or a file is missing.
    """
    root = Path(root)
    if dataset not in _NAMES:
        raise DataError(f"There is no data set {dataset!r} to train on: choose from {', '.join(_NAMES)}.")
    require_root(root)
    if dataset == "youtube_vos":
        return YoutubeVosDataset(root, split=split, all_frames=False)
    if dataset == "folders":
        tree = _plain_tree(root, split)
        return FolderDataset(tree / FRAMES_FOLDER, tree / MASKS_FOLDER)
    year = _DAVIS_YEARS.get(dataset) or next((year for year in (2017, 2016) if split in split_lists(root, year)), 2017)
    return DavisDataset(root, year=year, split=split)


def open_any(root: Path | str, split: str = "val") -> SequenceList:
    """List the sequences of a data set whose layout is told by its folders; YouTube-VOS calls `val` `valid`.

    Raises:
        DataError: As for `open_training_set`.
    """
    root = Path(root)
    require_root(root)
    layout = find_layout(root)
    if layout is Layout.YOUTUBE_VOS:
        return open_training_set("youtube_vos", root, "valid" if split == "val" else split)
    return open_training_set("folders" if layout is Layout.FOLDERS else "davis", root, split)


def hold_out(
    sets: Sequence[Sequence[DiskSequence]],
    train: Collection[str],
    held_out: Collection[str],
    *,
    where: str = "the training data",
) -> tuple[list[list[DiskSequence]], list[DiskSequence]]:
    """Divide sequences between training and validation.

    Args:
        sets: The data sets of a mix.
        train: Names to train on; none for all that are not held out.
        held_out: Names to validate on.
        where: What the sets are, for the error.

    Returns:
        What is left of each set to train on, and the sequences held out.

    Raises:
        DataError: A name is in no set.
    """
    names = [sequence.name for sequences in sets for sequence in sequences]
    for wanted in (train, held_out):
        if wanted:
            choose(names, wanted, where)
    kept = [[s for s in part if s.name not in held_out and (not train or s.name in train)] for part in sets]
    return kept, [sequence for part in sets for sequence in part if sequence.name in held_out]


def first_frames(sequence: DiskSequence, count: int) -> DiskSequence:
    """The beginning of a sequence: its first `count` frames, or as many more as hold three masks.

    Objects that enter later are left out.
    """
    count = max(count, sequence.annotated[:_LEAST_ANNOTATED][-1] + 1)
    objects = {key: tuple(n for n in frames if n < count) for key, frames in sequence.object_frames.items()}
    return replace(
        sequence,
        frame_paths=sequence.frame_paths[:count],
        annotation_paths={n: path for n, path in sequence.annotation_paths.items() if n < count},
        listed=tuple(n for n in sequence.listed if n < count),
        object_frames={key: frames for key, frames in objects.items() if frames},
    )


def a_tenth(names: Iterable[str]) -> tuple[str, ...]:
    """Names to hold out where nobody says which: every tenth by name, at least one, none of fewer than four."""
    ordered = sorted(names)
    return tuple(ordered[_HELD_OUT_OF // 2 :: _HELD_OUT_OF] or ordered[-1:]) if len(ordered) >= 4 else ()


def _plain_tree(root: Path, split: str) -> Path:
    trees = plain_trees(root)
    for tree in trees:
        if tree == root or tree.name == split:
            return tree
    if trees:
        raise DataError(f"{root} has no split {split!r}: choose from {', '.join(tree.name for tree in trees)}.")
    raise wrong_layout(root, Layout.FOLDERS)
