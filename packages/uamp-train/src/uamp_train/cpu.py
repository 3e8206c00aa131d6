"""What makes training fast on a CPU; of a GPU it only chooses the kernels that attend.

Measured on one core of a Zen 5 with nano at 256 px, four clips of four frames: a step takes 1.76 s in fp32 and
1.06 s with bf16 and what follows (`benchmarks/train_step.py`).
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from uamp_model.devices import steady_attention
from uamp_model.products import onednn_products

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Of glibc's malloc.h."""
_LARGEST = 2**31 - 1
_TOP_PAD = 1 << 28
_PLAIN_ATTENTION_UP_TO = 384
"""Input side in pixels up to which a whole matrix of attention scores is small."""


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next step.

    By default it gives every large tensor back to the system, which then clears each page of the next one: a fifth of
    a step. Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, _TOP_PAD)):
            mallopt(parameter, value)


@contextmanager
def fast_arithmetic(device: torch.device, *, bf16: bool, image_size: int) -> Iterator[None]:
    """Compute a forward pass and its gradients as fast as the device can.

    With bf16, the products that autocast leaves in fp32 may go through oneDNN, which uses the CPU's widest
    instructions where MKL does not; and attention is written out as products, since the backward pass of torch's
    fused CPU kernel is several times slower than those for windows as small as an image encoder's. On a GPU, see
    `steady_attention`: batches differ in their number of objects.

    Args:
        device: where the network is.
        bf16: whether it trains in bfloat16; otherwise nothing changes on a CPU.
        image_size: input side S in pixels; large ones keep fused attention, which needs less memory.
    """
    if device.type != "cpu" or not bf16:
        with steady_attention(device):
            yield
        return
    fused = [SDPBackend.FLASH_ATTENTION] if image_size > _PLAIN_ATTENTION_UP_TO else []
    with onednn_products(), sdpa_kernel([*fused, SDPBackend.MATH]):
        yield
