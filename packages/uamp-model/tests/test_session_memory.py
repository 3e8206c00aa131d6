"""A session needs as much memory after thousands of frames as after a few hundred."""

import gc

import numpy as np
import psutil
import pytest
import torch
from uamp_model import Prompt, VideoTracker
from uamp_model.sam2 import build_model

BOX = Prompt.box(20, 20, 90, 70)


def resident_megabytes() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


# keeping the smallest thing that a frame makes, its 160×120 mask of a byte a pixel, would cost 19 MB per 1,000 frames
@pytest.mark.parametrize(
    ("settled", "frames", "growth_allowed"),
    [(100, 300, 4.0), pytest.param(200, 2000, 8.0, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_a_long_video_needs_no_more_memory_than_a_short_one(settled: int, frames: int, growth_allowed: float) -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = build_model("nano", image_size=64)
    session = VideoTracker(model, name="nano").start()
    before = 0.0
    for index in range(frames):
        frame = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
        prompts = {1: BOX} if index == 0 else {}
        if index % 50 == 10:  # people add objects, prompt them again, correct them and take them away
            prompts = {1: BOX, 2: BOX}
        session.step(frame, prompts)
        if index % 50 == 20:
            session.correct({1: Prompt.points([[40, 40]])})
        if index % 50 == 30:
            session.remove(2)
        if index + 1 == settled:
            before = resident_megabytes()
    assert resident_megabytes() - before < growth_allowed
