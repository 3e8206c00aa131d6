"""What tracking has found, frame by frame, on disk: memory does not grow with the video."""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from uamp_model.errors import InputError

from uamp_cli.tracking import Ids, Map, ObjectState, TrackedFrame

if TYPE_CHECKING:
    from uamp_data.frames import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One frame's result.

    Attributes:
        ids: H×W object of each pixel, 0 for none.
        doubt: H×W uncertainty, 255 for 1.
        objects: state of each object, by id.
    """

    ids: Ids
    doubt: Map
    objects: dict[int, ObjectState]

    def on(self, frame: "Frame") -> TrackedFrame:
        """The result together with its frame."""
        return TrackedFrame(frame.index, float(frame.time), frame.image, self.ids, self.objects, self.doubt)


class Results:
    """The results of one video in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="found-", dir=folder))
        self._objects: dict[int, dict[int, ObjectState]] = {}

    def __contains__(self, index: int) -> bool:
        return index in self._objects

    def __len__(self) -> int:
        return len(self._objects)

    def frames(self) -> list[int]:
        """The frames that were tracked, in order."""
        return sorted(self._objects)

    def object_ids(self) -> list[int]:
        """Every object that was found on some frame."""
        return sorted({object_id for objects in self._objects.values() for object_id in objects})

    def put(self, index: int, found: Found) -> None:
        """Keep one frame's result, in the place of an earlier one."""
        _write(self._folder / f"{index}.ids.png", found.ids)
        _write(self._folder / f"{index}.doubt.png", found.doubt)
        self._objects[index] = found.objects

    def get(self, index: int) -> Found | None:
        """One frame's result, None if there is none."""
        objects = self._objects.get(index)
        if objects is None:
            return None
        ids, doubt = _read(self._folder / f"{index}.ids.png"), _read(self._folder / f"{index}.doubt.png")
        # the pictures on disk still show objects that are not kept any more
        gone = (ids > 0) & ~np.isin(ids, list(objects))
        ids[gone] = doubt[gone] = 0
        return Found(ids, doubt, dict(objects))

    def keep(self, object_ids: Collection[int]) -> None:
        """Forget all objects but these."""
        for index, objects in self._objects.items():
            self._objects[index] = {i: state for i, state in objects.items() if i in object_ids}

    def clear(self) -> None:
        """Forget all."""
        for path in self._folder.glob("*.png"):
            path.unlink(missing_ok=True)
        self._objects.clear()


def _write(path: Path, values: Ids) -> None:
    # A reader on another thread sees the old picture or the new one, never half of one.
    _, encoded = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    part = path.with_suffix(".part")
    part.write_bytes(encoded.tobytes())
    part.replace(path)


def _read(path: Path) -> Ids:
    try:
        values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    except OSError:
        values = None
    if values is None:
        raise InputError("A temporary file of the page has disappeared: load the video again.")
    return np.asarray(values, np.uint8)
