"""Steps per second of training the UAMP layers, with and without cached image features, side by side.

    uv run python benchmarks/train_cache.py
    uv run python benchmarks/train_cache.py --davis DIR --size 480 --frames 8

All settings take the same steps on the same clips. The first pass fills the cache; then the settings take turns, so
that whatever else the machine does meets both alike; where it does much else, CPU time says more than the clock. It
asserts nothing.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from uamp_cli.train_data import open_data
from uamp_train.batches import ClipSource, Place, prefetch
from uamp_train.config import Stage, TrainConfig
from uamp_train.config_loading import parse_config
from uamp_train.learner import Learner
from uamp_train.loop import make_accelerator
from uamp_train.resume import begin

Times = tuple[float, float]
"""Seconds by the clock and of the CPU."""
PLAIN, CACHED = "encoder at every step", "cached features"


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="uamp-train-cache-") as folder:
        settings = {name: _settings(arguments, Path(folder), cached=name == CACHED) for name in (PLAIN, CACHED)}
        clips = open_data(settings[CACHED]).clips
        cold = _time_per_step(settings[CACHED], clips, arguments.steps)
        times: dict[str, list[Times]] = {PLAIN: [], CACHED: []}
        for _ in range(arguments.rounds):
            for name, config in settings.items():
                times[name].append(_time_per_step(config, clips, arguments.steps))
        files = list((Path(folder) / "features").rglob("*.safetensors"))
        size = sum(file.stat().st_size for file in files) / max(1, len(files))
        _show(arguments, times, cold, f"{len(files)} frames in the cache, {size / 1e6:.2f} MB each")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--davis", type=Path, help="train on DAVIS in this folder; without it, on generated clips")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--size", type=int, default=256, help="image size")
    parser.add_argument("--frames", type=int, default=8, help="frames of a clip")
    parser.add_argument("--batch", type=int, default=2, help="clips of a step")
    parser.add_argument("--steps", type=int, default=10, help="steps of a round, after one that is not timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace, folder: Path, *, cached: bool) -> TrainConfig:
    on_disk = {"dataset": "davis", "dataset_root": str(arguments.davis)} if arguments.davis else {}
    return parse_config(
        {
            "save_dir": str(folder),
            "experiment_name": "cached" if cached else "plain",
            "model": arguments.model,
            "freeze_sam2_backbone": True,
            "cache_features": cached,
            "cache_folder": str(folder / "features"),
            "augment": {"flip": 0.5, "crop": 0, "affine": 0, "colour": 0, "grey": 0},
            "pool": {"clips": 6, "frames": 16, "size": arguments.size, "folder": str(folder / "pool")},
            "image_size": arguments.size,
            "num_frames": arguments.frames,
            "batch_size": arguments.batch,
            "num_workers": arguments.workers,
            "device": arguments.device,
            **on_disk,
        }
    )


def _time_per_step(config: TrainConfig, clips: ClipSource, steps: int) -> Times:
    """Mean seconds of a step, batches included, after a first one that is not counted."""
    frozen, state = begin(config, resume=False, processes=1)
    stage = Stage(
        steps=steps + 1, image_size=config.image_size, num_frames=config.num_frames, batch_size=config.batch_size
    )
    learner = Learner(config, stage, frozen, state, make_accelerator(config))
    begun = _now()
    for place, batch in prefetch(clips, config, stage, [Place(step) for step in range(steps + 1)], learner.store):
        learner.learn(batch, place, config.lr)
        if place.step == 0:
            begun = _now()
    ended = _now()
    return (ended[0] - begun[0]) / steps, (ended[1] - begun[1]) / steps


def _now() -> Times:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def _median(times: list[Times]) -> Times:
    return statistics.median(clock for clock, _ in times), statistics.median(cpu for _, cpu in times)


def _show(arguments: argparse.Namespace, times: dict[str, list[Times]], cold: Times, caption: str) -> None:
    clips = f"{arguments.batch} clip(s) of {arguments.frames} frames"
    title = f"{arguments.model}, {clips} of {arguments.size}×{arguments.size}"
    table = Table("", "steps/s", "times", "CPU s/step", "times", title=title, caption=caption)
    plain = _median(times[PLAIN])
    rows = {PLAIN: plain, f"{CACHED}, first pass": cold, f"{CACHED}, later": _median(times[CACHED])}
    for name, (clock, cpu) in rows.items():
        table.add_row(name, f"{1 / clock:.2f}", f"{plain[0] / clock:.2f}", f"{cpu:.2f}", f"{plain[1] / cpu:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
