"""The heavy parts of a frame in their fast forms, as they are or compiled by torch.

Compiled code holds for the shapes it was made for. What changes from frame to frame, the number of objects and of
tokens they read, is marked as such beforehand, so that nothing is compiled again as memory fills up or objects come
and go: once for one object, which torch always treats apart, and once for several.
"""

import copy
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._triton import has_triton

from uamp_model import attention, hiera, memory_encoder, two_way
from uamp_model.attention import Glance, Part, Tokens
from uamp_model.errors import DeviceError
from uamp_model.graphs import Graphs

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
        narrow = attention.kernel_averages_narrow(module, tokens.values)
        return read(module, now, position, cells, others, bias, _glance(tokens.glance), narrow)

    def decode_objects(
        module: Part, image: Tensor, position: Tensor, sparse: Tensor, fine: tuple[Tensor, Tensor]
    ) -> Masks:
        return decode(module, _changing(image, 0), position, _changing(sparse, 0, 1), fine)

    def encode_objects(module: Part, seen: Tensor, mask: Tensor) -> Tensor:
        return encode_memory(module, seen, _changing(mask, 0))

    return Forms(encode_levels, attend, decode_objects, encode_objects)


def lowered_forms(forms: Forms, dtype: torch.dtype) -> Forms:
    """The same forms with weights of products in `dtype` from the start, as autocast makes them anew in every frame.

    Weights are read when a part is first used.
    """
    twins: WeakKeyDictionary[Part, Part] = WeakKeyDictionary()

    def low(part: Part) -> Part:
        if part not in twins:
            twins[part] = _lowered(part, dtype)
        return twins[part]

    def encode_levels(encoder: Part, images: Tensor, ends: Mapping[int, Part]) -> list[Tensor]:
        return forms.encode_levels(low(encoder), images, {level: low(end) for level, end in ends.items()})

    def attend(module: Part, now: Tensor, position: Tensor, tokens: Tokens) -> Tensor:
        return forms.attend(low(module), now, position, tokens)

    def decode(module: Part, image: Tensor, position: Tensor, sparse: Tensor, fine: tuple[Tensor, Tensor]) -> Masks:
        return forms.decode(low(module), image, position, sparse, fine)

    def encode_memory(module: Part, seen: Tensor, mask: Tensor) -> Tensor:
        return forms.encode_memory(low(module), seen, mask)

    return Forms(encode_levels, attend, decode, encode_memory)


def _lowered(part: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a part that shares all weights but those of products, which are in `dtype`."""
    tensors = chain(part.parameters(), part.buffers())
    twin = copy.deepcopy(part, {id(tensor): tensor for tensor in tensors})
    for layer in twin.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            for name, weight in list(layer.named_parameters(recurse=False)):
                setattr(layer, name, nn.Parameter(weight.to(dtype), requires_grad=False))
    return twin


def graphed_forms(forms: Forms, graphs: Graphs) -> Forms:
    """The same forms as CUDA graphs where shapes have settled, see `graphs.py`."""

    def encode_levels(encoder: Part, images: Tensor, ends: Mapping[int, Part]) -> list[Tensor]:
        def levels(images: Tensor) -> list[Tensor]:
            return forms.encode_levels(encoder, images, ends)

        return graphs.call("encode", levels, [images], encoder, tuple(ends.items()))

    def attend(module: Part, now: Tensor, position: Tensor, tokens: Tokens) -> Tensor:
        placed, glance = tokens.placed, tokens.glance
        part = [None] * len(fields(Glance)) if glance is None else [getattr(glance, f.name) for f in fields(Glance)]

        def conditioned(
            now: Tensor, position: Tensor, values: Tensor, keys: Tensor, bias: Tensor | None, *part: Tensor
        ) -> list[Tensor]:
            read = Tokens(values, keys, placed, bias, None if glance is None else Glance(*part))
            return [forms.attend(module, now, position, read)]

        given = [now, position, tokens.values, tokens.keys, tokens.bias, *part]
        return graphs.call("attend", conditioned, given, module, placed)[0]

    def decode(module: Part, image: Tensor, position: Tensor, sparse: Tensor, fine: tuple[Tensor, Tensor]) -> Masks:
        def masks(image: Tensor, position: Tensor, sparse: Tensor, stride4: Tensor, stride8: Tensor) -> Masks:
            return forms.decode(module, image, position, sparse, (stride4, stride8))

        found = graphs.call("decode", masks, [image, position, sparse, *fine], module)
        return found[0], found[1], found[2], found[3]

    def encode_memory(module: Part, seen: Tensor, mask: Tensor) -> Tensor:
        def memory(seen: Tensor, mask: Tensor) -> list[Tensor]:
            return [forms.encode_memory(module, seen, mask)]

        return graphs.call("memory", memory, [seen, mask], module)[0]

    return Forms(encode_levels, attend, decode, encode_memory)


def forms_for(device: torch.device, dtype: torch.dtype, *, compiled: bool = False) -> Forms:
    """The fastest forms for a device and what it computes in."""
    forms = compiled_forms() if compiled else FAST
    if device.type != "cuda":
        return forms
    return graphed_forms(forms if dtype == torch.float32 else lowered_forms(forms, dtype), Graphs())


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
    narrow: bool,
) -> Tensor:
    """`attention.attend` with numbers of tokens that are told by shapes alone; values and keys of each kind."""
    values, keys = (torch.cat(both, dim=1) for both in zip(spatial, pointers, strict=True))
    part = None if glance is None else Glance(*glance)
    return attention.attend(module, now, position, Tokens(values, keys, spatial[0].shape[1], bias, part), narrow=narrow)


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
