"""Memory attention of one object at a model's real size, by budget, beside the sam2 package's own form.

python benchmarks/tracker_attention.py --model sam2.1-hiera-tiny --precision bf16

Weights, features and a full memory are random: the arithmetic does not depend on them. Seconds are of processor time.
The first lines are the rate of a large product, by torch itself and in the way the tracker computes: the floor.
"""

import argparse
import time
from collections.abc import Callable

import torch
from uamp_model import build_model
from uamp_model.attention import Glance
from uamp_model.budget import Share, share_of
from uamp_model.devices import inference
from uamp_model.forms import FAST
from uamp_model.sam2 import ImageFeatures, MemoryTokens, Sam2, attend_memory
from uamp_model.stages import StageClock


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="sam2.1-hiera-tiny")
    options.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    options.add_argument("--budgets", default="1,0.5,0.25")
    options.add_argument("--repeat", type=int, default=3)
    given = options.parse_args()
    if given.repeat < 1:
        options.error("--repeat must be 1 or more.")
    torch.manual_seed(0)
    model = build_model(given.model)
    dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
    cells, width = model.image_size // 16, model.hidden_dim
    seen, position = torch.randn(1, width, cells, cells), torch.randn(1, width, cells, cells)
    features = ImageFeatures(seen, seen, seen, position)  # only those of stride 16 are read
    for plainly in (True, False):
        with inference(torch.device("cpu"), dtype, plainly=plainly):
            rate = product_rate(dtype, StageClock(torch.device("cpu"), time.process_time), given.repeat) / 1e9
            print(f"product {'by torch' if plainly else 'as tracked'} {rate:5.0f} GFLOP/s")
    whole = None
    for name, plainly in (("sam2", True), *((part, False) for part in given.budgets.split(","))):
        memory = remembered(model, 1.0 if plainly else float(name))
        best = float("inf")
        for _ in range(given.repeat):
            with inference(torch.device("cpu"), dtype, plainly=plainly):
                start = time.process_time()
                attend_memory(model, features, memory, fast=None if plainly else FAST)
                best = min(best, time.process_time() - start)
        whole = best if not plainly and whole is None else whole
        share = "" if plainly or whole is None else f"{best / whole:6.0%} of the first budget's time"
        read = operations(model, memory, plainly=plainly)
        print(f"{name:5} {best:7.3f} s {read / 1e9:6.0f} GFLOP {read / best / 1e9:5.0f} GFLOP/s {share}", flush=True)


def product_rate(dtype: torch.dtype, clock: StageClock, repeat: int) -> float:
    """Operations a second of a 4096×384×1536 product."""
    rows, inner, columns = 4096, 384, 1536
    a, b = (torch.randn(shape).to(clock.device, dtype) for shape in ((rows, inner), (inner, columns)))
    return 2 * rows * inner * columns / fastest(lambda: torch.mm(a, b), clock, repeat)


def fastest(work: Callable[[], object], clock: StageClock, repeat: int) -> float:
    """Seconds that it takes at best."""
    best = float("inf")
    for _ in range(repeat + 1):  # the first makes the kernel
        start = clock.now()
        work()
        best = min(best, clock.now() - start)
    return best


def remembered(model: Sam2, budget: float) -> MemoryTokens:
    """A full memory: a conditioning frame, the last frames and 16 pointers."""
    side, count = model.image_size // 16, model.num_maskmem
    return MemoryTokens(
        torch.randn(1, count, model.mem_dim, side, side),
        torch.arange(count).unsqueeze(0),
        torch.randn(1, 16, model.hidden_dim),
        torch.rand(1, 16),
        glance=glance(share_of(budget, side * side, count), side * side),
    )


def glance(share: Share | None, cells: int) -> Glance | None:
    """Random cells, as many as a budget's share has."""
    if share is None:
        return None
    order = torch.randperm(cells).unsqueeze(0)
    frames = enumerate([share.given, *reversed(share.tracked)])
    rows = torch.cat([torch.randperm(cells)[:count] + number * cells for number, count in frames]).unsqueeze(0)
    whole, others = order[:, : share.doubtful], order[:, share.doubtful :]
    return Glance(whole, others, rows, torch.zeros(rows.shape), torch.randperm(cells)[: share.own])


def operations(model: Sam2, memory: MemoryTokens, *, plainly: bool) -> int:
    """Of the products, two for a multiplication and an addition; unless `plainly`, values are averaged as they are."""
    queries, width, narrow = (model.image_size // 16) ** 2, model.hidden_dim, model.mem_dim
    layers, pointers = list(model.memory_attention.layers), 16 * width // narrow
    tokens = memory.spatial.shape[1] * queries + pointers
    whole, part, own = queries, 0, 0
    if (given := memory.glance) is not None:
        whole, part, own = given.whole.shape[1], given.rows.shape[1] + pointers, len(given.own)
    among_own = [queries * queries] + (len(layers) - 1) * [whole * queries + (queries - whole) * own]
    among_memory = whole * tokens + (queries - whole) * part
    itself = sum(4 * queries * width * width + 2 * pairs * width for pairs in among_own)
    read = queries * 2 * width * width + tokens * narrow * width
    read += among_memory * 2 * width + tokens * narrow * width if plainly else among_memory * (width + narrow)
    read += 0 if plainly else queries * narrow * width
    forward = 2 * queries * width * layers[0].linear1.out_features
    return 2 * int(itself + len(layers) * (read + forward))


if __name__ == "__main__":
    main()
