"""Whether bfloat16 gives the masks of float32: their IoU on real video, J of each, and what a frame costs in each.

    uv run python benchmarks/precision_agreement.py --davis DIR --every 4 --frames 40

Both track the same sequences of the DAVIS-2016 training split from the true first mask, each with its own memory, so
that differences add up as they do in use. It asserts nothing.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from nano_scores import Frames, Ids, real_sequences, track_clip
from rich.console import Console
from rich.progress import track
from rich.table import Table
from uamp_eval.metrics import clip_scores
from uamp_model import VideoTracker, load_tracker
from uamp_model.devices import Precision

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def follow(tracker: VideoTracker, frames: Frames, truth: Ids) -> tuple[Ids, float]:
    """Ids T×H×W, and the milliseconds of processor time of a frame."""
    began = time.process_time()
    found = track_clip(tracker, frames, truth, "mask")
    return found, 1000 * (time.process_time() - began) / len(frames)


def mean_iou(one: Ids, other: Ids) -> float:
    """Mean over all frames but the first and the last."""
    return clip_scores(one, other)["J-Mean"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--davis", type=Path, required=True, help="root of DAVIS-2016")
    parser.add_argument("--every", type=int, default=4, help="take every n-th training sequence")
    parser.add_argument("--frames", type=int, default=40, help="frames of a sequence that are tracked")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    trackers = {name: load_tracker(options.model, precision=name, exact=False) for name in PRECISIONS}
    table = Table("sequence", "IoU of the two", *(f"J {n}" for n in PRECISIONS), *(f"ms {n}" for n in PRECISIONS))
    rows = []
    for sequence, frames, truth in track(list(real_sequences(options.davis, "train"))[:: options.every]):
        frames, truth = frames[: options.frames], truth[: options.frames]
        found = [follow(tracker, frames, truth) for tracker in trackers.values()]
        scores = [mean_iou(masks, truth) for masks, _ in found]
        rows.append([mean_iou(found[0][0], found[1][0]), *scores, *(spent for _, spent in found)])
        table.add_row(sequence, *(f"{v:.4f}" for v in rows[-1][:3]), *(f"{v:.0f}" for v in rows[-1][3:]))
    mean = np.mean(rows, axis=0)
    table.add_row("mean", *(f"{v:.4f}" for v in mean[:3]), *(f"{v:.0f}" for v in mean[3:]))
    Console().print(table)


if __name__ == "__main__":
    main()
