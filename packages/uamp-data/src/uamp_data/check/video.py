"""What can be wrong with one video: its files, their numbers, their sizes, its objects."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from PIL import Image as Pictures

from uamp_data.errors import FileError
from uamp_data.layout import META_FILE
from uamp_data.masks import read_stored
from uamp_data.numbering import FrameKey, frame_key, list_pictures, twins
from uamp_data.pictures import natural_name, unreadable_picture
from uamp_data.sequence import object_ids
from uamp_data.youtube_meta import MetaObject

UNPACK = "unpack the data set again"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: The file or folder.
        problem: What is wrong with it, as a predicate: "is damaged".
        remedy: What to do: "replace it".
    """

    path: Path
    problem: str
    remedy: str


class MasksFor(enum.Enum):
    """Which frames of a video must have a mask."""

    ALL = "all"
    FIRST = "first"
    SOME = "some"
    """At least one; where they follow each other at equal distance, none may be left out."""

    LISTED = "listed"
    """Those in which meta.json lists an object."""

    ENTRIES = "entries"
    """Those in which meta.json lists an object for the first time."""

    NONE = "none"


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """What to look at for one video.

    Attributes:
        name: The video's.
        frames_folder: Its pictures.
        masks_folder: Its masks; None where another plan, for other pictures of the same video, covers them.
        masks_for: Which frames must have one.
        objects: What meta.json says, None in layouts without it.
        from_zero: Whether the first frame has the number 0.
        gaps: Whether a missing number means a missing frame.
        count_ids: Whether ids must run from 1 without a gap.
    """

    name: str
    frames_folder: Path
    masks_folder: Path | None
    masks_for: MasksFor
    objects: Mapping[int, MetaObject] | None = None
    from_zero: bool = False
    gaps: bool = True
    count_ids: bool = True


@dataclass(slots=True)
class VideoReport:
    """What was found.

    Attributes:
        frames: Number of pictures.
        masks: Number of masks.
        problems: All of them.
    """

    frames: int = 0
    masks: int = 0
    problems: list[Problem] = field(default_factory=list)


def inspect_video(plan: VideoPlan) -> VideoReport:
    """Looks at every file of a video; each picture and mask is decoded."""
    try:
        frames = list_pictures(plan.frames_folder)
        masks = list_pictures(plan.masks_folder) if plan.masks_folder is not None else []
    except FileError as error:
        return VideoReport(problems=[Problem(error.path, error.problem, error.remedy)])
    report = VideoReport(len(frames), len(masks))
    report.problems += _missing_files(plan, frames, masks)
    report.problems += _numbering(plan, frames, masks)
    sizes = _decode_frames(frames, report.problems)
    shown = _decode_masks(masks, frames, sizes, report.problems)
    if masks:
        unread = len(shown) < len(masks)
        if plan.objects is not None:
            report.problems += _objects_against_meta(plan.objects, masks, shown)
        elif shown and not unread:  # an object may be in what could not be read
            report.problems += _object_ids(plan, masks, shown)
    return report


def _missing_files(plan: VideoPlan, frames: Sequence[Path], masks: Sequence[Path]) -> Iterator[Problem]:
    for folder, found, kind in ((plan.frames_folder, frames, "frames"), (plan.masks_folder, masks, "masks")):
        if folder is None or found or (kind == "masks" and plan.masks_for is MasksFor.NONE):
            continue
        yield Problem(folder, f"holds no {kind}" if folder.is_dir() else "does not exist", UNPACK)
    if plan.objects is not None:
        yield from _listed_frames(plan, frames)
    if not frames or not masks or plan.masks_folder is None:
        return
    numbers = {frame_key(path): path for path in frames}
    masked = {frame_key(path) for path in masks}
    for path in masks:
        if frame_key(path) not in numbers:
            yield Problem(path, "belongs to no frame", f"add the frame to {plan.frames_folder.name} or remove the mask")
    for path in _frames_to_mask(plan, frames, masked):
        yield Problem(path, "has no mask", f"add {path.stem}.png to the masks of {plan.name} or {UNPACK}")


def _listed_frames(plan: VideoPlan, frames: Sequence[Path]) -> Iterator[Problem]:
    numbers = {frame_key(path) for path in frames}
    missing: dict[str, list[int]] = {}
    for object_id, value in (plan.objects or {}).items():
        for frame in value.frames:
            if frames and natural_name(frame) not in numbers:
                missing.setdefault(frame, []).append(object_id)
    for frame, ids in missing.items():
        path = plan.frames_folder / f"{frame}{frames[0].suffix}"
        yield Problem(path, f"does not exist but {META_FILE} lists it for {_objects(ids)}", UNPACK)


def _frames_to_mask(plan: VideoPlan, frames: Sequence[Path], masked: set[FrameKey]) -> list[Path]:
    """The frames that should have a mask and have none."""
    wanted: Sequence[Path] = ()
    if plan.masks_for is MasksFor.ALL:
        wanted = frames
    elif plan.masks_for is MasksFor.FIRST:
        wanted = frames[:1]
    elif plan.masks_for in (MasksFor.LISTED, MasksFor.ENTRIES):
        last = 1 if plan.masks_for is MasksFor.ENTRIES else None
        values = (plan.objects or {}).values()
        keys = {key for value in values for key in sorted(map(natural_name, value.frames))[:last]}
        wanted = [path for path in frames if frame_key(path) in keys]
    elif plan.masks_for is MasksFor.SOME:
        there = [index for index, path in enumerate(frames) if frame_key(path) in masked]
        step = _usual_step(there)
        if step is not None:
            wanted = frames[there[0] : len(frames) if step == 1 else there[-1] + 1 : step]
    return [path for path in wanted if frame_key(path) not in masked]


def _numbering(plan: VideoPlan, frames: Sequence[Path], masks: Sequence[Path]) -> Iterator[Problem]:
    for first, second in (*twins(frames), *twins(masks)):
        yield Problem(second, f"has the same number as {first.name}", "remove one of the two")
    numbers = sorted({number for number in map(_number, frames) if number is not None})
    if not numbers:
        return
    width = len(frames[0].stem)
    if plan.from_zero and numbers[0] != 0:
        yield Problem(plan.frames_folder, f"begins with frame {frames[0].stem} instead of {0:0{width}d}", UNPACK)
    step = _usual_step(numbers)
    if not plan.gaps or step is None:
        return
    for before, after in pairwise(numbers):
        if after - before > step:
            first_gone, last_gone = before + step, before + (after - before - 1) // step * step
            one = first_gone == last_gone
            gone = f"{first_gone:0{width}d}" if one else f"{first_gone:0{width}d} to {last_gone:0{width}d}"
            yield Problem(plan.frames_folder, f"lacks frame{'' if one else 's'} {gone}", UNPACK)


def _number(path: Path) -> int | None:
    """The last number in a file's name."""
    return next((int(value) for _, value in reversed(frame_key(path)) if isinstance(value, int)), None)


def _usual_step(numbers: Sequence[int]) -> int | None:
    """The most frequent distance of neighbours, the smaller one at a tie; None for fewer than three numbers."""
    if len(numbers) < 3:
        return None
    counts = Counter(after - before for before, after in pairwise(numbers))
    return min(counts, key=lambda step: (-counts[step], step))


def _decode_frames(frames: Sequence[Path], problems: list[Problem]) -> dict[FrameKey, tuple[int, int]]:
    """Width and height of each readable frame by its number."""
    sizes: dict[FrameKey, tuple[int, int]] = {}
    for path in frames:
        try:
            sizes[frame_key(path)] = _decoded_size(path)
        except FileError as error:
            problems.append(Problem(error.path, error.problem, error.remedy))
    if not sizes:
        return sizes
    usual = Counter(sizes.values()).most_common(1)[0][0]
    for path in frames:
        size = sizes.get(frame_key(path), usual)
        if size != usual:
            found = f"is {size[0]}×{size[1]} pixels but most frames of the video are {usual[0]}×{usual[1]}"
            problems.append(Problem(path, found, "replace it"))
    return sizes


def _decoded_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture after decoding it, by which a cut file is noticed."""
    try:
        with Pictures.open(path) as picture:
            size = picture.size
            # a JPEG decoded at an eighth of its size is read to its end all the same, several times faster
            picture.draft(None, (max(1, size[0] // 8), max(1, size[1] // 8)))
            picture.load()
            return size
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise unreadable_picture(path, error) from error


def _decode_masks(
    masks: Sequence[Path], frames: Sequence[Path], sizes: Mapping[FrameKey, tuple[int, int]], problems: list[Problem]
) -> dict[Path, tuple[int, ...]]:
    """The objects in each readable mask; the first that shows any decides what black and white mean in all."""
    names = {frame_key(path): path.name for path in frames}
    shown: dict[Path, tuple[int, ...]] = {}
    numbered: bool | None = None
    for path in masks:
        try:
            stored = read_stored(path)
        except FileError as error:
            problems.append(Problem(error.path, error.problem, error.remedy))
            continue
        numbered = stored.numbered if numbered is None else numbered
        shown[path] = object_ids(stored.as_ids(numbered=numbered is True))
        key = frame_key(path)
        height, width = stored.ids.shape
        if sizes.get(key, (width, height)) != (width, height):
            found = f"is {width}×{height} pixels but its frame {names[key]} is {sizes[key][0]}×{sizes[key][1]}"
            problems.append(Problem(path, found, "replace it by one of the frame's size"))
    return shown


def _object_ids(plan: VideoPlan, masks: Sequence[Path], shown: Mapping[Path, tuple[int, ...]]) -> Iterator[Problem]:
    folder = masks[0].parent
    ids = {value for values in shown.values() for value in values}
    if not ids:
        yield Problem(folder, "shows no object in any mask", "replace the masks or leave the video out")
        return
    if plan.masks_for in (MasksFor.ALL, MasksFor.FIRST) and not shown[masks[0]]:
        yield Problem(masks[0], "is the first mask but shows no object", "replace it")
    never = sorted(set(range(1, max(ids) + 1)) - ids)
    if plan.count_ids and never:
        found = f"never shows {_objects(never)} although there is an object {max(ids)}"
        yield Problem(folder, found, "number the objects from 1 without a gap")


def _objects_against_meta(
    objects: Mapping[int, MetaObject], masks: Sequence[Path], shown: Mapping[Path, tuple[int, ...]]
) -> Iterator[Problem]:
    folder = masks[0].parent
    unlisted: dict[int, Path] = {}
    for path, ids in shown.items():
        for value in ids:
            if value not in objects:
                unlisted.setdefault(value, path)
    for value, path in sorted(unlisted.items()):
        yield Problem(
            path, f"shows object {value}, which {META_FILE} does not list for the video", "replace one of them"
        )
    by_number = {frame_key(path): path for path in masks}
    everywhere = {value for values in shown.values() for value in values}
    for object_id, listed in objects.items():
        first = by_number.get(min(map(natural_name, listed.frames)))
        if object_id not in everywhere:
            if len(shown) == len(masks):
                yield Problem(folder, f"never shows object {object_id}, which {META_FILE} lists", "replace one of them")
        elif first is not None and first in shown and object_id not in shown[first]:
            found = f"does not show object {object_id}, which {META_FILE} lists from this frame on"
            yield Problem(first, found, "replace one of them")


def _objects(ids: Sequence[int]) -> str:
    return f"object{'' if len(ids) == 1 else 's'} {', '.join(map(str, ids))}"
