"""What a run says on the way: averages of the loss parts, as log lines and in metrics.csv."""

import contextlib
import csv
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from uamp_model.errors import CheckpointError

log = logging.getLogger(__name__)

COLUMNS = (
    *("step", "image_size", "num_frames", "lr", "grad_norm", "loss", "focal", "dice", "iou_error", "presence"),
    *("uncertainty", "prompted_box", "prompted_point", "prompted_points"),
    *("tracked_mask", "tracked_box", "tracked_point", "tracked_points", "seconds_per_step"),
)


class Averages:
    """Means since the last report; a part counts only the steps in which it applied.

    Values stay tensors until they are read, because reading one makes a GPU wait.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, parts: dict[str, Tensor]) -> None:
        """Take in one step's scalars."""
        for name, value in parts.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.detach()
            self._counts[name] += 1

    def take(self, accelerator: Accelerator) -> dict[str, float]:
        """The means so far over all processes, all of which must ask for them, and start anew."""
        names = list(self._sums)
        means = torch.stack([self._sums[name] / self._counts[name] for name in names])
        self._sums.clear()
        self._counts.clear()
        values: list[float] = accelerator.reduce(means, reduction="mean").tolist()
        return dict(zip(names, values, strict=True))


class MetricsFile:
    """metrics.csv: one row per report. Rows after the step that is resumed from are dropped first."""

    def __init__(self, path: Path, resumed_step: int) -> None:
        self._path = path
        rows = [row for row in _read_rows(path) if int(row["step"]) <= resumed_step] if resumed_step else []
        lines = [_line(COLUMNS), *(_line([row.get(name) or "" for name in COLUMNS]) for row in rows)]
        write_whole(path, "".join(lines))

    def append(self, values: dict[str, float]) -> None:
        """Add a row; what is no column is left out."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line([_cell(values[name]) if name in values else "" for name in COLUMNS]))
        except OSError as error:
            raise _unwritable(self._path, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder that something can be written to.

    Raises:
        CheckpointError: if that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written ({error.strerror or error}): choose another save_dir."
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it holds either what it held before or all of the text.

    Raises:
        CheckpointError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be written ({error.strerror or error}): make room there, then go on with --resume."
    )


def _cell(value: float) -> str:
    """Six digits, but all of a whole number: a resumed run finds its rows by their steps."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _line(cells: Sequence[str]) -> str:
    """A row of CSV; the names and numbers of which it is made need no quotes."""
    return ",".join(cells) + "\n"


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if (row.get("step") or "").isdigit()]


class Clock:
    """Seconds per step of late, and the time left."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds_per_step = 0.0

    def lap(self, steps: int) -> None:
        """Note that so many steps were done since the last lap."""
        now = time.perf_counter()
        self.seconds_per_step = (now - self._last) / max(1, steps)
        self._last = now

    def left(self, steps: int) -> str:
        """How long so many steps will take, as h:mm:ss."""
        minutes, seconds = divmod(int(self.seconds_per_step * steps), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02d}:{seconds:02d}"


def log_line(values: dict[str, float], total: int, left: str) -> str:
    """One report as a line."""
    told = ("loss", "focal", "dice", "presence", "uncertainty", "prompted", "tracked")
    shown = {name: value for name, value in values.items() if name.startswith(told)}
    parts = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
    rate = f"{values['seconds_per_step'] * 1000:.0f} ms/step"
    return f"step {int(values['step'])}/{total}  {parts}  lr {values['lr']:.2e}  {rate}  left {left}"
