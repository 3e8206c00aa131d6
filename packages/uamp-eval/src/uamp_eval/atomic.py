"""Writes files that appear complete or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from uamp_model.errors import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give the name of a file to write, which takes the place of `path` at the end of the block.

    Missing folders are created. A link stays, and what it leads to is replaced; permissions stay, too.

    Args:
        path: Where to.

    Raises:
        InputError: It cannot be written, is write-protected or no regular file; what was there is untouched.
    """
    target = Path(os.path.realpath(path))  # `Path.resolve` raises for a link to itself, but only before Python 3.13
    # In the same folder, because only a rename within one file system is atomic.
    temporary = target.with_name(f".uamp-{secrets.token_hex(6)}.part")
    try:
        if target.is_symlink():
            raise OSError(errno.ELOOP, "a link there leads to itself")
        if target.exists() and not (target.is_file() or target.is_dir()):
            raise InputError(f"{path} is not a regular file: name one that can be replaced.")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "write-protected")
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if target.exists():
            with suppress(PermissionError):  # some file systems have one mode for all files
                shutil.copymode(target, temporary)
        os.replace(temporary, target)  # noqa: PTH105 - the name says that it overwrites
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder: name a file in it.") from error
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, in place of the one that may be there; missing folders are created.

    Args:
        path: Where to.
        content: Text, written as UTF-8, or bytes.

    Raises:
        InputError: It cannot be written; a file that was there is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def unwritable(path: Path, error: OSError, *, instead: str = "name another place") -> InputError:
    """Say in one sentence why something cannot be written, and what to do instead."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"The disk is full, so {path} could not be written: free some space or {instead}.")
    reason = (error.strerror or type(error).__name__).lower()
    return InputError(f"{path} cannot be written ({reason}): {instead}.")
