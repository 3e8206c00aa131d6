"""What a run says on the way: averages of the loss parts, as log lines and in metrics.csv."""

import csv
import logging
import time
from collections import defaultdict
from pathlib import Path

from torch import Tensor

log = logging.getLogger(__name__)

COLUMNS = (
    *("step", "image_size", "num_frames", "lr", "grad_norm", "loss", "focal", "dice", "iou_error", "presence"),
    *("prompted_box", "prompted_point", "prompted_points"),
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

    def take(self) -> dict[str, float]:
        """The means so far, and start anew."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means


class MetricsFile:
    """metrics.csv: one row per report. Rows after the step that is resumed from are dropped first."""

    def __init__(self, path: Path, resumed_step: int) -> None:
        self._path = path
        rows = [row for row in _read_rows(path) if int(row["step"]) <= resumed_step] if resumed_step else []
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(path)

    def append(self, values: dict[str, float]) -> None:
        """Add a row; what is no column is left out."""
        row = {name: f"{values[name]:.6g}" for name in COLUMNS if name in values}
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, restval="").writerow(row)


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
    shown = {
        k: v for k, v in values.items() if k.startswith(("loss", "focal", "dice", "presence", "prompted", "tracked"))
    }
    parts = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
    rate = f"{values['seconds_per_step'] * 1000:.0f} ms/step"
    return f"step {int(values['step'])}/{total}  {parts}  lr {values['lr']:.2e}  {rate}  left {left}"
