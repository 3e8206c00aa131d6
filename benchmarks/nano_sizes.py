"""What the input size is worth: J and F of the same weights at several input sides.

    uv run python benchmarks/nano_sizes.py --sizes 256 320 384 448 --davis DIR

On 14 generated clips of 40 frames and, with --davis, on the first 50 frames of every third DAVIS-2016 training
sequence, all from the true first mask. Neither are those that nano's table reports. It asserts nothing.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from nano_scores import Frames, Ids, Which, real_sequences, track_clip
from rich.console import Console
from rich.progress import track
from rich.table import Table
from uamp_data.synthetic import generate_clip
from uamp_eval.metrics import clip_scores
from uamp_model import VideoTracker

FIRST_SEED = 9_300_000
FIGURES = ("J-Mean", "F-Mean", "J&F-Mean")


def score(tracker: VideoTracker, clips: Sequence[tuple[Frames, Ids]], what: str) -> list[float]:
    """Mean J, F and J&F."""
    scores = [clip_scores(track_clip(tracker, frames, truth, "mask"), truth) for frames, truth in track(clips, what)]
    return [float(np.mean([s[figure] for s in scores])) for figure in FIGURES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--checkpoint", type=Path, help="weights other than the bundled ones")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 320, 384, 448])
    parser.add_argument("--davis", type=Path, help="root of DAVIS-2016")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    made = (generate_clip(FIRST_SEED + number, num_frames=40) for number in range(14))
    sets = {"generated": [(clip.frames, clip.masks) for clip in made]}
    if options.davis:
        every_third = list(real_sequences(options.davis, "train"))[::3]
        sets["real"] = [(frames[:50], truth[:50]) for _, frames, truth in every_third]
    table = Table("px", *(f"{name} {figure}" for name in sets for figure in ("J", "F", "J&F")), "seconds")
    for size in options.sizes:
        began = time.perf_counter()
        tracker = Which(options.model, options.checkpoint, "sam2", size).load()
        found = [value for name, clips in sets.items() for value in score(tracker, clips, f"{size} px, {name}")]
        table.add_row(str(size), *(f"{value:.4f}" for value in found), f"{time.perf_counter() - began:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
