"""Videos made of label maps, and readers of results, for tests and for the processes that score them."""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tiny_videos import read_mask, write_mask
from uamp_eval.sequences import Ids, Image


@dataclass(frozen=True, eq=False)
class LabelVideo:
    """A grey video with the truth given as T×H×W ids; satisfies `VideoSequence`."""

    name: str
    truth: Ids
    prompts: Mapping[int, Sequence[int]] = field(default_factory=lambda: {0: [1]})
    listed_every: int = 1

    @property
    def frame_names(self) -> Sequence[str]:
        return [f"{frame:05d}" for frame in range(len(self.truth))]

    @property
    def annotated(self) -> Sequence[int]:
        return range(0, len(self.truth), self.listed_every)

    @property
    def listed(self) -> Sequence[int]:
        return self.annotated

    def annotation(self, frame: int) -> Ids:
        ids: Ids = self.truth[frame]
        return ids

    def image(self, frame: int) -> Image:
        return np.full((*self.truth[frame].shape, 3), 120, np.uint8)


def random_labels(seed: int, frames: int, size: tuple[int, int], objects: int) -> Ids:
    """Draw rectangles that come, go, overlap and touch the border; T×H×W ids."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((frames, *size), np.uint8)
    for frame in labels:
        for number in range(1, objects + 1):
            if rng.random() < 0.2:
                continue
            (top, left), (height, width) = rng.integers(0, size), rng.integers(1, (size[0] // 2, size[1] // 2))
            frame[top : top + height, left : left + width] = number
    return labels


def write_results(folder: Path, name: str, labels: Ids) -> None:
    """Write label maps as the masks of one video."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    for frame, ids in enumerate(labels):
        write_mask(folder / name / f"{frame:05d}.png", ids)


def die(path: Path) -> Ids:
    """Read a mask; the process that asks for the one of frame 2 ends at once, as when memory runs out."""
    if path.stem == "00002":
        os._exit(9)
    return read_mask(path)


def interrupt(path: Path) -> Ids:
    """Read a mask; the first time, the person at the terminal presses Ctrl-C, which all processes hear."""
    with contextlib.suppress(FileExistsError):
        Path("pressed").mkdir()
        os.killpg(0, signal.SIGINT)
    return read_mask(path)


def kill_parent(path: Path) -> Ids:
    """Read a mask; the first time, the process that started this one is killed."""
    with contextlib.suppress(FileExistsError):
        Path("pressed").mkdir()
        os.kill(os.getppid(), signal.SIGKILL)
    return read_mask(path)
