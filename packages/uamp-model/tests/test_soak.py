"""A session's memory does not depend on how long it has been running."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from uamp_model.sam2 import build_model
from uamp_model.tracker import VideoTracker
from uamp_model.types import Prompt

SIZE = 64
STATM = Path("/proc/self/statm")


def resident_mib() -> float:
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not STATM.exists(), reason="this system does not say how much memory a process has")
@pytest.mark.parametrize("budget", [1.0, 0.25])
def test_ten_thousand_frames(budget: float) -> None:
    torch.manual_seed(0)
    tracker = VideoTracker(build_model("nano", image_size=SIZE), name="nano", memory="sam2", memory_budget=budget)
    session = tracker.start()
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 255, (32, 48, 64, 3)).astype(np.uint8)
    after: dict[int, float] = {}
    for index in range(10_000):
        prompts = {}
        if index % 250 == 0:  # every now and then an object comes, and the oldest of three goes
            prompts = {1 + index // 250: Prompt.box(*rng.integers(0, 20, 2), *rng.integers(30, 45, 2))}
        if len(session.objects) == 3 and prompts:
            session.remove(next(iter(session.objects)))
        session.step(pool[index % len(pool)], prompts)
        if index % 90 == 89:
            session.correct({next(iter(session.objects)): Prompt.points([[30, 20]], [index % 2])})
        if index in (999, 9_999):
            after[index] = resident_mib()
    # three objects of this size remember less than 1 MiB; a session that kept each frame would hold hundreds
    assert after[9_999] - after[999] < 16
