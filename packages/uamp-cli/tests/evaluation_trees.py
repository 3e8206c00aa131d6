"""Small benchmarks on disk: bright blocks that move over a gradient, and their masks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from uamp_data.masks import write_mask

Ids = npt.NDArray[np.uint8]

SIZE = (48, 64)
FRAMES = 5
_COLOURS = np.array([(0, 0, 0), (250, 240, 90), (70, 230, 250), (250, 90, 230)], np.uint8)


def ids_at(frame: int, objects: Iterable[int], size: tuple[int, int] = SIZE) -> Ids:
    """A block for each object, H×W."""
    height, width = size
    ids = np.zeros(size, np.uint8)
    for number in objects:
        top, left = height // 6 + height // 8 * (number - 1), width // 12 + width // 3 * (number - 1) + frame
        ids[top : top + height // 3, left : left + width // 5] = number
    return ids


def save_picture(path: Path, ids: Ids) -> None:
    """Save what a camera would see of these objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[: ids.shape[0], : ids.shape[1]]
    picture = np.stack([rows * 3, columns * 2, rows * 0 + 60], axis=-1).astype(np.uint8)
    picture[ids > 0] = _COLOURS[ids[ids > 0]]
    Pictures.fromarray(picture).save(path, quality=95)


def make_davis(
    root: Path, sequences: Mapping[str, int], *, split: str = "val", annotated: Iterable[int] = range(FRAMES)
) -> Path:
    """A DAVIS tree; `sequences` says how many objects each has."""
    for name, objects in sequences.items():
        make_video(root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name, objects, annotated)
    listing = root / "ImageSets" / "2017" / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in sequences))
    return root


def make_video(frames: Path, masks: Path, objects: int, annotated: Iterable[int] = range(FRAMES)) -> None:
    """Pictures, and masks of the annotated ones; object 3 appears in the third frame."""
    for frame in range(FRAMES):
        ids = ids_at(frame, [number for number in range(1, objects + 1) if number < 3 or frame >= 2])
        save_picture(frames / f"{frame:05d}.jpg", ids)
        if frame in set(annotated):
            write_mask(masks / f"{frame:05d}.png", ids)


def make_youtube(root: Path, *, truth: bool) -> Path:
    """The split `valid`, all frames beside it, and the meta.json of `train`, which knows dogs.

    `late` has a dog from 00000 and a yak from 00003 in frames 00000 to 00006; `wide` has a yak from 00001 in frames
    00000 to 00004. Every third frame is listed; without `truth` only those in which an object enters are annotated.
    """
    videos: dict[str, tuple[tuple[int, int], int, Mapping[int, tuple[str, list[int]]]]] = {
        "late": (SIZE, 7, {1: ("dog", [0, 3, 6]), 2: ("yak", [3, 6])}),
        "wide": ((40, 80), 5, {1: ("yak", [1, 4])}),
    }
    folder = root / "valid"
    meta = {}
    for name, (size, length, objects) in videos.items():
        listed = sorted({frame for _, frames in objects.values() for frame in frames})
        entries = {frames[0] for _, frames in objects.values()}
        for frame in range(length):
            ids = ids_at(frame, [number for number, (_, frames) in objects.items() if frames[0] <= frame], size)
            save_picture(root / "valid_all_frames" / "JPEGImages" / name / f"{frame:05d}.jpg", ids)
            if frame in listed:
                save_picture(folder / "JPEGImages" / name / f"{frame:05d}.jpg", ids)
            if frame in (listed if truth else entries):
                write_mask(folder / "Annotations" / name / f"{frame:05d}.png", ids)
        meta[name] = {
            "objects": {
                str(number): {"category": category, "frames": [f"{frame:05d}" for frame in frames]}
                for number, (category, frames) in objects.items()
            }
        }
    (folder / "meta.json").write_text(json.dumps({"videos": meta}))
    (root / "train").mkdir()
    known = {"a": {"objects": {"1": {"category": "dog", "frames": ["00000"]}}}}
    (root / "train" / "meta.json").write_text(json.dumps({"videos": known}))
    return root
