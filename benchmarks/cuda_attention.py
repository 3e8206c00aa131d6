"""Attention kernels for a GPU, on the shapes of memory attention with a full memory.

python benchmarks/cuda_attention.py --objects 1,4,16

For each kernel that torch has: milliseconds, and TFLOP/s of the scores (256 wide) and of the averages of values, which
are projections, 256 wide, or the memory tokens themselves, 64 wide. What a kernel refuses is said.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

QUERIES, TOKENS, WIDTH, NARROW = 4096, 7 * 4096 + 64, 256, 64
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--objects", default="1,4,16")
    given = options.parse_args()
    if not torch.cuda.is_available():
        print("There is no CUDA device here: nothing is measured.")
        return
    print(f"product of 8192² in bfloat16: {product_rate():.0f} TFLOP/s")
    kernels = {
        name.name.lower(): by(name)
        for name in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION)
    }
    kernels["flex"] = flex()
    for count in map(int, given.objects.split(",")):
        for tokens in (TOKENS, QUERIES):
            for width in (WIDTH, NARROW):
                shapes = ((QUERIES, WIDTH), (tokens, WIDTH), (tokens, width))
                q, k, v = (torch.randn(count, 1, *shape, device="cuda", dtype=torch.bfloat16) for shape in shapes)
                for name, attend in kernels.items():
                    said = measured(attend, q, k, v)
                    print(f"{count:3} objects, {tokens:5} tokens, values {width:3} wide, {name:20} {said}", flush=True)


def measured(attend: Attend, q: Tensor, k: Tensor, v: Tensor) -> str:
    """How long it takes and how far it is from the plain form."""
    with sdpa_kernel(SDPBackend.MATH):
        exact = F.scaled_dot_product_attention(q[:1, :, :256], k[:1], v[:1])
    try:
        error = float((attend(q, k, v)[:1, :, :256] - exact).abs().max())
    except Exception as refused:  # each kernel has its own
        return f"refused: {str(refused).splitlines()[0][:60]}"
    took = milliseconds(lambda: attend(q, k, v))
    rate = 2 * q[..., 0].numel() * k.shape[2] * (q.shape[3] + v.shape[3]) / took / 1e9
    return f"{took:7.3f} ms {rate:5.0f} TFLOP/s, error {error:.1e}"


def by(backend: SDPBackend) -> Attend:
    """Attention of torch by one of its kernels."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v)

    return attend


def flex() -> Attend:
    """The one that torch compiles."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def milliseconds(work: Callable[[], object], repeat: int = 8) -> float:
    """Median of what it takes the device."""
    times: list[float] = []
    for _ in range(repeat + 2):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[2:])


def product_rate(side: int = 8192) -> float:
    """TFLOP/s of a large product."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return float(2 * side**3 / milliseconds(lambda: a @ b) / 1e9)


if __name__ == "__main__":
    main()
