"""Matrix products in fp32 by the CPU's widest instructions, where torch by itself would not take them.

On a CPU, torch multiplies fp32 matrices by MKL, which on other makes than Intel's stays with 256-bit instructions.
Asked for "medium" precision it hands them to oneDNN, which takes 512-bit ones. oneDNN may then round to bfloat16, and
does so where the CPU has matrix units for it; elsewhere it computes in full fp32 all the same, about 2.5 times as fast
on a Zen 5. Which of the two it does here is tried once, with a product. Nothing is changed where oneDNN's instructions
are no wider than MKL's: on Intel's CPUs, where MKL takes 512-bit ones by itself, and on CPUs that have none, such as a
Zen 3. MKL is the faster of the two there where matrices are small.
"""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch

_TRIAL = 192
"""Side of the matrices that are tried: large enough for oneDNN to be asked at all."""
_FULL_ERROR = 1e-3
"""Errors of 192 added products of unit normals are around 1e-5 in fp32 and 0.1 in bfloat16."""


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Multiply fp32 matrices by oneDNN meanwhile, if that is faster here and computes them in full.

    The setting is torch's and so the whole process's: other threads' products meanwhile are computed the same way,
    which changes their rounding. It is put back when the last thread is done.
    """
    with onednn_products() if device.type == "cpu" and onednn_is_better() else nullcontext():
        yield


@contextmanager
def onednn_products() -> Iterator[None]:
    """Multiply fp32 matrices by oneDNN meanwhile, also where it rounds to bfloat16; see `fast_products`."""
    _SETTING.enter()
    try:
        yield
    finally:
        _SETTING.leave()


@dataclass(slots=True)
class _Setting:
    """torch's precision of fp32 products: set by the first of its users, put back by the last."""

    lock: Lock = field(default_factory=Lock)
    users: int = 0
    put_back: Callable[[], None] = lambda: None

    def enter(self) -> None:
        with self.lock:
            if self.users == 0:
                self.put_back = _ask_for_onednn()
            self.users += 1

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.put_back()


_SETTING = _Setting()


def _ask_for_onednn() -> Callable[[], None]:
    """Set torch's precision of fp32 products on a CPU; what is returned puts it back.

    Since 2.9 torch has a setting for oneDNN alone, and refuses the one for all where somebody has used the new ones.
    """
    own = getattr(torch.backends.mkldnn, "matmul", None)
    if own is None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        return partial(torch.set_float32_matmul_precision, before)
    put_back = partial(_put_back, own, own.fp32_precision)
    own.fp32_precision = "bf16"
    return put_back


def _put_back(setting: Any, before: str) -> None:
    """Let it follow torch's more general settings again, if it then says what it did."""
    setting.fp32_precision = "none"
    if setting.fp32_precision != before:
        setting.fp32_precision = before


@cache
def onednn_is_better() -> bool:
    """Whether oneDNN multiplies in full, and by wider instructions than MKL."""
    return not mkl_is_wide() and _onednn_is_full()


@cache
def mkl_is_wide() -> bool:
    """Whether torch has MKL and its products take the CPU's widest instructions.

    It takes 512-bit ones on CPUs of its own maker alone.
    """
    if not torch.backends.mkl.is_available():
        return False
    cpuinfo = Path("/proc/cpuinfo")
    maker = cpuinfo.read_text() if cpuinfo.exists() else platform.processor()
    return "GenuineIntel" in maker or torch.backends.cpu.get_cpu_capability() != "AVX512"


def _onednn_is_full() -> bool:
    """Whether oneDNN is there and multiplies in fp32 as asked for "medium" precision."""
    if not torch.backends.mkldnn.is_available():
        return False
    made = torch.Generator().manual_seed(0)
    a, b = (torch.randn(_TRIAL, _TRIAL, generator=made) for _ in range(2))
    exact = a.double() @ b.double()
    with onednn_products(), torch.autocast("cpu", enabled=False):  # whoever asks first may compute in bfloat16
        found = a @ b
    return bool((found - exact).abs().max() < _FULL_ERROR)
