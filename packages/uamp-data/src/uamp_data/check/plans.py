"""Which videos a tree should hold, by its lists or its folders, and what is wrong with those."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from uamp_data.check.video import UNPACK, MasksFor, Problem, VideoPlan
from uamp_data.davis import is_test_split, read_list
from uamp_data.errors import DataError, FileError
from uamp_data.layout import (
    FRAMES_FOLDER,
    LISTS_FOLDER,
    MASKS_FOLDER,
    META_FILE,
    RESOLUTIONS,
    Layout,
    plain_trees,
    youtube_splits,
)
from uamp_data.numbering import list_folders
from uamp_data.youtube_meta import Meta, read_meta
from uamp_data.youtube_vos import find_all_frames


@dataclass(slots=True)
class TreePlan:
    """The videos to look at, and what is wrong with what lists them."""

    videos: list[VideoPlan] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: Path, problem: str, remedy: str) -> None:
        """Notes a problem."""
        self.problems.append(Problem(path, problem, remedy))


def plan_tree(root: Path, layout: Layout) -> TreePlan:
    """Finds the videos of a tree.

    Raises:
        DataError: A folder cannot be listed.
    """
    plan = TreePlan()
    if layout is Layout.DAVIS:
        _plan_davis(root, plan)
    elif layout is Layout.YOUTUBE_VOS:
        for folder in youtube_splits(root):
            _plan_youtube(folder, plan)
    else:
        for folder in plain_trees(root):
            _plan_folders(folder, plan)
    return plan


@dataclass(frozen=True, slots=True)
class _List:
    path: Path
    year: str
    names: tuple[str, ...]

    @property
    def masks_for(self) -> MasksFor:
        return MasksFor.FIRST if is_test_split(self.path.stem) else MasksFor.ALL


def _plan_davis(root: Path, plan: TreePlan) -> None:
    lists = _davis_lists(root, plan)
    resolutions = _resolutions(root, plan)
    for listing in lists:
        here = {
            resolution: [name for name in listing.names if (root / FRAMES_FOLDER / resolution / name).is_dir()]
            for resolution in resolutions
        }
        # where a resolution has any video of a list, it must have all; and one resolution must
        wanted = [resolution for resolution in resolutions if here[resolution]] or resolutions[:1]
        for resolution in wanted:
            for name in dict.fromkeys(listing.names):
                if name not in here[resolution]:
                    where = listing.path.relative_to(root)
                    path = root / FRAMES_FOLDER / resolution / name
                    plan.add(path, f"does not exist but is listed in {where}", f"{UNPACK} or take it off the list")
    rules: dict[str, MasksFor] = {}
    multiple = set()
    for listing in lists:
        for name in listing.names:
            if rules.get(name) is not MasksFor.ALL:
                rules[name] = listing.masks_for
            if listing.year == "2017":
                multiple.add(name)
    for resolution in resolutions:
        frames, masks = root / FRAMES_FOLDER / resolution, root / MASKS_FOLDER / resolution
        _masks_without_frames(frames, masks, plan)
        for folder in list_folders(frames):
            rule = rules.get(folder.name, MasksFor.SOME)
            counted = folder.name in multiple
            plan.videos.append(
                VideoPlan(folder.name, folder, masks / folder.name, rule, from_zero=True, count_ids=counted)
            )


def _davis_lists(root: Path, plan: TreePlan) -> list[_List]:
    paths = sorted((root / LISTS_FOLDER).glob("*/*.txt"))
    if not paths:
        problem = "holds no lists such as 2017/val.txt" if (root / LISTS_FOLDER).is_dir() else "does not exist"
        plan.add(root / LISTS_FOLDER, problem, UNPACK)
    lists = []
    for path in paths:
        try:
            names = read_list(path)
        except FileError as error:
            plan.add(error.path, error.problem, error.remedy)
            continue
        if not names:
            plan.add(path, "is empty", "write one sequence name on each line")
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        for line, count in Counter(line.strip() for line in lines if line.strip()).items():
            if count > 1:
                plan.add(path, f"lists {line} {count} times", "leave one of the lines")
        lists.append(_List(path, path.parent.name, tuple(names)))
    return lists


def _resolutions(root: Path, plan: TreePlan) -> list[str]:
    """Those with both frames and masks; 480p first, as the one where a video that none of them has is reported."""
    names = {kind: {folder.name for folder in list_folders(root / kind)} for kind in (FRAMES_FOLDER, MASKS_FOLDER)}
    for kind, other in ((FRAMES_FOLDER, MASKS_FOLDER), (MASKS_FOLDER, FRAMES_FOLDER)):
        if not names[kind]:
            plan.add(
                root / kind, "holds no folder such as 480p" if (root / kind).is_dir() else "does not exist", UNPACK
            )
        elif names[other]:
            for name in sorted(names[other] - names[kind]):
                plan.add(root / kind / name, f"does not exist but {other}/{name} does", UNPACK)
    return sorted(names[FRAMES_FOLDER] & names[MASKS_FOLDER], key=lambda name: (name != RESOLUTIONS[0], name))


def _plan_youtube(folder: Path, plan: TreePlan) -> None:
    meta_path = folder / META_FILE
    meta: Meta = {}
    try:
        meta = read_meta(meta_path)
        if not meta:
            plan.add(meta_path, "lists no video", UNPACK)
    except FileError as error:
        plan.add(error.path, error.problem, error.remedy)
        return
    except DataError as error:
        plan.add(meta_path, f"cannot be used ({str(error).rstrip('.')})", UNPACK)
        return
    frames, masks = folder / FRAMES_FOLDER, folder / MASKS_FOLDER
    split = folder.absolute().name  # "." has no name of its own
    full = find_all_frames(folder, split)
    for kind in dict.fromkeys((frames, masks, *((full,) if full else ()))):
        for video in list_folders(kind):
            if video.name not in meta:
                plan.add(video, f"is not in {META_FILE}", "remove the folder or replace meta.json")
    rule = MasksFor.LISTED if split == "train" else MasksFor.ENTRIES
    for name, objects in meta.items():
        if not objects:
            plan.add(meta_path, f"lists no object of {name}", UNPACK)
        # nothing says which frames there were between those that meta.json names, so gaps are not reported
        plan.videos.append(VideoPlan(name, frames / name, masks / name, rule, objects, gaps=False))
        if full is not None:
            plan.videos.append(VideoPlan(name, full / name, None, MasksFor.NONE, objects))


def _plan_folders(root: Path, plan: TreePlan) -> None:
    frames, masks = root / FRAMES_FOLDER, root / MASKS_FOLDER
    _masks_without_frames(frames, masks, plan)
    videos = list_folders(frames)
    if not videos:
        plan.add(frames, "holds no folder of frames", "put the frames of each video into a folder of its own")
    for folder in videos:
        plan.videos.append(VideoPlan(folder.name, folder, masks / folder.name, MasksFor.SOME))


def _masks_without_frames(frames: Path, masks: Path, plan: TreePlan) -> None:
    there = {folder.name for folder in list_folders(frames)}
    for folder in list_folders(masks):
        if folder.name not in there:
            plan.add(folder, f"holds masks, but {frames / folder.name} does not exist", UNPACK)
