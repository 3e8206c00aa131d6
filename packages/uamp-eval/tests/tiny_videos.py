"""Small generated videos with the truth, for tests and for the processes they start."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from uamp_eval.sequences import Ids, Image


@dataclass(frozen=True)
class TinyVideo:
    """Discs that move over a textured ground; satisfies `VideoSequence`.

    Attributes:
        name: also the seed.
        length: T.
        size: height and width.
        enters: by object id, the frame in which it appears and is given.
        listed_every: 1 lists all frames; 5 every fifth, and those in which objects enter.
    """

    name: str
    length: int = 4
    size: tuple[int, int] = (48, 64)
    enters: Mapping[int, int] = field(default_factory=lambda: {1: 0})
    listed_every: int = 1

    @property
    def frame_names(self) -> Sequence[str]:
        return [f"{frame:05d}" for frame in range(self.length)]

    @property
    def prompts(self) -> Mapping[int, Sequence[int]]:
        frames = sorted(set(self.enters.values()))
        return {frame: [i for i, start in self.enters.items() if start == frame] for frame in frames}

    @property
    def annotated(self) -> Sequence[int]:
        return self.listed

    @property
    def listed(self) -> Sequence[int]:
        return sorted({*range(0, self.length, self.listed_every), *self.enters.values()} & set(range(self.length)))

    def annotation(self, frame: int) -> Ids:
        height, width = self.size
        y, x = np.mgrid[:height, :width]
        ids = np.zeros(self.size, np.uint8)
        radius = min(height, width) / 5
        for place, (object_id, start) in enumerate(sorted(self.enters.items())):
            if frame < start:
                continue
            middle = height * (0.3 + 0.4 * (place % 2)), width * (0.25 + 0.3 * place) + frame
            ids[(y - middle[0]) ** 2 + (x - middle[1]) ** 2 <= radius**2] = object_id
        return ids

    def image(self, frame: int) -> Image:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        picture = rng.integers(40, 110, (*self.size, 3), dtype=np.uint8)
        colours = rng.integers(150, 255, (256, 3), dtype=np.uint8)
        ids = self.annotation(frame)
        picture[ids > 0] = colours[ids[ids > 0]]
        return picture


def write_mask(path: Path, ids: Ids) -> None:
    """Write ids as a palette PNG."""
    picture = Pictures.fromarray(ids)
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(path)


def read_mask(path: Path) -> Ids:
    """Read what `write_mask` wrote."""
    with Pictures.open(path) as picture:
        return np.array(picture, dtype=np.uint8)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder by relative path, also hidden ones."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


MANY = (
    TinyVideo("bear", length=4),
    TinyVideo("cows", length=6, enters={1: 0, 3: 2}),
    TinyVideo("dogs", length=5, size=(40, 52), enters={2: 1}),
)
