"""Small data sets on disk, written with Pillow alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from uamp_data.masks import davis_palette

HEIGHT, WIDTH = 24, 32


def label_map(ids: Iterable[int], size: tuple[int, int] = (HEIGHT, WIDTH)) -> npt.NDArray[np.uint8]:
    """A 4×4 square for each object."""
    labels = np.zeros(size, np.uint8)
    for object_id in ids:
        left = 5 * (object_id - 1)
        labels[2:6, left : left + 4] = object_id
    return labels


def save_frame(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """A JPEG with some texture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[: size[0], : size[1]]
    Image.fromarray(np.stack([rows * 8, columns * 7, rows + columns], axis=-1).astype(np.uint8)).save(path)


def save_mask(path: Path, ids: Iterable[int], size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """A palette PNG in the colours of DAVIS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(label_map(ids, size))
    picture.putpalette(davis_palette().tobytes())
    picture.save(path)


def damage_frames(tree: Path, sequence: str, frames: int = 4) -> None:
    """Leave no picture in the files of a DAVIS sequence's frames."""
    for number in range(frames):
        (tree / "JPEGImages" / "480p" / sequence / f"{number:05d}.jpg").write_bytes(b"no picture")


def make_davis(
    root: Path,
    sequences: Mapping[str, Mapping[int, Iterable[int]]],
    *,
    year: int = 2017,
    split: str = "val",
    frames: int = 4,
    resolution: str = "480p",
) -> Path:
    """A DAVIS tree; `sequences` gives the ids in each annotated frame."""
    for name, masks in sequences.items():
        for index in range(frames):
            save_frame(root / "JPEGImages" / resolution / name / f"{index:05d}.jpg")
        for index, ids in masks.items():
            save_mask(root / "Annotations" / resolution / name / f"{index:05d}.png", ids)
    listing = root / "ImageSets" / str(year) / f"{split}.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in sequences))
    return root


def every_frame(*ids: int, frames: int = 4) -> dict[int, tuple[int, ...]]:
    """The same objects in every frame."""
    return dict.fromkeys(range(frames), ids)


def make_youtube(root: Path, *, split: str = "valid", all_frames: bool = False) -> Path:
    """Two videos: one with an object that enters later and a third after it, one small with a single object."""
    folder = root / split
    video = {
        "1": {"category": "dog", "frames": ["00000", "00005", "00010"]},
        "2": {"category": "zebra", "frames": ["00005", "00010"]},
        "4": {"frames": ["00010"]},
    }
    other = {"1": {"category": "cat", "frames": ["00003", "00008"]}}
    for frame in (0, 5, 10, 15):
        save_frame(folder / "JPEGImages" / "video" / f"{frame:05d}.jpg")
    for frame, ids in ((0, [1]), (5, [1, 2]), (10, [4])):
        save_mask(folder / "Annotations" / "video" / f"{frame:05d}.png", ids)
    for frame in (3, 8):
        save_frame(folder / "JPEGImages" / "other" / f"{frame:05d}.jpg", (20, 40))
    save_mask(folder / "Annotations" / "other" / "00003.png", [1], (20, 40))
    content = {"videos": {"video": {"objects": video}, "other": {"objects": other}}}
    (folder / "meta.json").write_text(json.dumps(content))
    if all_frames:
        for name, numbers, size in (("video", range(16), (HEIGHT, WIDTH)), ("other", range(9), (20, 40))):
            for frame in numbers:
                save_frame(root / f"{split}_all_frames" / "JPEGImages" / name / f"{frame:05d}.jpg", size)
    return root
