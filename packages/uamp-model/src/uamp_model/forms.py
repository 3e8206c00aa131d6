"""The heavy parts of a frame in their fast forms, as they are or compiled by torch.

Compiled code holds for the shapes it was made for. What changes from frame to frame, the number of objects and of
tokens they read, is marked as such beforehand, so that nothing is compiled again as memory fills up or objects come
and go: once for one object, which torch always treats apart, and once for several.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._triton import has_triton

from uamp_model import attention, hiera, memory_encoder, two_way
from uamp_model.attention import Glance, Part, Tokens
from uamp_model.errors import DeviceError

Masks = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Forms:
    """The four parts that take nearly all of a frame's time.

    Attributes:
        encode_levels: see `hiera.encode_levels`.
        attend: see `attention.attend`.
        decode: see `two_way.decode`.
        encode_memory: see `memory_encoder.encode`.
    """

    encode_levels: Callable[[Part, Tensor, Mapping[int, Part]], list[Tensor]]
    attend: Callable[[Part, Tensor, Tensor, Tokens], Tensor]
    decode: Callable[[Part, Tensor, Tensor, Tensor, tuple[Tensor, Tensor]], Masks]
    encode_memory: Callable[[Part, Tensor, Tensor], Tensor]


FAST = Forms(hiera.encode_levels, attention.attend, two_way.decode, memory_encoder.encode)


def compiled_forms(backend: str = "inductor") -> Forms:
    """The fast forms compiled by `torch.compile`, which happens when they are first called and takes minutes.

    Args:
        backend: of `torch.compile`.
    """
    # the rotary table is complex, but only looked at as pairs of real numbers
    warnings.filterwarnings("ignore", message="Torchinductor does not support code generation for complex")
    encode_levels = torch.compile(hiera.encode_levels, backend=backend)
    read = torch.compile(_attend_parts, backend=backend)
    decode = torch.compile(two_way.decode, backend=backend)
    encode_memory = torch.compile(memory_encoder.encode, backend=backend)

    def attend(module: Part, now: Tensor, position: Tensor, tokens: Tokens) -> Tensor:
        spatial, pointers = slice(None, tokens.placed), slice(tokens.placed, None)
        cells = _changing(tokens.values[:, spatial], 0, 1), _changing(tokens.keys[:, spatial], 0, 1)
        others = _changing(tokens.values[:, pointers], 0, 1), _changing(tokens.keys[:, pointers], 0, 1)
        bias = None if tokens.bias is None else _changing(tokens.bias, 0, 1)
        return read(module, now, position, cells, others, bias, _glance(tokens.glance))

    def decode_objects(
        module: Part, image: Tensor, position: Tensor, sparse: Tensor, fine: tuple[Tensor, Tensor]
    ) -> Masks:
        return decode(module, _changing(image, 0), position, _changing(sparse, 0, 1), fine)

    def encode_objects(module: Part, seen: Tensor, mask: Tensor) -> Tensor:
        return encode_memory(module, seen, _changing(mask, 0))

    return Forms(encode_levels, attend, decode_objects, encode_objects)


def check_compiler(device: torch.device) -> None:
    """Make sure that code for the device can be compiled.

    Raises:
        DeviceError: if not.
    """
    if device.type == "cuda" and not has_triton():
        raise DeviceError("Compiling for a GPU needs triton, which is not installed: install it or leave --compile.")
    if device.type == "cpu" and not any(shutil.which(name) for name in _compilers()):
        raise DeviceError("Compiling for the CPU needs a C++ compiler such as g++: install one or leave --compile.")
    if device.type == "mps":
        raise DeviceError("Compiling is for cpu and cuda, not mps: leave --compile.")


def _compilers() -> tuple[str, ...]:
    """The C++ compilers that torch may call."""
    return os.environ.get("CXX", "g++"), "g++", "clang++", "cl"


def _attend_parts(
    module: Part,
    now: Tensor,
    position: Tensor,
    spatial: tuple[Tensor, Tensor],
    pointers: tuple[Tensor, Tensor],
    bias: Tensor | None,
    glance: tuple[Tensor, ...] | None,
) -> Tensor:
    """`attention.attend` with numbers of tokens that are told by shapes alone; values and keys of each kind."""
    values, keys = (torch.cat(both, dim=1) for both in zip(spatial, pointers, strict=True))
    part = None if glance is None else Glance(*glance)
    return attention.attend(module, now, position, Tokens(values, keys, spatial[0].shape[1], bias, part))


def _glance(part: Glance | None) -> tuple[Tensor, ...] | None:
    """Its tensors, marked for the compiler: objects and what they read change, the cells of a frame do not."""
    if part is None:
        return None
    cells = _changing(part.whole, 0), _changing(part.others, 0)
    return *cells, _changing(part.rows, 0, 1), _changing(part.worth, 0, 1), part.own


def _changing(x: Tensor, *dimensions: int) -> Tensor:
    """The same tensor, marked for the compiler: these dimensions change from call to call."""
    for dimension in dimensions:
        torch._dynamo.maybe_mark_dynamic(x, dimension)
    return x
