"""Memory attention of one object at a model's real size, by budget, beside the sam2 package's own form.

python benchmarks/tracker_attention.py --model sam2.1-hiera-tiny --precision bf16

Weights, features and a full memory are random: the arithmetic does not depend on them. Seconds are of processor time.
The first lines are the rate of a large product, by torch itself and in the way the tracker computes: the floor.
"""

import argparse
import time

import torch
from uamp_model import build_model
from uamp_model.budget import share_of
from uamp_model.devices import inference
from uamp_model.forms import FAST
from uamp_model.sam2 import ImageFeatures, MemoryTokens, Sam2, attend_memory


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", default="sam2.1-hiera-tiny")
    options.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    options.add_argument("--budgets", default="1,0.5,0.25")
    options.add_argument("--repeat", type=int, default=3)
    given = options.parse_args()
    torch.manual_seed(0)
    model = build_model(given.model)
    dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
    cells, width = model.image_size // 16, model.hidden_dim
    seen, position = torch.randn(1, width, cells, cells), torch.randn(1, width, cells, cells)
    features = ImageFeatures(seen, seen, seen, position)  # only those of stride 16 are read
    for plainly in (True, False):
        with inference(torch.device("cpu"), dtype, plainly=plainly):
            print(f"product {'by torch' if plainly else 'as tracked'} {product_rate(dtype, given.repeat):5.0f} GFLOP/s")
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
        read = operations(model, memory)
        print(f"{name:5} {best:7.3f} s {read / 1e9:6.0f} GFLOP {read / best / 1e9:5.0f} GFLOP/s {share}", flush=True)


def product_rate(dtype: torch.dtype, repeat: int) -> float:
    """Billions of operations a second of a 4096×384×1536 product."""
    rows, inner, columns = 4096, 384, 1536
    a, b = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    best = float("inf")
    for _ in range(repeat + 1):  # the first makes the kernel
        start = time.process_time()
        torch.mm(a, b)
        best = min(best, time.process_time() - start)
    return 2 * rows * inner * columns / best / 1e9


def remembered(model: Sam2, budget: float) -> MemoryTokens:
    """A full memory: a conditioning frame, the last frames and 16 pointers."""
    side, count = model.image_size // 16, model.num_maskmem
    share, kept, own, bias = share_of(budget, side * side, count), None, None, None
    if share is not None:
        some = [torch.randperm(side * side)[:cells].unsqueeze(0) for cells in reversed(share.tracked)]
        kept, own = (None, *some), torch.randperm(side * side)[: share.own].unsqueeze(0)
        bias = torch.zeros(1, count, side, side)
    return MemoryTokens(
        torch.randn(1, count, model.mem_dim, side, side),
        torch.arange(count).unsqueeze(0),
        torch.randn(1, 16, model.hidden_dim),
        torch.rand(1, 16),
        bias=bias,
        kept=kept,
        own=own,
    )


def operations(model: Sam2, memory: MemoryTokens) -> int:
    """Of the products, with values averaged before they are projected; two for a multiplication and an addition."""
    queries, width, narrow = (model.image_size // 16) ** 2, model.hidden_dim, model.mem_dim
    layer = model.memory_attention.layers[0]
    spatial = memory.spatial.shape[1] * queries
    if memory.kept is not None:
        spatial = sum(queries if part is None else part.shape[1] for part in memory.kept)
    tokens = spatial + 16 * width // narrow
    later = queries if memory.own is None else memory.own.shape[1]
    asked = [queries] + (len(model.memory_attention.layers) - 1) * [later]
    own = sum(2 * queries * width * width + 2 * count * width * width + 2 * queries * count * width for count in asked)
    read = queries * (tokens * (width + narrow) + 2 * width * width + narrow * width) + tokens * narrow * width
    forward = 2 * queries * width * layer.linear1.out_features
    return 2 * int(own + len(model.memory_attention.layers) * (read + forward))


if __name__ == "__main__":
    main()
