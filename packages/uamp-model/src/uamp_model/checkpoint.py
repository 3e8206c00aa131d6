"""Weights in files: reading them without running what they might carry, and writing them."""

import contextlib
import io
import os
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from uamp_model.catalog import MODELS
from uamp_model.errors import CheckpointError

_WRAPPERS: Final = ("model", "state_dict")
_HARMLESS: Final = ("torch ", "torch.", "collections OrderedDict")
_SAFETENSORS_HEADER_LIMIT: Final = 100_000_000  # bytes; the format's own bound


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a file of weights: an official `.pt`, a plain state dict, or safetensors. No code in it is ever run.

    Returns:
        Tensors on the CPU by name; floating-point ones are float32, whatever they are stored as.

    Raises:
        CheckpointError: if the file cannot be read, is damaged, or is no file of weights.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"The checkpoint {path} cannot be read: {error.strerror or error}.") from error
    if size == 0:
        raise CheckpointError(f"The checkpoint {path} is empty: fetch it again.")
    loaded = _read_safetensors(path) if _is_safetensors(head) else _read_pickled(path)
    return {name: value.float() if value.is_floating_point() else value for name, value in loaded.items()}


def _is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors do: the header's length in eight bytes, then JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER_LIMIT


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged or incomplete: fetch it again.") from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of an unusual pickle protocol: it loads or it does not
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged file can make torch raise nearly anything
        if isinstance(error, pickle.UnpicklingError) and _asks_for_code(path):
            raise CheckpointError(
                f"The checkpoint {path} holds more than weights and might run code, so it was not loaded: "
                "use a file from a source you trust, saved as a plain state dict or as safetensors."
            ) from error
        raise _not_weights(path) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise _not_weights(path)
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()):
        raise _not_weights(path)
    return dict(content)


def _asks_for_code(path: Path) -> bool:
    """Whether a pickle names anything beyond what torch itself writes beside weights; it is only read, never run."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith("data.pkl")]
                content = archive.read(names[0])
        else:
            content = path.read_bytes()
        stream = io.BytesIO(content)
        while stream.tell() < len(content):  # torch's old format is several pickles, one after the other
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("STACK_GLOBAL", "INST"):  # torch names things with GLOBAL alone
                    return True
                if opcode.name == "GLOBAL" and not str(argument).startswith(_HARMLESS):
                    return True
    except (ValueError, IndexError, OSError, zipfile.BadZipFile):
        return False
    return False


def _not_weights(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is not a file of weights, or it is damaged: fetch it again or pass another one.")


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy weights into a model, all of them or none.

    Args:
        model: the network; its parameters and buffers are overwritten in place.
        state: tensors by the model's own names.
        source: where they come from, for the message.

    Raises:
        CheckpointError: if a weight is missing, unknown or of another shape; the model is then unchanged.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    misshapen = [name for name in own if name in state and state[name].shape != own[name].shape]
    if not missing and not unknown and not misshapen:
        model.load_state_dict(state)
        return
    counts = [(missing, "missing"), (unknown, "unknown"), (misshapen, "of another shape")]
    found = ", ".join(f"{len(names)} weights are {what} (such as {names[0]})" for names, what in counts if names)
    wanted, like = _known_model(own), _known_model(state)
    guess = f"it looks like one of {like}, so ask for that model" if like and like != wanted else "pass another one"
    raise CheckpointError(f"{source} is not a checkpoint of {wanted or 'this model'}: {found}; {guess}.")


def _known_model(state: Mapping[str, Tensor]) -> str | None:
    """Name of the catalog's model that these weights look like, judged by the image encoder and by what is there."""
    stem = state.get("image_encoder.trunk.patch_embed.proj.weight")
    if stem is None or stem.ndim == 0:
        return None
    blocks = {name.split(".")[3] for name in state if name.startswith("image_encoder.trunk.blocks.")}
    # SAM 2.1 and nano have an embedding for absent objects that the first SAM 2 lacks
    first = "no_obj_embed_spatial" not in state
    for spec in MODELS.values():
        if (spec.trunk_width, spec.trunk_blocks, spec.name.startswith("sam2-")) == (stem.shape[0], len(blocks), first):
            return spec.name
    return None


def save_state_dict(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write weights as safetensors: the whole file appears under its name, or nothing does.

    Args:
        path: the file to write; its folder is made if need be.
        tensors: by name, on any device, stored in the type they have.
        metadata: strings for the file's header, such as the base model and how the weights were made.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    # the format wants every tensor in memory of its own
    separate = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    path = Path(os.path.realpath(path))  # what a link leads to is written, and the link stays
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if (path.exists() or path.is_symlink()) and not path.is_file():
            raise CheckpointError(f"The weights cannot be written to {path}: what is there is no file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(temporary, separate, dict(metadata or {}))
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"The weights cannot be written to {path}: {getattr(error, 'strerror', None) or error}."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write safetensors with the permissions of any new file; by itself, safetensors lets only the owner read it."""
    path.touch()
    mode = path.stat().st_mode
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    path.chmod(mode)


def read_metadata(path: Path) -> dict[str, str]:
    """The strings in the header of a file of weights, whatever it is called; none if it is not safetensors.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            if not _is_safetensors(file.read(9)):
                return {}
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged or incomplete: fetch it again.") from error
