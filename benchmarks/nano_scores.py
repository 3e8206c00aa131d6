"""How well a model tracks: J and F on generated clips it has never seen, and on real DAVIS-2016 sequences.

    uv run python benchmarks/nano_scores.py --davis DIR            # all of it
    uv run python benchmarks/nano_scores.py --davis DIR --split val --clips 0

Generated clips start from the true mask, its box, and one point inside; real sequences from the true first mask.
Two baselines stand beside the real ones: copying the first mask, and moving it along dense optical flow (OpenCV's DIS).
First and last frames do not count, as in the semi-supervised DAVIS protocol; the column "first J" is of the prompted
frame alone, also of the first frames of the real training sequences. It asserts nothing.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from uamp_data import read_mask
from uamp_data.pictures import find_pictures, read_picture
from uamp_data.synthetic import generate_clip
from uamp_eval.metrics import clip_scores, jaccard
from uamp_model import Prompt, VideoTracker, load_tracker

Frames = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint8]
FIRST = "first J"
PROMPTS = ("mask", "box", "point")
FIRST_SEED = 9_000_000
"""Generated clips start at this seed, far from those that training draws."""


@dataclass(frozen=True, slots=True)
class Which:
    """Which tracker: model, weights other than its own, memory, and an input side other than its own."""

    model: str
    checkpoint: Path | None
    memory: str
    image_size: int | None

    def load(self) -> VideoTracker:
        """The tracker."""
        return load_tracker(self.model, checkpoint=self.checkpoint, memory=self.memory, image_size=self.image_size)


def prompt_of(mask: npt.NDArray[np.bool_], kind: str) -> Prompt:
    """The true mask, its tight box, or the point farthest from its outline."""
    if kind == "mask":
        return Prompt.mask(mask)
    if kind == "box":
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return Prompt.box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Prompt.points([[x + 0.5, y + 0.5]])


def track_clip(tracker: VideoTracker, frames: Frames, truth: Ids, kind: str) -> Ids:
    """Track all objects of the first frame; returns T×H×W object ids, overlaps going to the higher logit."""
    ids = [int(i) for i in np.unique(truth[0]) if i not in (0, 255)]
    session = tracker.start()
    result = session.step(frames[0], {i: prompt_of(truth[0] == i, kind) for i in ids})
    merged = [_merge(result.logits.cpu().numpy(), ids)]
    for frame in frames[1:]:
        merged.append(_merge(session.step(frame).logits.cpu().numpy(), ids))
    return np.stack(merged)


def _merge(logits: npt.NDArray[np.float32], ids: list[int]) -> Ids:
    best = logits.argmax(axis=0)
    return np.where(logits.max(axis=0) > 0, np.asarray(ids, np.uint8)[best], 0).astype(np.uint8)


def copy_first(frames: Frames, truth: Ids) -> Ids:
    """Baseline: nothing moves."""
    return np.repeat(truth[:1], len(frames), axis=0)


def follow_flow(frames: Frames, truth: Ids) -> Ids:
    """Baseline: each frame's mask is the last one, fetched along dense flow from the new frame back to the old."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = truth.shape[1:]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    soft = (truth[0] > 0).astype(np.float32)
    masks = [soft > 0.5]
    for before, now in pairwise(grey):
        back = flow.calc(now, before, np.zeros((height, width, 2), np.float32))
        soft = cv2.remap(soft, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR)
        masks.append(soft > 0.5)
    return np.stack(masks).astype(np.uint8)


def real_sequences(root: Path, split: str) -> Iterator[tuple[str, Frames, Ids]]:
    """Name, frames and binary masks of the sequences of a DAVIS-2016 split that are there, at 480p."""
    for name in (root / "ImageSets" / "2016" / f"{split}.txt").read_text().split():
        pictures = find_pictures(root / "JPEGImages" / "480p" / name)
        masks = find_pictures(root / "Annotations" / "480p" / name)
        yield (
            name,
            np.stack([read_picture(path) for path in pictures]),
            np.stack([(read_mask(path) > 0).astype(np.uint8) for path in masks]),
        )


def score_generated(which: Which, clips: int, frames: int, workers: int) -> dict[str, dict[str, float]]:
    """Mean scores over generated clips, by kind of prompt."""
    score = partial(_score_clip, which, frames)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        scores = list(track(pool.map(score, range(clips)), description="generated clips", total=clips))
    return {kind: _mean([by_kind[kind] for by_kind in scores]) for kind in PROMPTS}


def _score_clip(which: Which, frames: int, number: int) -> dict[str, dict[str, float]]:
    """Scores of one clip, by kind of prompt."""
    tracker, clip = _own_tracker(which), generate_clip(FIRST_SEED + number, num_frames=frames)
    found = {kind: track_clip(tracker, clip.frames, clip.masks, kind) for kind in PROMPTS}
    return {
        kind: {**clip_scores(ids, clip.masks), FIRST: first_jaccard(ids[0], clip.masks[0])}
        for kind, ids in found.items()
    }


@cache
def _own_tracker(which: Which) -> VideoTracker:
    """The tracker of a worker, which has one thread to itself."""
    torch.set_num_threads(1)
    return which.load()


def first_jaccard(found: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> float:
    """Mean J of the objects on one frame."""
    ids = [i for i in np.unique(truth) if i not in (0, 255)]
    return float(np.mean([jaccard(found == i, truth == i) for i in ids]))


def score_first_frames(tracker: VideoTracker, root: Path) -> dict[str, float]:
    """Mean J on the first frames of the real training sequences, from a box and from one point."""
    scores: dict[str, list[float]] = {"box": [], "point": []}
    for _, frames, truth in real_sequences(root, "train"):
        for kind, values in scores.items():
            values.append(first_jaccard(track_clip(tracker, frames[:1], truth[:1], kind)[0], truth[0]))
    return {kind: float(np.mean(values)) for kind, values in scores.items()}


def score_real(tracker: VideoTracker, root: Path, split: str) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by sequence and method: the tracker from the first mask, and the two baselines."""
    methods: dict[str, Callable[[Frames, Ids], Ids]] = {
        tracker.name: lambda frames, truth: track_clip(tracker, frames, truth, "mask"),
        "flow": follow_flow,
        "copy": copy_first,
    }
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for name, frames, truth in track(list(real_sequences(root, split)), description=f"DAVIS-2016 {split}"):
        scores[name] = {method: clip_scores(run(frames, truth), truth) for method, run in methods.items()}
    scores["mean"] = {method: _mean([row[method] for row in scores.values()]) for method in methods}
    return scores


def _mean(scores: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([score[key] for score in scores])) for key in scores[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--checkpoint", type=Path, help="weights other than the bundled ones")
    parser.add_argument("--memory", default="sam2")
    parser.add_argument("--image-size", type=int, metavar="S", help="another input side than the model's own")
    parser.add_argument("--workers", type=int, default=2, help="processes that track generated clips")
    parser.add_argument("--clips", type=int, default=60, help="generated clips; 0: none")
    parser.add_argument("--frames", type=int, default=48, help="frames of a generated clip")
    parser.add_argument("--davis", type=Path, help="root of DAVIS-2016; without it only generated clips are scored")
    parser.add_argument("--split", default="val")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    console = Console()
    which = Which(options.model, options.checkpoint, options.memory, options.image_size)
    tracker = which.load()
    began = time.perf_counter()
    report: dict[str, object] = {}
    if options.clips:
        generated = score_generated(which, options.clips, options.frames, options.workers)
        report["generated"] = generated
        table = Table("prompt", "J", "F", FIRST, title=f"{options.clips} generated clips of {options.frames} frames")
        for kind, row in generated.items():
            table.add_row(kind, *(f"{row[key]:.3f}" for key in ("J-Mean", "F-Mean", FIRST)))
        console.print(table)
    if options.davis:
        real = score_real(tracker, options.davis, options.split)
        report[options.split] = real
        methods = list(real["mean"])
        table = Table("sequence", *(f"{m} {k}" for m in methods for k in "JF"), title=f"DAVIS-2016 {options.split}")
        for name, by_method in real.items():
            table.add_row(name, *(f"{by_method[m][f'{k}-Mean']:.3f}" for m in methods for k in "JF"))
        console.print(table)
        report[FIRST] = found = score_first_frames(tracker, options.davis)
        console.print(
            f"J on the first frames of the training sequences: box {found['box']:.3f}, point {found['point']:.3f}"
        )
    took = time.perf_counter() - began
    console.print(f"{tracker.name} at {tracker.image_size} px, {tracker.memory} memory, {tracker.device}, {took:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
