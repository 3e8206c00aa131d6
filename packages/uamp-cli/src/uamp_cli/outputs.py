"""Checks, before any work, of the paths that a command is to write to."""

import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from uamp_model.errors import InputError

from uamp_cli.terminal import STDOUT

FOLDER_OPTIONS = ("--save-masks", "--save-cutout")
"""They write 00000.png and so on into a folder."""
_NUMBERED = re.compile(r"\d{5,}")
_DATA_KINDS = (".jpg", ".jpeg", ".png", ".txt")
_DATA_NAMES = ("meta.json", "run.json")
"""YouTube-VOS's index, and what `uamp eval` knows its own results by."""


def check_outputs(
    outputs: Mapping[str, Path | None],
    inputs: Mapping[str, Path | None],
    files: Mapping[str, Sequence[Path]] | None = None,
    *,
    data: Sequence[Path] = (),
) -> None:
    """Make sure that every output can be written and none of them is an input or another output.

    Args:
        outputs: option → path; those of `FOLDER_OPTIONS` name a folder.
        inputs: option → path of what is read.
        files: option → what else is read because of it, such as the pictures of a folder.
        data: folders of data sets and of results.

    Raises:
        InputError: if a path cannot be used.
    """
    read = [(option, path) for option, path in inputs.items() if path is not None]
    read += [(option, path) for option, paths in (files or {}).items() for path in paths]
    taken = {_resolved(path, option): option for option, path in read}
    pictures = {w.parent: w for w, option in taken.items() if option == "--mask" or w.suffix.lower() == ".png"}
    for option, path in outputs.items():
        if path is None:
            continue
        if path == STDOUT:
            raise InputError(f"{option} - would make a file called -: name one, such as out.json.")
        where = _resolved(path, option)
        lost = where if where in taken else pictures.get(where) if option in FOLDER_OPTIONS else None
        if lost is not None:
            raise InputError(f"{option} {path} would overwrite {taken[lost]} {lost.name}: write somewhere else.")
        if any(_is_part(where, folder) for folder in data):
            raise InputError(f"{option} {path} would overwrite a part of the data set: write somewhere else.")
        taken[where] = option
        if option in FOLDER_OPTIONS:
            _check_folder(path, option)
            _check_names(path, option)
        else:
            _check_file(path, option)
            _check_folder(where.parent if path.is_symlink() else path.parent, option)
    _check_pictures(taken)


def check_ending(option: str, path: Path | None, endings: Sequence[str]) -> None:
    """Raise InputError if the file's name does not end as its format does."""
    if path is not None and path.suffix.lower() not in endings:
        raise InputError(f"{option} {path} must end in {' or '.join(endings)}: choose such a name.")


def _check_pictures(taken: Mapping[Path, str]) -> None:
    """Raise InputError if a file would be one of the numbered pictures of a folder."""
    for path, option in taken.items():
        folder = taken.get(path.parent)
        if folder in FOLDER_OPTIONS and path.suffix.lower() == ".png" and _NUMBERED.fullmatch(path.stem):
            raise InputError(
                f"{option} {path.name} would take the place of a picture of {folder}: choose another name."
            )


def _is_part(path: Path, folder: Path) -> bool:
    """Whether a file is one of those that a data set consists of; others may lie in its folder, too."""
    kind = path.suffix.lower() in _DATA_KINDS or path.name in _DATA_NAMES
    return kind and path.is_relative_to(folder.resolve()) and path.is_file()


def _resolved(path: Path, option: str) -> Path:
    try:
        # `Path.resolve` raises for a link to itself, but only before Python 3.13
        resolved = Path(os.path.realpath(path))
    except FileNotFoundError as error:
        raise InputError(f"{option} {path} cannot be used, since the current folder is gone: go to another.") from error
    if any(part.is_symlink() for part in (resolved, *resolved.parents)):
        raise InputError(f"{option} {path} cannot be used, a link there leads to itself: choose another one.")
    return resolved


def _check_file(path: Path, option: str) -> None:
    """Raise InputError if a folder or something special is there, or it is where the command prints to.

    A file that took the place of a device, of a pipe or of the file that a shell sends the output to would destroy it.
    Where nothing can be found out, `_check_folder` decides.
    """
    with suppress(OSError):
        there = path.stat()
        if stat.S_ISDIR(there.st_mode):
            raise InputError(f"{option} {path} is a folder: name a file in it.")
        if any(_is_stream(there, number) for number in (1, 2)):
            raise InputError(
                f"{option} {path} is where the command prints: name a file of its own; "
                "`uamp demo` prints JSON, COCO or CSV if - is named."
            )
        if not stat.S_ISREG(there.st_mode):
            raise InputError(f"{option} {path} is not a regular file: name one that can be replaced.")
        if not os.access(path, os.W_OK):
            raise InputError(f"{option} {path} is write-protected: name another file.")


def _is_stream(there: os.stat_result, number: int) -> bool:
    """Whether a file is where standard output (1) or the standard error (2) leads."""
    with suppress(OSError):
        return os.path.samestat(there, os.fstat(number))
    return False


def _check_names(folder: Path, option: str) -> None:
    """Raise InputError if a picture's name is taken by what a file cannot replace."""
    for path in folder.glob("*.png"):
        if _NUMBERED.fullmatch(path.stem) and path.exists() and not path.is_file():
            raise InputError(f"{option} cannot write {path}, where no file is: move that or choose another folder.")


def _check_folder(folder: Path, option: str) -> None:
    """Try to write in a folder, as permissions alone do not tell; one that is made for that is removed again."""
    try:
        with no_empty_folders(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{option} cannot be written because {folder} is not a folder: choose another one.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"{option} cannot be written to the folder {folder} ({reason}): choose another one."
        ) from error


@contextmanager
def no_empty_folders(folder: Path) -> Iterator[None]:
    """At the end, remove the folder and those above it if they were made in the block and are empty."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in new:
            with suppress(OSError):  # it holds something, or was never made
                path.rmdir()
