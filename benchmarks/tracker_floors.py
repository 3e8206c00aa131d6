"""How far each stage of a frame is from its floor: operations over the machine's rate, bytes over its bandwidth.

python benchmarks/tracker_floors.py --model nano --objects 1,16 --precision bf16

Operations are those of matrix products and convolutions, counted as they are computed, each at the measured rate of a
large product of its kind of numbers. Bytes are what a stage cannot do without: each weight and input read once, each
result written once. A stage's floor is the longer of the two times; what it took is the median frame's. On a CPU times
are of one thread's processor time.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import operation_counts  # noqa: F401 - the counter learns of products by it
import torch
from rich.table import Table
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from tracker_attention import fastest, product_rate
from uamp_cli.bench_tracker import (
    TrackerBench,
    make_clip,
    make_prompts,
    make_tracker,
    stage_time,
    time_stages,
    track,
    weights_of,
)
from uamp_cli.terminal import out_console
from uamp_model import VideoTracker
from uamp_model.attention import attend
from uamp_model.devices import inference
from uamp_model.forms import FAST, Forms, lowered_forms
from uamp_model.stages import STAGES, StageClock, timed_stages

WARM = 20
"""Tracked frames until memory and pointers are complete, and on a GPU what comes again has become graphs."""
KINDS = (torch.bfloat16, torch.float32)
COPIED = 2**28
"""Bytes, far more than any cache holds."""
REPEAT = 20


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="nano")
    options.add_argument("--objects", default="1,4,16")
    options.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    options.add_argument("--device", default="auto")
    options.add_argument("--memory-budget", type=float, default=1.0)
    options.add_argument("--frames", type=int, default=5, help="frames that are timed")
    options.add_argument("--warm", type=int, default=WARM, help="tracked frames before them")
    given = options.parse_args()
    torch.set_num_threads(1)
    counts = tuple(int(n) for n in given.objects.split(","))
    bench = TrackerBench(
        model=given.model,
        objects=counts,
        frames=given.frames,
        warm_up=given.warm,
        precision=given.precision,
        device=given.device,
        memory_budget=given.memory_budget,
    )
    weights, _ = weights_of(bench)
    machine = Machine(make_tracker(bench, weights).device)
    out = out_console()
    for count in counts:
        out.print(table_of(bench, weights, count, machine), highlight=False)
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {str(kind)[6:]}" for kind, rate in machine.rates.items())
    out.print(f"Large product: {rates}; copying: {machine.bandwidth / 1e9:.1f} GB/s.")


class Machine:
    """Measured rates, operations or bytes a second; of a kind of numbers when it is first asked for."""

    def __init__(self, device: torch.device) -> None:
        self._clock = StageClock(device, stage_time(device))
        self.rates: dict[torch.dtype, float] = {}
        source = torch.ones(COPIED, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        self.bandwidth = 2 * COPIED / fastest(lambda: target.copy_(source), self._clock, REPEAT)

    def rate(self, kind: torch.dtype) -> float:
        """Of a large product in the way the tracker computes."""
        if kind not in self.rates:
            with inference(self._clock.device, torch.float32, plainly=False):
                self.rates[kind] = product_rate(kind, self._clock, REPEAT)
        return self.rates[kind]


class Needs(TorchDispatchMode):
    """Counts operations by the kind of their numbers, and bytes that are read from before or last beyond a stage."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._operations: dict[torch.dtype, int] = defaultdict(int)
        self._bytes = 0
        self._read: dict[int, int] = {}
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        count = flop_registry.get(func._overloadpacket)
        if count is None:
            with self:
                parts = func.decompose(*args, **given)
            if parts is not NotImplemented:
                return parts
        inputs = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, Tensor)]
        for tensor in inputs:
            storage = tensor.untyped_storage()
            if (key := storage._cdata) not in self._made:
                held = min(storage.nbytes(), tensor.numel() * tensor.element_size())
                self._read[key] = max(held, self._read.get(key, 0))
        out = func(*args, **given)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage())._cdata not in self._read:
                self._made[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        if count is not None:
            self._operations[inputs[0].dtype] += count(*args, **given, out_val=out)
        return out

    def operations(self, kind: torch.dtype) -> int:
        """Of products and convolutions of such numbers, up to now."""
        return self._operations[kind]

    def bytes(self) -> int:
        """Up to now; to be asked where a stage begins and where it ends."""
        lasting = sum(size for storage, size in self._made.values() if not storage.expired())
        self._bytes += sum(self._read.values()) + lasting
        self._read, self._made = {}, {}
        return self._bytes


def table_of(bench: TrackerBench, weights: dict[str, Tensor], count: int, machine: Machine) -> Table:
    """Each stage's needs, floor and time with so many objects."""
    tracker = make_tracker(bench, weights)
    frames, truth = make_clip(bench, 1 + bench.warm_up + bench.frames + 1 + len(KINDS))
    steps = track(tracker, frames, make_prompts(frames[0], truth, count))
    for _ in islice(steps, 1 + bench.warm_up):
        pass
    took = time_stages(islice(steps, bench.frames), tracker.device)
    tracker.forms = countable(tracker)
    moved = needs_of(steps, tracker.device, Needs.bytes)
    operations = {kind: needs_of(steps, tracker.device, partial(Needs.operations, kind=kind)) for kind in KINDS}
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"{tracker.name}, objects: {count}")
    for name in ("", *(f"GFLOP {str(kind)[6:]}" for kind in KINDS), "MB", "floor, ms", "took, ms", "share"):
        table.add_column(name, justify="right" if name else "left")
    for stage in STAGES:
        computed = sum(operations[kind][stage] / machine.rate(kind) for kind in KINDS if operations[kind][stage])
        floor, own = max(computed, moved[stage] / machine.bandwidth), took[stage]
        table.add_row(
            stage,
            *(f"{operations[kind][stage] / 1e9:.2f}" for kind in KINDS),
            f"{moved[stage] / 1e6:.1f}",
            f"{1e3 * floor:.2f}",
            f"{1e3 * own:.2f}",
            f"{floor / own:.0%}",
        )
    return table


def countable(tracker: VideoTracker) -> Forms:
    """What is launched as CUDA graphs is not seen: the same without."""
    if tracker.device.type != "cuda":
        return FAST
    forms = replace(FAST, attend=partial(attend, narrow=True))
    return forms if tracker.dtype == torch.float32 else lowered_forms(forms, tracker.dtype)


def needs_of(steps: Iterator[object], device: torch.device, quantity: Callable[[Needs], int]) -> dict[str, float]:
    """What the next frame needs, by stage."""
    with Needs() as needs, timed_stages(device, lambda: quantity(needs)) as clock:
        next(steps)
    return clock.seconds


if __name__ == "__main__":
    main()
