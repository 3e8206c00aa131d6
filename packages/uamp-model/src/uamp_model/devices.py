"""Which device and precision to compute in."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from uamp_model.errors import DeviceError, InputError
from uamp_model.products import fast_products

Precision = Literal["auto", "fp32", "bf16"]

BFLOAT16_FROM = 320
"""Input side in pixels from which a CPU that computes in bfloat16 is faster in it."""
_UNSOUND_CUDNN = 91500
_TURN = RLock()
"""Held by the thread that computes on a GPU: torch's choice of attention kernels there is the whole process's, and
only one graph can be captured at a time."""
_SHORT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "status_alloc_failed")
"""How torch says that memory ran out; its allocator for CUDA alone has an error class of its own."""


def choose_device(name: str = "auto") -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:1" or "mps" into a device that is there.

    "auto" leaves out a GPU that is too old, or too new, for this torch.

    Raises:
        InputError: if the name is none of these.
        DeviceError: if this machine or this torch build does not have it.
    """
    if name == "auto":
        if torch.cuda.is_available() and has_kernels(torch.cuda.get_device_capability(), torch.cuda.get_arch_list()):
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"Unknown device {name!r}: choose auto, cpu, cuda, cuda:1 or mps.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise DeviceError("The device cuda was asked for, but no CUDA device can be used here: use cpu instead.")
        if device.index is not None and device.index >= count:
            raise DeviceError(f"The device {name} was asked for, but there are {count}: the last is cuda:{count - 1}.")
        capability, built_for = torch.cuda.get_device_capability(device), torch.cuda.get_arch_list()
        if not has_kernels(capability, built_for):
            raise DeviceError(
                f"This torch has no kernels for {torch.cuda.get_device_name(device)}, which has compute capability "
                f"{capability[0]}.{capability[1]}, only for {', '.join(built_for)}: use cpu, or another torch."
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("The device mps was asked for, but it is not available here: use cpu instead.")
    return device


def has_kernels(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Whether a torch that was built for these architectures, such as sm_86 or compute_90, computes on a GPU.

    Machine code (sm) runs on GPUs of its generation from its own compute capability on, PTX (compute) on all later
    ones, as CUDA's programming guide says. Names of another form, as AMD's, are not judged.
    """
    known = [match for name in built_for if (match := re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", name))]
    if len(known) < len(built_for) or not known:
        return True
    for kind, *digits in (match.groups() for match in known):
        major, minor = map(int, digits)
        same_generation = kind == "compute" or major == capability[0]
        if same_generation and (major, minor) <= capability:
            return True
    return False


def choose_dtype(precision: Precision, device: torch.device, *, image_size: int) -> torch.dtype:
    """The dtype of the heavy arithmetic: bfloat16 where it is fast, else float32.

    On a CPU "auto" takes bfloat16 if the CPU computes in it and the model is large enough to gain from it.

    Raises:
        InputError: if the precision is unknown.
    """
    if precision not in get_args(Precision):
        raise InputError(f"Unknown precision {precision!r}: choose {', '.join(get_args(Precision))}.")
    if precision == "fp32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        # older GPUs only emulate it, and have no fused attention in it
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float32
    if device.type == "cpu" and image_size >= BFLOAT16_FROM and _cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float32


def _cpu_has_bfloat16() -> bool:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """A context in which the network computes in `dtype`, whatever the caller's own context says."""
    if dtype == torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=dtype)


def lowered(x: Tensor) -> Tensor:
    """A product's input in autocast's dtype, if that is on: converted once, not by each product that reads it."""
    kind = x.device.type
    if kind not in ("cpu", "cuda") or not torch.is_autocast_enabled(kind):
        return x
    return x.to(torch.get_autocast_dtype(kind))


def exact_device(device: torch.device) -> torch.device:
    """Where float64 is computed of what lies on a device: there, or on the CPU if it has no float64, as MPS."""
    return torch.device("cpu") if device.type == "mps" else device


def to_device(numbers: Sequence[object], device: torch.device) -> Tensor:
    """Numbers, or lists of them, as a tensor there; the copy to a GPU is not waited for, as torch's own would be."""
    made = torch.tensor(numbers)
    return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made.to(device)


@contextmanager
def steady_attention(device: torch.device, *, one_shape: bool = False) -> Iterator[None]:
    """Let a GPU attend by kernels that take any shape as it comes.

    cuDNN's, which torch prefers on recent ones, prepare themselves for each new shape: 35 to 75 ms a frame on an H100
    for as long as memory grows, which is longer than the frame itself takes. Where there is `one_shape` alone, they
    may take part, if they are sound there. What attends is set for all threads, which take turns.
    """
    if device.type != "cuda":
        yield
        return
    one_shape = one_shape and cudnn_is_sound()
    backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with _turn(device), sdpa_kernel([*backends, SDPBackend.CUDNN_ATTENTION] if one_shape else backends):
        yield


def cudnn_is_sound() -> bool:
    """Whether cuDNN's attention may be trusted in CUDA graphs: up to 9.15.0 it fails for some lengths.

    See https://github.com/pytorch/pytorch/pull/167101.
    """
    return (torch.backends.cudnn.version() or 0) > _UNSOUND_CUDNN


def check_default_dtype() -> None:
    """Make sure that tensors which SAM 2's parts create on the way are float32, as their weights are.

    Raises:
        InputError: if the program has set another default dtype than torch's own.
    """
    if (found := torch.get_default_dtype()) != torch.float32:
        name = str(found).removeprefix("torch.")
        raise InputError(f"SAM 2 cannot compute while torch's default dtype is {name}: set it to torch.float32.")


@contextmanager
def inference(device: torch.device, dtype: torch.dtype, *, plainly: bool) -> Iterator[None]:
    """A context for tracking: no gradients, computing in `dtype`, and unless `plainly` with the fastest products.

    On a GPU, threads take turns.

    Raises:
        InputError: as `check_default_dtype` does.
        DeviceError: as `enough_memory` does.
    """
    check_default_dtype()
    fast = nullcontext() if plainly else _fast(device)
    with enough_memory(device), _turn(device), torch.inference_mode(), autocast(device, dtype), fast:
        yield


@contextmanager
def enough_memory(device: torch.device) -> Iterator[None]:
    """A context in which an allocation that fails is a `DeviceError` that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_short_of_memory(error):
            raise
        raise DeviceError(
            f"Memory ran out on {device}: follow fewer objects, take a smaller model or image size, or another device."
        ) from error


def is_short_of_memory(error: BaseException) -> bool:
    """Whether memory that could not be had is what an error is about."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(sign in str(error).lower() for sign in _SHORT_OF_MEMORY)


def _turn(device: torch.device) -> AbstractContextManager[object]:
    return _TURN if device.type == "cuda" else nullcontext()


@contextmanager
def _fast(device: torch.device) -> Iterator[None]:
    with fast_products(device), steady_attention(device):
        yield
