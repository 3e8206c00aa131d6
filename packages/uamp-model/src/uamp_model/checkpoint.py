"""Weights on disk: where they lie, how they get there, and reading them without running what they might carry."""

import hashlib
import logging
import os
import pickle
import re
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from uamp_model.catalog import MODELS, ModelSpec
from uamp_model.errors import CheckpointError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Told the bytes there are so far and the bytes there will be, None where the server does not say."""

_TIMEOUT_SECONDS: Final = 30
_BLOCK_BYTES: Final = 1 << 20
_FRUITLESS_ATTEMPTS: Final = 3
_WRAPPERS: Final = ("model", "state_dict")
_SAFETENSORS_HEADER_LIMIT: Final = 100_000_000  # bytes; the format's own bound


def checkpoint_folder() -> Path:
    """Where downloaded weights are kept: `$UAMP_CACHE`, else `$XDG_CACHE_HOME/uamp`, else `~/.cache/uamp`."""
    own = os.environ.get("UAMP_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "uamp"


def find_checkpoint(spec: ModelSpec, explicit: Path | None = None) -> Path:
    """The file with a model's weights: the one that is named, else the bundled or downloaded one.

    Args:
        spec: a model of the catalog.
        explicit: a file of weights, or a folder that holds the model's file under its published name.

    Raises:
        CheckpointError: if there is no such file; the message says how to get it.
    """
    if explicit is not None:
        path = explicit.expanduser()
        if path.is_dir():
            path = path / Path(spec.checkpoint).name
        if not path.is_file():
            raise CheckpointError(f"There is no checkpoint at {path}: check the path that was given.")
        return path
    if spec.bundled:
        path = Path(__file__).parent / spec.checkpoint
        if not path.is_file():
            raise CheckpointError(
                f"The bundled weights of {spec.name} are missing at {path}: install uamp-model again or pass --checkpoint."
            )
        return path
    path = checkpoint_folder() / spec.checkpoint
    if not path.is_file():
        raise CheckpointError(
            f"The weights of {spec.name} are not on this machine: run `uamp models download {spec.name}`, "
            f"put the file {spec.checkpoint} at {path}, or pass --checkpoint."
        )
    return path


def download_checkpoint(spec: ModelSpec, folder: Path | None = None, *, progress: Progress | None = None) -> Path:
    """Fetch a model's published weights, going on where an earlier attempt stopped.

    What has arrived so far lies beside the final file under its name with `.part`; the final name only ever holds
    the whole, verified file. A file that is there already is not fetched again.

    Args:
        spec: a model of the catalog.
        folder: where to put the file, `checkpoint_folder()` if None.
        progress: called after every block.

    Returns:
        The path of the file.

    Raises:
        CheckpointError: if the server cannot be reached or answers with another file, or the folder cannot be written.
    """
    if spec.url is None:
        raise CheckpointError(f"The weights of {spec.name} come with uamp-model: there is nothing to download.")
    folder = checkpoint_folder() if folder is None else folder
    final = folder / spec.checkpoint
    part = final.with_name(final.name + ".part")
    try:
        if final.is_file():
            _check_size(spec, final)
            return final
        folder.mkdir(parents=True, exist_ok=True)
        _fetch_all(spec.url, spec, part, progress)
        _verify(spec, part)
        part.replace(final)
    except OSError as error:
        # urllib's own errors are OSErrors too, and are dealt with where they arise
        raise CheckpointError(f"The weights of {spec.name} cannot be written to {folder}: {_reason(error)}.") from error
    logger.info("downloaded %s to %s", spec.name, final)
    return final


def _fetch_all(url: str, spec: ModelSpec, part: Path, progress: Progress | None) -> None:
    """Append to `part` until the whole file is there, connecting again as long as that brings something new."""
    fruitless = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        if spec.size_bytes is not None and before > spec.size_bytes:
            part.unlink()
            before = 0
        if spec.size_bytes is not None and before == spec.size_bytes:
            return
        problem: Exception | None = None
        try:
            if _fetch_once(url, part, before, progress):
                return
        except _ServerError as error:
            problem = error
            if error.final:
                raise CheckpointError(
                    f"The server refused {url} ({error}): {_by_hand(spec, part.parent)}."
                ) from error.__cause__
        after = part.stat().st_size if part.exists() else 0
        fruitless = 0 if after > before else fruitless + 1
        if fruitless == _FRUITLESS_ATTEMPTS:
            why = f" ({problem})" if problem is not None else ""
            raise CheckpointError(f"Could not reach {url}{why}: {_by_hand(spec, part.parent)}.") from problem


class _ServerError(Exception):
    """The server could not be reached or did not answer as it should; `final` if asking again is no use."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def _fetch_once(url: str, part: Path, have: int, progress: Progress | None) -> bool:
    """Ask for what comes after the first `have` bytes and write it; True if the file is whole."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing after what there is: the server's file is as long as ours, or shorter
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return True
            part.unlink()
            return False
        raise _ServerError(f"HTTP {error.code} {error.reason}", final=400 <= error.code < 500) from error
    except (OSError, HTTPException) as error:
        raise _ServerError(_reason(error)) from error
    with answer:
        start, total = _position(answer)
        if start > have:
            raise _ServerError("it skipped a part of the file", final=True)
        done = _write_blocks(answer, part, start, total, progress)
    return total is None or done == total


def _position(answer: HTTPResponse) -> tuple[int, int | None]:
    """First byte that the answer holds, and the whole file's length if the server says."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if answer.status == 206 and span is not None:
        return int(span[1]), None if span[2] == "*" else int(span[2])
    length = answer.headers.get("Content-Length")  # the server ignores ranges, or was not asked for one
    return 0, int(length) if length is not None else None


def _write_blocks(answer: HTTPResponse, part: Path, start: int, total: int | None, progress: Progress | None) -> int:
    """Write the answer from byte `start` of `part` on; returns the length reached when the connection ended."""
    # bytes go to their own place, so that two processes that fetch the same file do each other no harm
    with part.open("r+b" if part.exists() else "w+b") as file:
        file.seek(start)
        done = start
        while True:
            try:
                block = answer.read1(_BLOCK_BYTES)
            except (OSError, HTTPException) as error:
                logger.info("the connection dropped after %d bytes: %s", done, error)
                break
            if not block:
                break
            file.write(block)
            done += len(block)
            if progress is not None:
                progress(done, total)
        if total is not None and done == total:
            file.truncate()
    return done


def _check_size(spec: ModelSpec, path: Path) -> None:
    size = path.stat().st_size
    if spec.size_bytes is not None and size != spec.size_bytes:
        raise CheckpointError(
            f"{path} is not the published file ({size} bytes instead of {spec.size_bytes}): "
            "move it away to download it again."
        )


def _verify(spec: ModelSpec, part: Path) -> None:
    """Compare what has arrived with what the catalog knows; what differs is deleted, since it cannot be resumed."""
    size = part.stat().st_size
    if spec.size_bytes is not None and size != spec.size_bytes:
        difference = f"{size} bytes instead of {spec.size_bytes}"
    elif spec.sha256 is not None:
        with part.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == spec.sha256:
                return
        difference = "its SHA-256 digest differs"
    else:
        return
    part.unlink()
    raise CheckpointError(
        f"What came from {spec.url} is not the published file ({difference}): try again, or {_by_hand(spec, part.parent)}."
    )


def _by_hand(spec: ModelSpec, folder: Path) -> str:
    return f"put the file {spec.checkpoint} at {folder / spec.checkpoint} or pass --checkpoint"


def _reason(error: BaseException) -> str:
    """What an error says, without Python's wrapping."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


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
        raise CheckpointError(f"The checkpoint {path} cannot be read: {_reason(error)}.") from error
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
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        # torch refuses with one error type both what asks for code and what is no pickle at all
        if "Unsupported" in str(error):
            raise CheckpointError(
                f"The checkpoint {path} holds more than weights and might run code, so it was not loaded: "
                "use a file from a source you trust, saved as a plain state dict or as safetensors."
            ) from error
        raise _not_weights(path) from error
    except Exception as error:  # a damaged file can make torch raise nearly anything
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(separate, temporary, metadata=dict(metadata or {}))
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"The weights cannot be written to {path}: {_reason(error)}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_metadata(path: Path) -> dict[str, str]:
    """The strings in the header of a safetensors file.

    Raises:
        CheckpointError: if it is no such file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: pass one that UAMP wrote.") from error
