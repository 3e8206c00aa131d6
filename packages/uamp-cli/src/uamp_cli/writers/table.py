"""A table for spreadsheets and data frames."""

import csv
from pathlib import Path
from typing import Any

from uamp_cli.tracking import TrackedFrame
from uamp_cli.writers.files import AtomicText

COLUMNS = ("frame", "time", "object", "left", "top", "right", "bottom", "area", "score", "uncertainty")


class CsvFile:
    """A row for each frame and object, with a header; cells of an object that is not seen are empty, its area is 0."""

    note: str | None = None

    def __init__(self, path: Path) -> None:
        """Start the table."""
        self.path = path
        self._text = AtomicText(path)
        self._rows: Any = csv.writer(self._text, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def add(self, frame: TrackedFrame) -> None:
        """Add the rows of one frame."""
        for object_id, state in frame.objects.items():
            box = state.box if state.box is not None else ("",) * 4
            doubt = "" if state.uncertainty is None else state.uncertainty
            self._rows.writerow([frame.index, frame.time, object_id, *box, state.area, state.score, doubt])

    def close(self) -> Path:
        """Put it in place."""
        return self._text.close()

    def abort(self) -> None:
        """Discard it."""
        self._text.abort()
