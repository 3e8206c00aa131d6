"""A tiny source of clips: bright blobs that move over noise."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from uamp_train.config import TrainConfig
from uamp_train.config_loading import parse_config


@dataclass(frozen=True)
class BlobClip:
    frames: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]


class Blobs:
    """Clips of two moving discs; disc 2 leaves the picture in odd clips, void surrounds disc 1 in every third."""

    def __len__(self) -> int:
        return 8

    def clip(self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4) -> BlobClip:
        y, x = np.mgrid[:size, :size] / size
        stride = int(rng.integers(1, max_stride + 1))
        frames = rng.integers(0, 80, (num_frames, size, size, 3)).astype(np.uint8)
        masks = np.zeros((num_frames, size, size), np.uint8)
        speed = 1.0 if index % 2 else 0.03
        for t in range(num_frames):
            one = np.hypot(x - 0.3 - 0.02 * stride * t, y - 0.3)
            if index % 3 == 0:
                masks[t][one < 0.2] = 255
            masks[t][one < 0.15] = 1
            masks[t][np.hypot(x - 0.7, y - 0.7 - speed * t) < 0.12] = 2
            frames[t][masks[t] == 1] = (220, 60, 60)
            frames[t][masks[t] == 2] = (60, 220, 60)
        return BlobClip(frames, masks)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., TrainConfig]:
    """Makes configurations of the smallest run of nano; keywords are keys."""
    return lambda **values: tiny_config(tmp_path, **values)


def tiny_config(save_dir: Path, **values: object) -> TrainConfig:
    return parse_config(
        {
            "save_dir": str(save_dir),
            "device": "cpu",
            "threads": 1,
            "stages": [{"steps": 3, "image_size": 64, "num_frames": 2, "batch_size": 2}],
            "still_share": 0.3,
            "true_presence": True,
            "lr": 1e-3,
            "warmup_steps": 2,
            "log_interval": 1,
            **values,
        }
    )
