"""Folders of pictures, one for each frame, named after its number."""

from pathlib import Path

import cv2
from uamp_data.masks import write_mask
from uamp_data.words import counted

from uamp_cli.tracking import TrackedFrame
from uamp_cli.writers.files import AtomicFolder
from uamp_cli.writers.videos import cut_out

_QUICKLY = [cv2.IMWRITE_PNG_COMPRESSION, 3]


class _PngFolder:
    """PNGs in a folder, which may hold others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = AtomicFolder(path)

    @property
    def note(self) -> str | None:
        others = sum(1 for path in self.path.glob("*.png")) - len(self._folder.names)
        return f"{self.path} also holds {counted(others, 'PNG')} that this run did not write" if others > 0 else None

    def add(self, frame: TrackedFrame) -> None:
        self._folder.add(f"{frame.index:05d}.png", lambda path: self._write(frame, path))

    def close(self) -> Path:
        return self._folder.close()

    def abort(self) -> None:
        self._folder.abort()

    def _write(self, frame: TrackedFrame, path: Path) -> None:
        raise NotImplementedError


class MaskFolder(_PngFolder):
    """Palette PNGs in the DAVIS colours whose index is the object."""

    def _write(self, frame: TrackedFrame, path: Path) -> None:
        write_mask(path, frame.ids)


class CutoutFolder(_PngFolder):
    """RGBA PNGs of the objects alone; everything else is transparent, and black underneath."""

    def _write(self, frame: TrackedFrame, path: Path) -> None:
        picture = cut_out(frame.image, frame.ids)
        _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA), _QUICKLY)
        path.write_bytes(encoded.tobytes())
