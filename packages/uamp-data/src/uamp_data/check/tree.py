"""Looking at a whole data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from uamp_data.check.plans import plan_tree
from uamp_data.check.video import Problem, inspect_video
from uamp_data.errors import DataError
from uamp_data.layout import FRAMES_FOLDER, LISTS_FOLDER, MASKS_FOLDER, META_FILE, Layout, find_layout, require_root
from uamp_data.numbering import list_folders, list_pictures

_MOST_THREADS = 16


@dataclass(frozen=True, slots=True)
class TreeReport:
    """What a tree holds and what is wrong with it.

    Attributes:
        root: The tree.
        layout: The data set it is laid out as.
        videos: Number of videos.
        frames: Number of pictures, all resolutions together.
        masks: Number of masks.
        problems: Everything that is wrong; lists first, then video by video.
    """

    root: Path
    layout: Layout
    videos: int
    frames: int
    masks: int
    problems: tuple[Problem, ...]


def check_tree(root: str | Path) -> list[Problem]:
    """Lists everything that is wrong with a data set; see `inspect_tree`."""
    return list(inspect_tree(root).problems)


def inspect_tree(
    root: str | Path,
    *,
    on_begin: Callable[[int], None] | None = None,
    on_done: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> TreeReport:
    """Looks at every list and decodes every picture and mask of a data set.

    Args:
        root: A DAVIS or YouTube-VOS tree, or one with folders of frames and masks in `JPEGImages` and `Annotations`.
        on_begin: Told the number of frames.
        on_done: Told after each video how many frames it had, in this thread.
        workers: Number of threads, one per core if None; the report does not depend on it.

    Raises:
        DataError: There is no such folder, or its layout is none of these.
    """
    root = Path(root)
    require_root(root)
    layout = find_layout(root)
    if layout is None:
        raise _unknown(root)
    plan = plan_tree(root, layout)
    if on_begin is not None:
        on_begin(sum(_count_frames(video.frames_folder) for video in plan.videos))
    problems, frames, masks = list(plan.problems), 0, 0
    pool = ThreadPoolExecutor(workers or min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        # threads, since decoders let go of the interpreter's lock
        for future in [pool.submit(inspect_video, video) for video in plan.videos]:
            report = future.result()
            problems += report.problems
            frames, masks = frames + report.frames, masks + report.masks
            if on_done is not None:
                on_done(report.frames)
    finally:
        pool.shutdown(cancel_futures=True)
    videos = len({(video.frames_folder.parent, video.name) for video in plan.videos})
    return TreeReport(root, layout, videos, frames, masks, tuple(problems))


def _count_frames(folder: Path) -> int:
    try:
        return len(list_pictures(folder))
    except DataError:  # the inspection reports it
        return 0


def _unknown(root: Path) -> DataError:
    inside = [folder for folder in list_folders(root) if find_layout(folder) is not None]
    if inside:
        return DataError(f"{root} is no data set but {inside[0]} is: name one data set.")
    return DataError(
        f"{root} is no data set that is known: name the folder that holds {FRAMES_FOLDER} and {MASKS_FOLDER}, with "
        f"{LISTS_FOLDER} for DAVIS or {META_FILE} for YouTube-VOS."
    )
