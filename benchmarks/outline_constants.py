"""The constants of the outlines' filter side by side: J and F of nano's masks, tracked once, filtered in several ways.

    uv run python benchmarks/outline_constants.py --clips 2 --every 4
    uv run python benchmarks/outline_constants.py --davis DIR --except bmx-bumps kite-walk --every 8

A variant is side:radius:smoothness, as `uamp_model/outlines.py` has them. Memory is SAM 2's. Means over sequences, with
the gain over masks as they are. Search on training sequences and on seeds below 9,000,000. It asserts nothing.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from memory_scores import SEARCH_SEED, generated
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from uamp_data.davis import DavisDataset
from uamp_data.synthetic import FAMILIES
from uamp_eval.metrics import score_frame
from uamp_eval.protocols import merge_logits, run_sequence
from uamp_eval.sequences import VideoSequence
from uamp_model import VideoTracker, load_tracker, outlines

VARIANTS = ("64:3:3e-4", "96:3:3e-4", "96:5:1e-4", "96:5:3e-4", "96:5:1e-3", "96:7:3e-4", "128:6:3e-4", "128:7:3e-4")
Filter = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Tracked:
    """One frame: what was seen, what is true, and N×H×W logits of the objects."""

    sequence: str
    picture: Tensor
    truth: npt.NDArray[np.uint8]
    ids: tuple[int, ...]
    logits: Tensor


def follow(tracker: VideoTracker, sequence: VideoSequence, every: int) -> Iterator[Tracked]:
    """Every n-th frame from the third on, the last left out; objects are those of frame 0."""
    last = len(sequence.frame_names) - 1
    for frame in run_sequence({"sam2": tracker}, sequence):
        number, result = frame.number, frame.results["sam2"]
        if 0 < number < last and number % every == 2 % every:
            picture = torch.tensor(sequence.image(number))
            yield Tracked(sequence.name, picture, sequence.annotation(number), result.object_ids, result.logits.half())


def score(frames: Sequence[Tracked], change: Filter | None) -> npt.NDArray[np.float64]:
    """Mean J and F in percent over sequences."""
    found = defaultdict(list)
    for one in frames:
        logits = one.logits.float()
        labels = merge_logits(logits if change is None else change(logits, one.picture), one.ids).numpy()
        found[one.sequence].append(np.mean(score_frame(labels, one.truth, sorted(one.ids)), axis=1))
    return np.asarray(100 * np.mean([np.mean(values, axis=0) for values in found.values()], axis=0))


def use(variant: str) -> None:
    """Give the filter other constants."""
    side, radius, smoothness = variant.split(":")
    outlines.SIDE, outlines.RADIUS, outlines.SMOOTHNESS = int(side), int(radius), float(smoothness)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--davis", type=Path, help="root of DAVIS-2016, of which training sequences are taken")
    parser.add_argument(
        "--except", dest="left_out", nargs="*", default=[], metavar="NAME", help="sequences to leave out"
    )
    parser.add_argument("--clips", type=int, default=0, help="generated clips of 48 frames of each family")
    parser.add_argument("--seed", type=int, default=SEARCH_SEED)
    parser.add_argument("--every", type=int, default=4, help="judge every n-th frame")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    options = parser.parse_args()
    if not (options.davis or options.clips > 0):
        parser.error("give --davis, --clips or both: there is nothing to measure.")

    tracker = load_tracker(options.model, memory="sam2")
    videos: list[VideoSequence] = []
    if options.davis:
        real = DavisDataset(options.davis, year=2016, split="train")
        if unknown := set(options.left_out) - {real[i].name for i in range(len(real))}:
            parser.error(f"there is no training sequence {', '.join(sorted(unknown))} to leave out.")
        videos += [video for video in (real[i] for i in range(len(real))) if video.name not in options.left_out]
    videos += [clip for _, clip in generated(options.clips, 48, options.seed, FAMILIES)]
    frames = [frame for video in track(videos, "sequences") for frame in follow(tracker, video, options.every)]
    plain = score(frames, None)
    table = Table(
        "side", "radius", "smoothness", "J", "F", "J&F", title=f"{len(videos)} sequences, {len(frames)} frames"
    )
    table.add_row("masks as they are", "", "", *(f"{value:.2f}" for value in (*plain, plain.mean())))
    for variant in track(options.variants, "variants"):
        use(variant)
        gain = score(frames, outlines.follow_edges) - plain
        table.add_row(*variant.split(":"), *(f"{value:+.2f}" for value in (*gain, gain.mean())))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
