"""How many steps a training run makes a second, and what it waits for: clips, their way to the device, or the network.

    uv run python benchmarks/train_rate.py --config configs/pretrain_nano_gpu.yaml --set sam2_checkpoint=null

For one stage of a configuration, one after the other: batches alone, prepared by as many workers as it says; steps on
one batch that is on the device already; and both together, as `uamp train` does it. It writes no run, asserts nothing.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from uamp_cli.train_data import open_data
from uamp_train.batches import Batch, Place, prefetch
from uamp_train.config_loading import load_config
from uamp_train.cpu import keep_freed_memory
from uamp_train.learner import Learner
from uamp_train.loop import make_accelerator
from uamp_train.resume import begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of `uamp train`")
    parser.add_argument("--stage", type=int, default=0, help="which stage, from 0")
    parser.add_argument("--steps", type=int, default=10, help="steps of each kind that are timed")
    parser.add_argument("--profile", action="store_true", help="also list the operations that take most of a step")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        config = load_config(options.config, [*options.set, f"save_dir={folder}"])
        accelerator = make_accelerator(config)
        clips = open_data(config).clips
        frozen, state = begin(config, resume=False, processes=1)
        stage = config.curriculum(len(clips), 1)[options.stage]
        learner = Learner(config, stage, frozen, state, accelerator)
    device = accelerator.device
    if device.type == "cpu":
        keep_freed_memory()

    places = [Place(step) for step in range(1 + WARM_UP + options.steps)]

    def seconds(kind: str) -> float:
        began, done = 0.0, 0
        with torch.random.fork_rng(devices=[]), closing(prefetch(clips, config, stage, places, learner.store)) as made:
            batches: Iterator[tuple[Place, Batch]] = made
            kept = next(made)[1].to(device)
            if kind == "steps alone":
                made.close()  # whoever prepares further ones would compute beside
                batches = ((place, kept) for place in places[1:])
            for place, batch in batches:
                if done == WARM_UP:
                    began = now(device)
                if kind != "batches alone":
                    learner.learn(batch, place, 0.0)
                done += 1
            spent = now(device) - began
        return spent / int(options.steps)

    table = Table("", "s", "a second", title=f"{stage}, {config.num_workers} workers, {device}")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for kind in ("batches alone", "steps alone", "both"):
        spent = seconds(kind)
        table.add_row(kind, f"{spent:.3f}", f"{1 / spent:.2f}")
    Console().print(table)
    if device.type == "cuda":
        Console().print(f"{torch.cuda.get_device_name()}, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    if options.profile:
        batch = next(prefetch(clips, config, stage, places, learner.store))[1].to(device)
        with torch.profiler.profile() as profiler:
            learner.learn(batch, Place(0), 0.0)
            now(device)
        told = profiler.key_averages()
        for key in ("self_cpu_time_total", *(["self_cuda_time_total"] if device.type == "cuda" else [])):
            print(told.table(sort_by=key, row_limit=18, max_name_column_width=60))


WARM_UP = 3
"""Batches before the clock runs."""


def now(device: torch.device) -> float:
    """The time, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
