"""Checks, before any work, of the paths that a command is to write to."""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from uamp_model.errors import InputError

FOLDER_OPTIONS = ("--save-masks", "--save-cutout")


def check_outputs(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Make sure that every output can be written and none of them is an input or another output.

    Args:
        outputs: option → path; those of `FOLDER_OPTIONS` name a folder.
        inputs: option → path of what is read.

    Raises:
        InputError: if a path cannot be used.
    """
    taken = {path.resolve(): option for option, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        where = path.resolve()
        for other, name in taken.items():
            if where == other or (option in FOLDER_OPTIONS and where == other.parent and name == "--mask"):
                raise InputError(f"{option} {path} would overwrite {name} {other.name}: write somewhere else.")
        taken[where] = option
        if option in FOLDER_OPTIONS:
            _check_folder(path, option, keep=False)
        else:
            if path.is_dir():
                raise InputError(f"{option} {path} is a folder: name a file in it.")
            _check_folder(path.parent, option)


def _check_folder(folder: Path, option: str, *, keep: bool = True) -> None:
    """Create the folder if need be and try to write in it: permissions alone do not tell.

    Without `keep`, what was created is removed again.
    """
    missing = [] if keep else [path for path in (folder, *folder.parents) if not path.exists()]
    try:
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
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
