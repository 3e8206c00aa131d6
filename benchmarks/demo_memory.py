"""How much memory the whole of `uamp demo` takes over a long video, with every kind of output at once.

    uv run python benchmarks/demo_memory.py --frames 6000 --image-size 128

The video is a generated clip that is played forwards and backwards again and again. The command runs in a process of
its own, of which resident memory, open files and threads are read while it works.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import chain, cycle, islice
from pathlib import Path

import numpy as np
import psutil
from uamp_data.synthetic import generate_clip
from uamp_data.writer import VideoWriter

RATE = 24
CLIP = 48


def write_long_video(path: Path, frames: int, size: tuple[int, int]) -> list[str]:
    """Write the video and return the prompts: a box around each of its objects, where frame 0 shows them."""
    clip = generate_clip(0, num_frames=CLIP, size=size, num_objects=2)
    there_and_back = chain(range(CLIP), range(CLIP - 2, 0, -1))
    with VideoWriter(path, frame_rate=RATE, size=size) as writer:
        for index in islice(cycle(there_and_back), frames):
            writer.write(clip.frames[index])
    boxes = []
    for object_id in np.unique(clip.masks[0])[1:]:
        ys, xs = np.nonzero(clip.masks[0] == object_id)
        boxes += ["--box", f"{xs.min()},{ys.min()},{xs.max() + 1},{ys.max() + 1}"]
    return boxes


def every_output(folder: Path) -> list[str]:
    """Options for each thing that `uamp demo` writes."""
    files = {
        "--output": "marked.mp4",
        "--cutout-video": "cutout.webm",
        "--green-screen": "green.mp4",
        "--summary": "summary.png",
        "--json": "frames.json",
        "--coco": "coco.json",
        "--csv": "frames.csv",
        "--save-masks": "masks",
        "--save-cutout": "cutouts",
    }
    return ["--show-uncertainty", *chain.from_iterable((option, str(folder / name)) for option, name in files.items())]


def watch(command: list[str], every: float) -> list[tuple[float, int, int]]:
    """MiB of resident memory, open files and threads of a command, every so many seconds until it ends."""
    seen = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            with suppress(psutil.NoSuchProcess):  # it ended a moment ago
                seen.append((process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()))
            time.sleep(every)
        _, errors = running.communicate()
    if running.returncode:
        raise SystemExit(errors)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=6000)
    parser.add_argument("--size", default="320x240", help="of the video, width x height")
    parser.add_argument("--image-size", default="128", help="what the network sees; smaller is faster")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two looks")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        boxes = write_long_video(folder / "long.mp4", options.frames, (height, width))
        command = [sys.executable, "-m", "uamp_cli", "demo", "--input", str(folder / "long.mp4"), *boxes]
        began = time.monotonic()
        seen = watch([*command, "--image-size", options.image_size, *every_output(folder)], options.every)
        seconds = time.monotonic() - began
    print(f"{options.frames} frames of {options.size}, {len(boxes) // 2} objects, {seconds:.0f} s")
    print("share of the run   MiB   open files   threads")
    for share in (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.98):
        memory, files, threads = seen[int(share * len(seen))]
        print(f"{share:16.0%} {memory:5.0f} {files:12} {threads:9}")
    print(f"most at any time {max(memory for memory, _, _ in seen):5.0f}")


if __name__ == "__main__":
    main()
