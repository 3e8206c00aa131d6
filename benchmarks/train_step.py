"""Processor time of a training step on one CPU thread, with and without what `uamp_train.cpu` does, in turns.

    uv run python benchmarks/train_step.py                       # nano at 256 px, four clips of four frames
    uv run python benchmarks/train_step.py --size 128 --frames 2 --clips 8

Every step is forward and backward of the same batch of generated clips. Freed memory is kept from the first such
setting on, which is why those without it come first. It asserts nothing.
"""

import argparse
import statistics
import time
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from uamp_data.pool import PoolClip
from uamp_data.synthetic import generate_clip
from uamp_train.batches import Place, make_batch
from uamp_train.config import Stage, TrainConfig
from uamp_train.cpu import fast_arithmetic, keep_freed_memory
from uamp_train.weights import build_module


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to compute a step."""

    name: str
    bf16: bool
    fast: bool
    keeps_memory: bool


SETTINGS = (
    Setting("fp32", bf16=False, fast=False, keeps_memory=False),
    Setting("bf16", bf16=True, fast=False, keeps_memory=False),
    Setting("fp32, memory kept", bf16=False, fast=False, keeps_memory=True),
    Setting("bf16, memory kept", bf16=True, fast=False, keeps_memory=True),
    Setting("bf16, memory kept, plain attention, oneDNN", bf16=True, fast=True, keeps_memory=True),
)


@dataclass(frozen=True)
class Clips:
    """A few generated clips, as they are."""

    clips: list[PoolClip]

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4) -> PoolClip:
        """The beginning of clip `index`."""
        whole = self.clips[index]
        return PoolClip(whole.frames[:num_frames], whole.masks[:num_frames])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="input side in pixels")
    parser.add_argument("--frames", type=int, default=4, help="frames of a clip")
    parser.add_argument("--clips", type=int, default=4, help="clips of a step")
    parser.add_argument("--steps", type=int, default=4, help="steps of a setting, after one that is not timed")
    options = parser.parse_args()

    torch.set_num_threads(1)
    shape = (options.size, options.size)
    generated = [generate_clip(n, num_frames=max(8, options.frames), size=shape) for n in range(options.clips)]
    source = Clips([PoolClip(clip.frames, clip.masks) for clip in generated])
    config = TrainConfig(true_presence=True)
    stage = Stage(steps=1, image_size=options.size, num_frames=options.frames, batch_size=options.clips)
    module = build_module(config, image_size=options.size)
    batch = make_batch(source, config, stage, Place(0))

    def step(setting: Setting) -> float:
        began = time.process_time()
        fast = fast_arithmetic(torch.device("cpu"), bf16=setting.bf16, image_size=options.size)
        with fast if setting.fast else nullcontext():
            with torch.autocast("cpu", torch.bfloat16, enabled=setting.bf16):
                loss = module(batch).total
            loss.backward()
        module.zero_grad()
        return time.process_time() - began

    table = Table("setting", "ms of a step", "times as fast", title=f"{len(batch.clip_of_object)} objects, {stage}")
    medians: list[float] = []
    for setting in track(SETTINGS, description="settings"):
        if setting.keeps_memory:
            keep_freed_memory()
        step(setting)
        medians.append(statistics.median(step(setting) for _ in range(options.steps)))
        table.add_row(setting.name, f"{1000 * medians[-1]:.0f}", f"{medians[0] / medians[-1]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
