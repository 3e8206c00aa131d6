"""Where a frame's time goes on a GPU: how long it is busy, with how many kernels, and with which the longest.

python benchmarks/cuda_profile.py --model sam2.1-hiera-tiny --objects 1,16

A generated clip with random or bundled weights; the frames that are looked at come after memory has filled up. How long
a frame takes is measured without the profiler. `--plain` does all of it with forms that are no graphs, too.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice

import torch
from torch.profiler import ProfilerActivity, profile
from uamp_cli.bench_tracker import TrackerBench, make_clip, make_prompts, make_tracker, track, weights_of
from uamp_model import VideoTracker
from uamp_model.forms import FAST

WARM, TIMED, PROFILED = 22, 10, 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="sam2.1-hiera-tiny")
    options.add_argument("--objects", default="1,16")
    options.add_argument("--rows", type=int, default=14, help="kernels to list")
    options.add_argument("--plain", action="store_true", help="also without graphs")
    given = options.parse_args()
    if not torch.cuda.is_available():
        print("There is no CUDA device here: nothing is measured.")
        return
    counts = tuple(int(n) for n in given.objects.split(","))
    bench = TrackerBench(model=given.model, objects=counts, frames=TIMED, warm_up=WARM, device="cuda", size=(720, 1280))
    weights, _ = weights_of(bench)
    for count in counts:
        for plain in (True, False) if given.plain else (False,):
            tracker = make_tracker(bench, weights)
            if plain:
                tracker.forms = FAST
            look(tracker, bench, count, "as they were" if plain else "now", given.rows)


def look(tracker: VideoTracker, bench: TrackerBench, count: int, name: str, rows: int) -> None:
    """Time and profile some frames with so many objects."""
    frames, truth = make_clip(bench, WARM + TIMED + PROFILED)
    steps: Iterator[object] = track(tracker, frames, make_prompts(frames[0], truth, count))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    for _ in islice(steps, WARM):
        pass
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in islice(steps, TIMED):
        pass
    torch.cuda.synchronize()
    took = (time.perf_counter() - start) / TIMED
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        for _ in steps:
            pass
        torch.cuda.synchronize()
    events = seen.key_averages()
    kernels = [e for e in events if e.device_type.name == "CUDA"]
    busy = sum(e.self_device_time_total for e in kernels) / PROFILED / 1e3
    launches = sum(e.count for e in kernels) / PROFILED
    copies = sum(e.count for e in events if e.key == "cudaMemcpyAsync") / PROFILED
    graphs = sum(e.count for e in events if e.key == "cudaGraphLaunch") / PROFILED
    held = torch.cuda.max_memory_reserved() / 2**20
    print(
        f"\n{tracker.name}, {count} objects, {name}: {1e3 * took:.1f} ms a frame after {start - begin:.1f} s for {WARM}"
    )
    print(f"device busy {busy:.1f} ms with {launches:.0f} kernels; {graphs:.0f} graphs, {copies:.0f} copies")
    print(f"memory {held:.0f} MiB at most")
    for e in sorted(kernels, key=lambda e: -e.self_device_time_total)[:rows]:
        print(
            f"{e.self_device_time_total / PROFILED / 1e3:8.3f} ms {e.count / PROFILED:6.1f} × {e.key[:110]}", flush=True
        )


if __name__ == "__main__":
    main()
