"""Fast arithmetic gives what plain arithmetic gives, and leaves no trace."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from uamp_train.cpu import fast_arithmetic

CPU = torch.device("cpu")


def attend_and_learn(*, bf16: bool, image_size: int) -> tuple[Tensor, Tensor]:
    """The result of a small attention over windows, and the gradient of what it was given."""
    generator = torch.Generator().manual_seed(0)
    tokens, weights = (torch.randn(*shape, generator=generator) for shape in ((12, 2, 64, 32), (32, 32)))
    tokens.requires_grad_(True)
    with fast_arithmetic(CPU, bf16=bf16, image_size=image_size), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = F.scaled_dot_product_attention(tokens @ weights, tokens, tokens)
        out.float().square().sum().backward()
    assert tokens.grad is not None
    return out.float(), tokens.grad


@pytest.mark.parametrize("image_size", [256, 1024])
def test_it_agrees_with_plain_arithmetic(image_size: int) -> None:
    plain, plain_gradient = attend_and_learn(bf16=False, image_size=image_size)
    fast, fast_gradient = attend_and_learn(bf16=True, image_size=image_size)
    assert (fast - plain).abs().max() < 0.05 * plain.abs().max()
    assert (fast_gradient - plain_gradient).norm() < 0.05 * plain_gradient.norm()


def precision() -> str:
    """Of fp32 products on the CPU; torch has a setting for them alone since 2.9."""
    own = getattr(torch.backends.mkldnn, "matmul", None)
    return torch.get_float32_matmul_precision() if own is None else str(own.fp32_precision)


def test_it_leaves_no_trace() -> None:
    before = precision(), torch.backends.cuda.flash_sdp_enabled()
    with fast_arithmetic(CPU, bf16=True, image_size=256):
        assert precision() in ("medium", "bf16")
        assert not torch.backends.cuda.flash_sdp_enabled()
    assert (precision(), torch.backends.cuda.flash_sdp_enabled()) == before


@pytest.mark.parametrize(("device", "bf16"), [(CPU, False), (torch.device("meta"), True)])
def test_fp32_and_other_devices_are_left_alone(device: torch.device, bf16: bool) -> None:
    before = precision(), torch.backends.cuda.flash_sdp_enabled()
    with fast_arithmetic(device, bf16=bf16, image_size=256):
        assert (precision(), torch.backends.cuda.flash_sdp_enabled()) == before


FAULTS = """
import ctypes
import resource
import torch
from uamp_train.cpu import keep_freed_memory

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: some systems would give pages of 2 MB, 500 times fewer

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults()
keep_freed_memory()
for _ in range(3):
    faults()  # takes the memory that is kept from here on
print(plain, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it does something on Linux alone")
def test_freed_memory_is_used_again() -> None:
    """In a process of its own, because it cannot be undone.

    glibc gives back what is larger than 32 MB whenever it is freed; of smaller things it may keep some by itself.
    """
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    plain, kept = (int(number) for number in done.stdout.split())
    assert plain > 40_000  # five times 40 MB in pages of 4 kB
    assert kept < plain / 10
