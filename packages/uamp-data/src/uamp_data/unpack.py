"""Unpacking archives of strangers: nothing lands outside the folder, and a damaged archive leaves nothing behind."""

from __future__ import annotations

import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from uamp_data.atomic import TEMPORARY_SUFFIX, unwritable
from uamp_data.download import require_space
from uamp_data.errors import DataError

_BLOCK_BYTES: Final = 1 << 20
_MOST_GROWTH: Final = 100
"""Pictures hardly shrink in an archive; what grows a hundredfold was made to fill the disk."""

_ALWAYS_ALLOWED_BYTES: Final = 1 << 26
_ENCRYPTED: Final = 0x1
_IGNORED: Final = ("__MACOSX", ".DS_Store")


@contextmanager
def unpacked(archive: Path, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Iterator[Path]:
    """Unpacks a ZIP archive into a temporary folder, which is removed at the end of the block.

    Args:
        archive: The file.
        folder: Where the temporary folder is created, so that what it holds can be moved without being copied.
        progress: Told the bytes written so far and in all.

    Yields:
        The temporary folder.

    Raises:
        DataError: The archive is damaged, encrypted or no ZIP file; a name in it is absolute, leads out of the folder,
            occurs twice or names a link; or the disk is full.
    """
    temporary = folder / f".uamp-{secrets.token_hex(6)}{TEMPORARY_SUFFIX}"
    try:
        with _opened(archive) as file:
            members = [(info, _safe_parts(archive, info)) for info in file.infolist() if not _is_ignored(info)]
            total = _total_size(archive, members)
            try:
                temporary.mkdir(parents=True)
                require_space(folder, total)
                done = 0
                for info, parts in members:
                    for size in _write_member(file, info, temporary.joinpath(*parts)):
                        done += size
                        if progress is not None:
                            progress(done, total)
            except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                raise DataError(f"The archive {archive} holds two files of one name: get it from elsewhere.") from error
            except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
                raise _damaged(archive) from error
            except OSError as error:
                raise unwritable(folder, error) from error
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def merge_tree(source: Path, target: Path) -> None:
    """Moves everything in one folder into another; files of the same name are replaced, others stay.

    Raises:
        DataError: A file is in the place of a folder or the other way round, or the target cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            there = target / entry.name
            if entry.is_dir() and there.is_dir():
                merge_tree(entry, there)
            elif there.exists() and entry.is_dir() != there.is_dir():
                kind = "file" if entry.is_dir() else "folder"
                raise DataError(f"{there} is a {kind} in the place of what is unpacked: move it away.")
            else:
                shutil.move(entry, there)
    except OSError as error:
        raise unwritable(target, error) from error


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        file = zipfile.ZipFile(archive)
    except FileNotFoundError as error:
        raise DataError(f"The archive {archive} does not exist: check the path.") from error
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(archive) from error
    with file:
        yield file


def _is_ignored(info: zipfile.ZipInfo) -> bool:
    parts = info.filename.split("/")
    return parts[0] == _IGNORED[0] or parts[-1] == _IGNORED[1]


def _safe_parts(archive: Path, info: zipfile.ZipInfo) -> tuple[str, ...]:
    """The folders and the name of a member, or an error if it could land anywhere else."""
    name = info.filename
    # orig_filename is what the archive says, before zipfile cuts it at a NUL or swaps separators
    if any(character in info.orig_filename for character in ("\\", ":", "\0")) or name.startswith("/"):
        raise _hostile(archive, info)
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if not parts or ".." in parts:
        raise _hostile(archive, info)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f"The archive {archive} holds the link or device {name!r}: get the data set from elsewhere.")
    if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"The archive {archive} is encrypted or packed unusually: get the data set from elsewhere.")
    return parts


def _total_size(archive: Path, members: list[tuple[zipfile.ZipInfo, tuple[str, ...]]]) -> int:
    total = sum(info.file_size for info, _ in members)
    if total > max(_ALWAYS_ALLOWED_BYTES, _MOST_GROWTH * archive.stat().st_size):
        raise DataError(f"The archive {archive} would grow to {total / 1e9:.1f} GB: get the data set from elsewhere.")
    return total


def _write_member(file: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> Iterator[int]:
    """Writes one member and yields the size of each block."""
    if info.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # a plain new file: the archive has no say in permissions, and "x" refuses a name that occurs twice
    with file.open(info) as source, target.open("xb") as out:
        while block := source.read(_BLOCK_BYTES):
            out.write(block)
            yield len(block)


def _hostile(archive: Path, info: zipfile.ZipInfo) -> DataError:
    return DataError(
        f"The archive {archive} holds the name {info.orig_filename!r}, which leads out of its folder: get the data set "
        "from elsewhere."
    )


def _damaged(archive: Path) -> DataError:
    return DataError(f"The archive {archive} is damaged or no ZIP file: delete it and download it again.")
