"""Writes files that appear complete or not at all."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from uamp_model.errors import InputError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, in place of the one that may be there; missing folders are created.

    Args:
        path: Where to.
        content: Text, written as UTF-8, or bytes.

    Raises:
        InputError: It cannot be written; a file that was there is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    # In the same folder, because only a rename within one file system is atomic.
    temporary = path.with_name(f".uamp-{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)  # noqa: PTH105 - the name says that it overwrites
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _unwritable(path: Path, error: OSError) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"The disk is full, so {path} could not be written: free some space or name another place.")
    if error.errno == errno.EISDIR:
        return InputError(f"{path} is a folder: name a file in it.")
    reason = (error.strerror or type(error).__name__).lower()
    return InputError(f"{path} cannot be written ({reason}): name another place.")
