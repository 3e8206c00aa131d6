"""Checks, before any work, of the paths that a command is to write to."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from uamp_model.errors import InputError

from uamp_cli.tracking import TrackedFrame

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
            _check_folder(path, option)
        else:
            if path.is_dir():
                raise InputError(f"{option} {path} is a folder: name a file in it.")
            _check_folder(path.parent, option)


def _check_folder(folder: Path, option: str) -> None:
    """Create the folder if need be and try to write in it: permissions alone do not tell."""
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


class FrameRecords:
    """Per-frame results on their way into the JSON report; they wait on disk, so that long videos need no memory."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "per_frame.jsonl").open("w+", encoding="utf-8")
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, frame: TrackedFrame) -> None:
        """Note one frame."""
        record = {
            "frame": frame.index,
            "time": frame.time,
            "objects": {
                str(object_id): {
                    "box": list(state.box) if state.box is not None else None,
                    "area": state.area,
                    "score": state.score,
                    "uncertainty": state.uncertainty,
                }
                for object_id, state in frame.objects.items()
            },
        }
        if self.count:
            self._file.write(",\n")
        self._file.write(json.dumps(record))
        self.count += 1

    def save(self, path: Path, summary: Mapping[str, Any]) -> None:
        """Write the report: the summary's keys, then `per_frame`. The file appears only when it is whole."""
        self._file.seek(0)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(json.dumps(dict(summary), indent=1).removesuffix("\n}"))
                out.write(',\n "per_frame": [\n')
                shutil.copyfileobj(self._file, out)
                out.write("\n]}\n")
            part.chmod(0o644)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
