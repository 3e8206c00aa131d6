"""Follows an object through a real video from a box, from points and from no prompt, and shows what came out.

    uv run python benchmarks/real_clips.py VIDEO --box 440,370,710,550 --point 600,430 --output DIR

Runs `uamp demo` three times, compares frames, rate and size of each output with the input, and lays every tenth frame
of each into a contact sheet, DIR/NAME_box.jpg and so on. There is no truth to score against: look at the pictures.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from uamp_data import open_video

COLUMNS = 6
CELL_WIDTH = 320


def facts(path: Path) -> tuple[int, str, str]:
    """Frames that can be read, rate and size of a video."""
    with open_video(path) as video:
        size, rate = f"{video.width}×{video.height}", str(video.frame_rate)
        return sum(1 for _ in video), rate, size


def contact_sheet(path: Path, target: Path) -> None:
    """Every tenth frame of a video, small, in rows."""
    with open_video(path) as video:
        height = CELL_WIDTH * video.height // video.width
        cells = [
            cv2.resize(f.image, (CELL_WIDTH, height), interpolation=cv2.INTER_AREA) for f in video if f.index % 10 == 0
        ]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % COLUMNS)
    rows = [np.concatenate(cells[i : i + COLUMNS], axis=1) for i in range(0, len(cells), COLUMNS)]
    cv2.imwrite(str(target), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--box", required=True)
    parser.add_argument("--point", action="append", required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    runs = {"box": ["--box", options.box], "points": [w for p in options.point for w in ("--point", p)], "none": []}
    table = Table("run", "frames", "rate", "size", title=options.video.name)
    table.add_row("input", *map(str, facts(options.video)))
    for name, prompts in runs.items():
        result = options.output / f"{options.video.stem}_{name}.mp4"
        command = [sys.executable, "-m", "uamp_cli", "demo", "--input", str(options.video), "--output", str(result)]
        subprocess.run([*command, *prompts], check=True)
        contact_sheet(result, result.with_suffix(".jpg"))
        table.add_row(name, *map(str, facts(result)))
    Console().print(table)


if __name__ == "__main__":
    main()
