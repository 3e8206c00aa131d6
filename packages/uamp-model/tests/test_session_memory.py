"""A session needs as much memory after hundreds of frames as after a hundred; of thousands: test_soak.py."""

import gc

import numpy as np
import psutil
import pytest
import torch
from uamp_model import Prompt, TrackingSession, VideoTracker
from uamp_model.sam2 import Sam2, build_model

BOX = Prompt.box(20, 20, 90, 70)


def resident_megabytes() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def watch(model: Sam2, settled: int, frames: int) -> tuple[TrackingSession, float]:
    """A session after so many frames, and how much memory those after the first `settled` took."""
    rng = np.random.default_rng(0)
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
    return session, resident_megabytes() - before


# keeping the smallest thing that a frame makes, its 160×120 mask of a byte a pixel, would cost 19 MB per 1,000 frames
@pytest.mark.timeout(1200)
def test_a_long_video_needs_no_more_memory_than_a_short_one() -> None:
    torch.manual_seed(0)
    model = build_model("nano", image_size=64)
    # oneDNN keeps a kernel for every shape that it meets, on some CPUs 90 kB for each frame until no prompt is new; so
    # it meets them all before, in a session that lives on, lest the next one grow into what it leaves
    known, _ = watch(model, settled=100, frames=300)
    _, growth = watch(model, settled=100, frames=300)
    assert known.frame_index == 299
    assert growth < 4.0
