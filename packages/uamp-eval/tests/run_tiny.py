"""A process of its own that runs nano over tiny videos: `run_tiny.py OUTPUT [--kill-at N | --one | --spoil]`.

Started by a launcher, each process is one of a team. Results go to OUTPUT/many (and OUTPUT/one), the summary of
process 0 to OUTPUT/summary.json.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from tiny_videos import MANY, TinyVideo, write_mask
from uamp_eval.distributed import join_team
from uamp_eval.runs import run_benchmark
from uamp_eval.sequences import Ids
from uamp_model import UampError, load_tracker


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--one", action="store_true")
    parser.add_argument("--spoil", action="store_true")
    options = parser.parse_args()
    written = 0

    def write(path: Path, ids: Ids) -> None:
        nonlocal written
        written += 1
        if written == options.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if options.spoil and team.rank == 1:
            raise UampError("The disk is full of bears: free some space.")
        write_mask(path, ids)

    with join_team() as team:
        trackers = {"sam2": load_tracker("nano", memory="sam2", device="cpu", precision="fp32")}
        videos = (TinyVideo("long", length=2000), TinyVideo("bear")) if options.spoil else MANY
        try:
            summary = run_benchmark(trackers, videos, options.output / "many", write=write, protocol="tiny", team=team)
            if options.one:
                run_benchmark(trackers, MANY[:1], options.output / "one", write=write, protocol="tiny", team=team)
        except UampError as error:
            sys.stderr.write(f"{type(error).__name__} in process {team.rank}: {error}\n")
            return 2
        if team.rank == 0:
            record = {"sequences": summary.sequences, "frames": summary.frames, "processes": summary.processes}
            (options.output / "summary.json").write_text(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
