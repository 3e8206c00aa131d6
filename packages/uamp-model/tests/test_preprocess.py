"""Frames are resized by torch as SAM 2's predictor resizes them by Pillow, on whatever device."""

import numpy as np
import pytest
import torch
from PIL import Image
from uamp_model.preprocess import STD, prepare_frame, resize_bytes


@pytest.fixture
def frame() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [64, 256, 448])
def test_torch_resizes_as_pillow_does(frame: np.ndarray, size: int) -> None:
    plain, fast = (prepare_frame(frame, size, plainly=plainly) for plainly in (True, False))
    apart = (plain - fast).abs() * torch.tensor(STD).view(3, 1, 1)
    assert apart.mean() < 0.25 / 255
    assert apart.max() < 4 / 255


def test_floats_of_a_gpu_are_rounded_as_bytes(frame: np.ndarray) -> None:
    pixels = torch.from_numpy(frame).permute(2, 0, 1).unsqueeze(0)
    of_bytes, of_floats = resize_bytes(pixels, 128), resize_bytes(pixels.float(), 128)
    assert torch.equal(of_floats, of_floats.round().clamp(0, 255))
    assert (of_bytes.float() - of_floats).abs().mean() < 0.25
