from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from uamp_data.errors import DataError

TEMPORARY_SUFFIX = ".part"


def create_temporary(target: Path) -> Path:
    """Creates an empty file beside `target`, to be filled and moved over it with `os.replace`.

    Missing parent folders are created. The temporary file lies in the same folder because only a rename within one
    file system is atomic, and its name has a fixed length so that a long `target` name cannot make it too long. Its
    permissions are those of the file that it will replace.

    Args:
        target: The file to be written in the end. It is not touched.

    Raises:
        DataError: `target` is a folder, a device or write-protected, or its folder cannot be created or written to.
    """
    temporary = target.with_name(f".uamp-{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
    try:
        if target.is_dir():
            raise DataError(f"{target} is a folder: name a file in it.")
        if target.exists() and not target.is_file():
            raise DataError(f"{target} is not a regular file: name one that can be replaced.")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "write-protected")
        target.parent.mkdir(parents=True, exist_ok=True)
        # plain open, not tempfile: a result that replaces nothing must have the permissions that any new file gets
        with temporary.open("xb"):
            pass
        if target.exists():
            with suppress(OSError):  # some file systems have one mode for all files
                shutil.copymode(target, temporary)
    except OSError as error:
        raise unwritable(target, error) from error
    return temporary


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Gives an empty file to fill, which is moved to `path` at the end of the block; if that fails, nothing is left.

    A link stays, and what it leads to is replaced.

    Raises:
        DataError: `path` cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = create_temporary(target)
    try:
        yield temporary
        replace(temporary, target)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def replace(temporary: Path, target: Path) -> None:
    """Moves a finished temporary file over `target`; on failure removes it.

    Raises:
        DataError: The file cannot be moved.
    """
    try:
        os.replace(temporary, target)  # noqa: PTH105 - the name says that it overwrites
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(target, error) from error


def unwritable(target: Path, error: OSError) -> DataError:
    """Says in one sentence why `target` could not be written and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"The disk is full, so {target} could not be written: free some space or name another folder.")
    if error.errno == errno.EFBIG:
        return DataError(f"{target} would exceed the largest file allowed here: name a file on another disk.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DataError(f"{target} cannot be written (permission denied): name a file in a folder that is yours.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return DataError(f"{target} cannot be written because {target.parent} is not a folder: name another place.")
    if error.errno == errno.ENAMETOOLONG:
        return DataError(f"The file name {target.name[:40]}... is too long: choose a shorter one.")
    reason = error.strerror or type(error).__name__
    return DataError(f"{target} cannot be written ({reason}): check the path or name another one.")
