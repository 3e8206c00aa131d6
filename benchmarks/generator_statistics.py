"""Generated clips beside real video: is the generator as hard as the world, and not harder?

    uv run python benchmarks/generator_statistics.py --davis DIR            # DAVIS-2016 training sequences
    uv run python benchmarks/generator_statistics.py --clips 40 --family fast

Everything is measured on frames of 256×256 pixels at the video's own rate, at most 48 of them, object by object: the
percentiles of each figure over the objects of the real sequences, of generated clips of 48 frames, and of windows of 16
frames as a pool holds them. Real sequences are the training split alone: nothing here may be tuned on what is scored.
It asserts nothing.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table
from uamp_data import read_mask
from uamp_data.pictures import find_pictures, read_picture
from uamp_data.synthetic import FAMILIES, GENERATOR_VERSION, generate_clip

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Flow = npt.NDArray[np.float32]
Row = dict[str, float]

SIDE = 256
LONGEST = 48
FIRST_SEED = 8_000_000
PERCENTILES = (5, 25, 50, 75, 95)
LAGS = (1, 4, 16)
_GONE = 0.0005
"""An object that covers less of the frame counts as out of view."""
_RING = 15
"""Pixels around an object that count as its surroundings."""


@dataclass(slots=True)
class Clip:
    """Frames T×256×256×3 and object ids T×256×256."""

    frames: Image
    ids: Image


def real_clips(root: Path) -> Iterator[Clip]:
    """The real training sequences, every object as one."""
    for name in (root / "ImageSets" / "2016" / "train.txt").read_text().split():
        pictures = find_pictures(root / "JPEGImages" / "480p" / name)[:LONGEST]
        masks = find_pictures(root / "Annotations" / "480p" / name)[:LONGEST]
        small = [cv2.resize(read_picture(path), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for path in pictures]
        ids = [
            cv2.resize((read_mask(path) > 0).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST_EXACT)
            for path in masks
        ]
        yield Clip(np.stack(small).astype(np.uint8), np.stack(ids).astype(np.uint8))


def generated_clips(count: int, frames: int, family: str, window: int | None) -> Iterator[Clip]:
    """Generated clips, whole or cut to a window as for a pool."""
    for number in range(count):
        clip = generate_clip(FIRST_SEED + number, num_frames=frames, family=family, window=window)
        yield Clip(clip.frames, clip.masks)


def overlap(first: Mask, second: Mask) -> float:
    """Intersection over union; two empty masks agree."""
    union = int((first | second).sum())
    return float((first & second).sum()) / union if union else 1.0


def backward_flow(frames: Image) -> list[Flow]:
    """Dense DIS flow from each frame back to the one before it."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    empty = np.zeros((SIDE, SIDE, 2), np.float32)
    return [np.asarray(method.calc(now, before, empty.copy()), np.float32) for before, now in pairwise(grey)]


def follow(mask: Mask, flows: list[Flow]) -> list[Mask]:
    """Carry a mask along the flow, frame by frame."""
    x, y = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32))
    soft = mask.astype(np.float32)
    masks = [mask]
    for flow in flows:
        soft = cv2.remap(soft, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR).astype(np.float32, copy=False)
        masks.append(soft > 0.5)
    return masks


def look(frame: Image, mask: Mask) -> Row:
    """How an object looks against what is around it, on one frame.

    Contrast is the distance of mean Lab colours between the object and a ring around it; likeness is how far their
    colour histograms overlap, in [0, 1]; busyness is the mean gradient in grey levels per pixel.
    """
    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gradient = np.hypot(cv2.Sobel(grey, -1, 1, 0, scale=0.125), cv2.Sobel(grey, -1, 0, 1, scale=0.125))
    solid = mask.astype(np.uint8)
    ring = (cv2.dilate(solid, np.ones((2 * _RING + 1,) * 2, np.uint8)) > 0) & (
        cv2.dilate(solid, np.ones((5, 5), np.uint8)) == 0
    )
    inner = cv2.erode(solid, np.ones((3, 3), np.uint8)) > 0
    if not ring.any() or not inner.any():
        return {}
    bins = [cv2.calcHist([frame], [0, 1, 2], m.astype(np.uint8), [6] * 3, [0, 256] * 3) for m in (inner, ring)]
    bins = [cv2.GaussianBlur(b / b.sum(), (0, 0), 0.5) for b in bins]
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    perimeter = sum(cv2.arcLength(contour, closed=True) for contour in contours)
    return {
        "outline roughness": perimeter**2 / float(mask.sum()),
        "contrast to surroundings": float(np.linalg.norm(lab[inner].mean(0) - lab[ring].mean(0))),
        "likeness to surroundings": float(np.minimum(bins[0], bins[1]).sum()),
        "colour spread inside": float(np.linalg.norm(lab[inner].std(0))),
        "colour spread outside": float(np.linalg.norm(lab[~mask].std(0))),
        "busyness inside": float(gradient[inner].mean()),
        "busyness outside": float(gradient[~mask].mean()),
    }


def measure(clip: Clip) -> list[Row]:
    """All figures of each object of a clip that is there on its first frame."""
    flows = backward_flow(clip.frames)
    rows = []
    for label in np.unique(clip.ids[0]):
        if label == 0:
            continue
        masks = clip.ids == label
        area = masks.mean((1, 2))
        if area[0] < _GONE:
            continue
        row = {"area": float(area[0]), **look(clip.frames[0], masks[0])}
        for lag in LAGS:
            seen = [t for t in range(len(masks) - lag) if area[t] >= _GONE]
            if seen:
                row[f"IoU {lag} later"] = float(np.mean([overlap(masks[t], masks[t + lag]) for t in seen]))
        row["frames out of view"] = float((area < _GONE).mean())
        last = masks[1:-1]
        row["copy J"] = float(np.mean([overlap(masks[0], mask) for mask in last]))
        row["flow J"] = float(
            np.mean([overlap(a, b) for a, b in zip(follow(masks[0], flows)[1:-1], last, strict=True)])
        )
        behind = [np.hypot(*f[clip.ids[t + 1] == 0].mean(0)) for t, f in enumerate(flows)]
        row["background motion"] = float(np.mean(behind))
        edge = masks.copy()
        edge[:, 1:-1, 1:-1] = False
        row["touches the border"] = float(edge.any((1, 2)).mean())
        rows.append(row)
    return rows


def tabulate(console: Console, columns: dict[str, list[Row]]) -> dict[str, dict[str, list[float]]]:
    """Print percentiles, and return them."""
    table = Table("figure", *columns, title=f"percentiles {'/'.join(map(str, PERCENTILES))} [mean]")
    report: dict[str, dict[str, list[float]]] = {}
    names = list(dict.fromkeys(key for rows in columns.values() for row in rows for key in row))
    for name in names:
        cells = []
        for source, rows in columns.items():
            values = [row[name] for row in rows if name in row]
            if not values:
                cells.append("")
                continue
            points = [float(v) for v in np.percentile(values, PERCENTILES)]
            report.setdefault(name, {})[source] = points
            digits = 3 if abs(points[-1]) < 3 else 1
            cells.append(" ".join(f"{v:.{digits}f}" for v in points) + f" [{np.mean(values):.{digits}f}]")
        table.add_row(name, *cells)
    console.print(table)
    return report


def collect(clips: Iterable[Clip], title: str) -> list[Row]:
    """Measure clip after clip."""
    return [row for clip in track(clips, description=title) for row in measure(clip)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--davis", type=Path, help="root of DAVIS-2016; without it only generated clips are measured")
    parser.add_argument("--clips", type=int, default=60, help="generated clips of each length; 0: none")
    parser.add_argument("--family", default="mixed", choices=FAMILIES)
    parser.add_argument("--window", type=int, default=16, help="frames of a pool's window; 0: no windows")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    console = Console(width=200)
    columns: dict[str, list[Row]] = {}
    if options.davis:
        columns["real training"] = collect(real_clips(options.davis), "real")
    began = time.perf_counter()
    if options.clips:
        whole = list(track(generated_clips(options.clips, LONGEST, options.family, None), "clips", options.clips))
        spent = (time.perf_counter() - began) / (options.clips * LONGEST)
        columns[f"{options.family}, {LONGEST} frames"] = collect(whole, "measured")
        if options.window:
            cut = generated_clips(options.clips, LONGEST, options.family, options.window)
            columns[f"{options.family}, {options.window} of {LONGEST}"] = collect(cut, "windows")
        console.print(f"generator version {GENERATOR_VERSION}: {1000 * spent:.1f} ms a frame")
    report = tabulate(console, columns)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
