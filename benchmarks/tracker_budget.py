"""What reading less memory costs: J&F of one model on DAVIS sequences and generated clips, for several budgets.

python benchmarks/tracker_budget.py --davis DIR --sequences bear,bus --clips 6 --plot budget.svg
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from uamp_cli.bench_tracker_report import draw_panel, save_panels
from uamp_data.davis import DavisDataset
from uamp_data.synthetic import generate_clip
from uamp_eval.metrics import clip_scores
from uamp_model import Prompt, VideoTracker, load_tracker

Frame = npt.NDArray[np.uint8]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--davis", type=Path)
    options.add_argument("--split", default="train")
    options.add_argument("--sequences", default="")
    options.add_argument("--frames", type=int, default=60)
    options.add_argument("--clips", type=int, default=4)
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--plot", type=Path, help="draw J&F over frames per second of processor time, .svg")
    options.add_argument("--model", default="nano")
    options.add_argument("--memory", default="sam2")
    options.add_argument("--uamp-checkpoint", type=Path, help="layers, which --memory uamp uses")
    options.add_argument("--budgets", default="1,0.5,0.25")
    given = options.parse_args()
    if given.davis is None and given.clips < 1:
        options.error("give --davis, --clips or both: there is nothing to measure.")
    budgets = [float(part) for part in given.budgets.split(",")]
    base = load_tracker(given.model, memory=given.memory, device="cpu", uamp_checkpoint=given.uamp_checkpoint)
    trackers = {
        b: VideoTracker(
            base.base, name=base.name, memory=given.memory, dtype=base.dtype, layers=base.layers, memory_budget=b
        )
        for b in budgets
    }
    scores: dict[str, dict[float, list[float]]] = {}
    seconds: dict[str, dict[float, list[float]]] = {}
    for kind, name, frames, truth in videos(given):
        times = seconds.setdefault(kind, {b: [] for b in budgets})
        found = {b: score(tracker, frames, truth, times[b]) for b, tracker in trackers.items()}
        for b, value in found.items():
            scores.setdefault(kind, {}).setdefault(b, []).append(value)
        print(f"{kind:9} {name:20}", *(f"{b:g}: {value:.4f}" for b, value in found.items()), flush=True)
    lines = {}
    for kind, by_budget in scores.items():
        means = {b: 100 * statistics.mean(values) for b, values in by_budget.items()}
        rates = {b: 1 / statistics.median(times) for b, times in seconds[kind].items()}
        lines[kind] = [(rates[b], means[b]) for b in budgets]
        print(f"{kind:9} J&F, mean of {len(by_budget[budgets[0]])}", *(f"{b:g}: {m:.2f}" for b, m in means.items()))
        print(f"{kind:9} frames per CPU second", *(f"{b:g}: {rate:.1f}" for b, rate in rates.items()))
        print(f"{kind:9} against {budgets[0]:g}, and its standard error", *changes(by_budget, budgets))
    if given.plot is not None:
        save_panels(given.plot, [draw_panel(lines, "frames per second of processor time", "J&F", dots=True)])


def changes(by_budget: dict[float, list[float]], budgets: list[float]) -> Iterator[str]:
    first = by_budget[budgets[0]]
    for b in budgets[1:]:
        differences = [100 * (x - y) for x, y in zip(by_budget[b], first, strict=True)]
        error = statistics.stdev(differences) / len(first) ** 0.5 if len(first) > 1 else float("nan")
        yield f"{b:g}: {statistics.mean(differences):+.2f} ± {error:.2f}"


def videos(given: argparse.Namespace) -> Iterator[tuple[str, str, list[Frame], npt.NDArray[np.generic]]]:
    if given.davis is not None:
        wanted = [name for name in given.sequences.split(",") if name]
        for sequence in DavisDataset(given.davis, year=2016, split=given.split, sequences=wanted or None):
            count = min(len(sequence.frame_names), given.frames)
            frames = [sequence.image(i) for i in range(count)]
            yield "DAVIS", sequence.name, frames, np.stack([sequence.annotation(i) for i in range(count)])
    for seed in range(given.first_seed, given.first_seed + given.clips):
        clip = generate_clip(seed, num_frames=24, size=(384, 512), num_objects=2)
        yield "generated", f"seed {seed}", list(clip.frames), clip.masks


def score(tracker: VideoTracker, frames: list[np.ndarray], truth: np.ndarray, seconds: list[float]) -> float:
    session = tracker.start(num_frames=len(frames))
    prompts = {int(i): Prompt.mask(truth[0] == i) for i in np.unique(truth[0]) if 0 < i < 255}
    ids = []
    for index, frame in enumerate(frames):
        start = time.process_time()
        result = session.step(frame, prompts if index == 0 else None)
        seconds.append(time.process_time() - start)
        best, row = result.logits.max(dim=0)
        numbers = torch.tensor(result.object_ids, dtype=torch.uint8)
        ids.append((numbers[row] * (best > 0)).numpy())
    return float(clip_scores(np.stack(ids), truth)["J&F-Mean"])


if __name__ == "__main__":
    main()
