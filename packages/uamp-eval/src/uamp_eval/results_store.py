"""Results on disk: a sequence's folder is whole or it is not there, and a record says what all of them were made with.

OUTPUT/<memory>/run.json                     the fingerprint
OUTPUT/<memory>/<sequence>/<frame>.png       object ids of the frames that the benchmark lists
OUTPUT/<memory>/<sequence>/calibration.json  how doubtful right and wrong pixels were, where the truth was at hand
OUTPUT/<memory>/.uamp-<token>.part/          a sequence in the making; leftovers of a killed run are removed
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uamp_model.errors import InputError

from uamp_eval.atomic import unwritable
from uamp_eval.calibration import CALIBRATION
from uamp_eval.fingerprint import Fingerprint, differences

RECORD = "run.json"
_PREFIX, _SUFFIX = ".uamp-", ".part"


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """The results of one memory setting.

    Attributes:
        path: OUTPUT/<memory>.
    """

    path: Path

    def check(self, fingerprint: Fingerprint) -> None:
        """Refuse a folder that cannot take the results of a run; nothing is written.

        Raises:
            InputError: if it holds results of other settings or files of another origin, or cannot be read.
        """
        with _written(self.path):
            stored = self._stored()
            if stored is not None:
                self._compare(stored, fingerprint)
            elif self.path.is_dir() and any(not _is_leftover(path) for path in self.path.iterdir()):
                raise InputError(
                    f"{self.path} holds files but no {RECORD} that says which settings they were made with: "
                    "choose another --output, or --overwrite."
                )

    def prepare(self, fingerprint: Fingerprint, *, overwrite: bool = False) -> None:
        """Make the folder ready for the results of a run, or for the rest of them.

        Args:
            fingerprint: of the run.
            overwrite: remove results that are there, whatever they were made with.

        Raises:
            InputError: if it holds results of other settings or files of another origin, or cannot be written.
        """
        if not overwrite:
            self.check(fingerprint)
        with _written(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            for leftover in [path for path in self.path.iterdir() if _is_leftover(path)]:
                shutil.rmtree(leftover, ignore_errors=True)
                leftover.unlink(missing_ok=True)
            if overwrite:
                # the results go before the record: a run killed here leaves none that the new record vouches for
                earlier = (self._stored() or {}).get("sequences")
                for name in {*fingerprint.sequences, *(earlier if isinstance(earlier, dict) else ())}:
                    self._discard(name)
            partial = self.path / f"{_PREFIX}{RECORD}{_SUFFIX}"
            partial.write_text(fingerprint.as_json(), encoding="utf-8")
            partial.replace(self.path / RECORD)

    def clear(self, sequences: Iterable[str]) -> None:
        """Remove the results of these sequences and the record; the folder goes too if nothing else is in it.

        Raises:
            InputError: if there are other files among the results, or they cannot be removed.
        """
        with _written(self.path):
            for sequence in sequences:
                self._discard(sequence)
            (self.path / RECORD).unlink(missing_ok=True)
            if self.path.is_dir() and not any(self.path.iterdir()):
                self.path.rmdir()

    def is_whole(self, sequence: str, frame_names: Sequence[str]) -> bool:
        """Whether a sequence has a mask for each of these frames and no other mask."""
        try:
            with os.scandir(self.path / sequence) as entries:
                found = {entry.name for entry in entries if entry.name.endswith(".png") and entry.stat().st_size > 0}
        except OSError:
            return False
        return found == {f"{name}.png" for name in frame_names}

    @contextmanager
    def new_sequence(self, sequence: str, frame_names: Sequence[str]) -> Iterator[Path]:
        """A folder to write a sequence's masks into, as <frame>.png.

        It gets its final name when the block ends; if the block fails, or the masks of some frames are missing at the
        end, nothing of it stays.

        Raises:
            InputError: if the folder cannot be written, or another process has meddled with it.
        """
        partial = self._hidden()
        try:
            with _written(partial):
                partial.mkdir()
            yield partial
            if not self.is_whole(partial.name, frame_names):
                raise InputError(
                    f"Masks of {sequence} vanished from {partial} while they were written: "
                    "let only one run at a time write to a folder."
                )
            with _written(self.path / sequence):
                self._discard(sequence)
                partial.rename(self.path / sequence)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _stored(self) -> dict[str, Any] | None:
        """The record beside the results, None if there is none that can be read."""
        try:
            stored = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return stored if isinstance(stored, dict) else None

    def _compare(self, stored: dict[str, Any], fingerprint: Fingerprint) -> None:
        videos, now = stored.get("sequences"), fingerprint.sequences
        if isinstance(videos, dict):
            there = {name for name in {*videos, *now} if (self.path / name).exists()}
            if not there:  # a run that ended in its first video has left a record, but nothing that it is about
                return
            # A video without results may have been mended since.
            kept = {name: video if name in there else now.get(name, video) for name, video in videos.items()}
            stored = stored | {"sequences": kept}
        different = differences(stored, fingerprint)
        if different:
            raise InputError(
                f"The results in {self.path} were made with other settings, namely {' and '.join(different)}: "
                "choose another --output, or --overwrite to replace them."
            )

    def _discard(self, sequence: str) -> None:
        """Remove a sequence's results, unless there is anything else among them."""
        folder = self.path / sequence
        if not is_plain_name(sequence) or not folder.exists():
            return
        foreign = folder.is_symlink() or not folder.is_dir()
        strange = folder if foreign else next((f for f in folder.iterdir() if not _is_ours(f)), None)
        if strange is not None:
            raise InputError(f"{strange} is not a result of uamp: move it away or choose another --output.")
        # Nobody may see it half-empty under its own name.
        doomed = self._hidden()
        folder.rename(doomed)
        shutil.rmtree(doomed)

    def _hidden(self) -> Path:
        """A new hidden name, whose length does not depend on the sequence's: that may be as long as names can be."""
        return self.path / f"{_PREFIX}{secrets.token_hex(6)}{_SUFFIX}"


def is_plain_name(name: str) -> bool:
    """Whether a sequence's or a frame's name can be that of a file in its folder: not hidden, and not elsewhere."""
    return Path(name).name == name and not name.startswith(".") and name != "" and "\0" not in name


def _is_leftover(path: Path) -> bool:
    """Of a run that was killed."""
    return path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)


def _is_ours(path: Path) -> bool:
    """Masks, what was collected beside them, and hidden files that file managers leave."""
    return not path.is_dir() and (path.suffix == ".png" or path.name == CALIBRATION or path.name.startswith("."))


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Say in one sentence why something cannot be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error, instead="choose another --output") from error
