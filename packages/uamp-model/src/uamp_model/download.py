"""Where weights lie on this machine and how they get there. Nothing here needs torch."""

import hashlib
import logging
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from uamp_model.catalog import ModelSpec
from uamp_model.errors import CheckpointError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Told the bytes there are so far and the bytes there will be, None where the server does not say."""

_TIMEOUT_SECONDS: Final = 30
_SECONDS_BETWEEN_LOOKS: Final = 0.5
_BLOCK_BYTES: Final = 1 << 20
_FRUITLESS_ATTEMPTS: Final = 3
_WORTH_ASKING_AGAIN: Final = (408, 429)


def checkpoint_folder() -> Path:
    """Where downloaded weights are kept: `$UAMP_CACHE`, else `$XDG_CACHE_HOME/uamp`, else `~/.cache/uamp`.

    Who has no home, as in some containers, keeps them among the temporary files.
    """
    own = os.environ.get("UAMP_CACHE")
    if own:
        return _at_home(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared:
        return Path(shared) / "uamp"
    usual = _at_home("~/.cache/uamp")
    return usual if usual.is_absolute() else Path(tempfile.gettempdir()) / f"uamp-{getattr(os, 'getuid', int)()}"


def _at_home(path: str | Path) -> Path:
    """The path with its `~` replaced, where there is such a home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - `Path.expanduser` raises where there is none


def checkpoint_path(spec: ModelSpec) -> Path:
    """Where a model's weights are, or will be once downloaded."""
    return (Path(__file__).parent if spec.bundled else checkpoint_folder()) / spec.checkpoint


def find_checkpoint(spec: ModelSpec, explicit: str | Path | None = None) -> Path:
    """The file with a model's weights: the one that is named, else the bundled or downloaded one.

    Args:
        spec: a model of the catalog.
        explicit: a file of weights, or a folder that holds the model's file under its published name.

    Raises:
        CheckpointError: if there is no such file; the message says how to get it.
    """
    if explicit is not None:
        path = _at_home(explicit)
        if path.is_dir():
            path = path / Path(spec.checkpoint).name
        if not path.is_file():
            raise CheckpointError(f"There is no checkpoint at {path}: check the path that was given.")
        return path
    path = checkpoint_path(spec)
    if not path.is_file():
        if spec.bundled:
            raise CheckpointError(
                f"The bundled weights of {spec.name} are missing at {path}: "
                "install uamp-model again or pass --checkpoint."
            )
        raise CheckpointError(
            f"The weights of {spec.name} are not on this machine: run `uamp models download {spec.name}`, "
            f"put the file {spec.checkpoint} at {path}, or pass --checkpoint."
        )
    return path


def download_checkpoint(spec: ModelSpec, folder: Path | None = None, *, progress: Progress | None = None) -> Path:
    """Fetch a model's published weights, going on where an earlier attempt stopped.

    What has arrived so far lies beside the final file under its name with `.part`; the final name only ever holds
    the whole, verified file. A file that is there already is not fetched again. Where several processes ask for a file
    at once, one fetches it and the others wait.

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
        if not final.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with _alone(spec, part, progress):
                if not final.is_file():  # or another process was first
                    _fetch_all(spec.url, spec, part, progress)
                    _verify(spec, part)
                    part.replace(final)
                    logger.info("downloaded %s to %s", spec.name, final)
        _check_size(spec, final)
    except OSError as error:  # urllib's own errors are dealt with where they arise
        reason = "it is no folder" if folder.exists() and not folder.is_dir() else _reason(error)
        raise CheckpointError(
            f"The weights of {spec.name} cannot be written to {folder} ({reason}): name another folder."
        ) from error
    return final


@contextmanager
def _alone(spec: ModelSpec, part: Path, progress: Progress | None) -> Iterator[None]:
    """Let one process at a time fetch a file; who waits for another is told how far that one is."""
    lock_file = part.with_suffix(".lock")
    lock = FileLock(lock_file)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_SECONDS_BETWEEN_LOOKS)
        except Timeout:
            if progress is not None:
                progress(_size(part), spec.size_bytes)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not delete what is open
            lock_file.unlink()  # who waits for it notices and makes it anew
        lock.release()


def _fetch_all(url: str, spec: ModelSpec, part: Path, progress: Progress | None) -> None:
    """Append to `part` until the whole file is there, connecting again as long as that brings something new."""
    fruitless = 0
    while True:
        before = _size(part)
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
        after = _size(part)
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
        final = 400 <= error.code < 500 and error.code not in _WORTH_ASKING_AGAIN
        raise _ServerError(f"HTTP {error.code} {error.reason}", final=final) from error
    except (OSError, HTTPException) as error:
        raise _ServerError(_reason(error)) from error
    with answer:
        start, total = _position(answer)
        if start > have:
            raise _ServerError("it skipped a part of the file", final=True)
        return _write_blocks(answer, part, start, total, progress)


def _position(answer: HTTPResponse) -> tuple[int, int | None]:
    """First byte that the answer holds, and the whole file's length if the server says."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if answer.status == 206 and span is not None:
        return int(span[1]), None if span[2] == "*" else int(span[2])
    length = answer.headers.get("Content-Length")  # the server ignores ranges, or was not asked for one
    return 0, int(length) if length is not None else None


def _write_blocks(answer: HTTPResponse, part: Path, start: int, total: int | None, progress: Progress | None) -> bool:
    """Write the answer from byte `start` of `part` on; True if it ended where it should, False if it was cut off."""
    part.touch()
    with part.open("r+b") as file:
        file.seek(start)
        done = start
        while True:
            try:
                block = answer.read1(_BLOCK_BYTES)
            except (OSError, HTTPException) as error:
                logger.info("the connection dropped after %d bytes: %s", done, error)
                return False
            if not block:
                break
            file.write(block)
            done += len(block)
            if progress is not None:
                progress(done, total)
        if total is not None and done != total:
            return False
        file.truncate()  # what a longer file of an earlier attempt left behind
        return True


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


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
        f"What came from {spec.url} is not the published file ({difference}): "
        f"try again, or {_by_hand(spec, part.parent)}."
    )


def _by_hand(spec: ModelSpec, folder: Path) -> str:
    return f"put the file {spec.checkpoint} at {folder / spec.checkpoint} or pass --checkpoint"


def _reason(error: BaseException) -> str:
    """What an error says, without Python's wrapping."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
