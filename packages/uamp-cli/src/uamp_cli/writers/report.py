"""The JSON report."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from uamp_cli.tracking import TrackedFrame
from uamp_cli.writers.files import AtomicText, Spool


class JsonReport:
    """The summary's keys, then `per_frame`: box, area, score and uncertainty of every object."""

    note: str | None = None

    def __init__(self, path: Path, summary: Callable[[], Mapping[str, Any]]) -> None:
        """Start the report; `summary` is asked when it is closed. The path `-` means stdout."""
        self.path = path
        self._summary = summary
        self._text = AtomicText(path)
        self._records = Spool(path)

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
        self._records.add(json.dumps(record))

    def close(self) -> Path:
        """Write the summary and the frames."""
        with self._records:
            head = json.dumps(dict(self._summary()) | {"per_frame": []}, indent=1)
            self._text.write(head.removesuffix("]\n}") + "\n")
            self._records.copy_to(self._text)
            self._text.write("\n]}\n")
        return self._text.close()

    def abort(self) -> None:
        """Discard it."""
        self._records.close()
        self._text.abort()
