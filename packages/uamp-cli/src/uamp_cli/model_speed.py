"""How fast a model is on this machine, measured on a few frames with random weights, which do not change the speed."""

import time
from dataclasses import dataclass

import numpy as np

_HEIGHT, _WIDTH = 480, 854
_MOST_FRAMES, _MOST_SECONDS = 8, 6.0
_WARM_UP_ON_GPU = 20
"""Frames until memory is full and CUDA graphs of what is computed again and again are recorded."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one object is tracked: with full memory on a GPU, not yet full on a CPU, where a frame can take long.

    Attributes:
        frames_per_second: tracking alone, without reading and writing video.
        frames: how many it was measured on.
        device: where.
        dtype: in what.
    """

    frames_per_second: float
    frames: int
    device: str
    dtype: str


def measure_speed(name: str, device: str = "auto") -> Speed:
    """Track noise with untrained weights for a few seconds; a large model on a CPU takes two frames.

    Raises:
        UampError: if there is no such model or device.
    """
    from uamp_model import Prompt
    from uamp_model.devices import choose_device, choose_dtype
    from uamp_model.sam2 import build_model
    from uamp_model.tracker import VideoTracker

    place = choose_device(device)
    model = build_model(name).requires_grad_(False).to(place)
    dtype = choose_dtype("auto", place, image_size=model.image_size)
    session = VideoTracker(model, name=name, memory="sam2", dtype=dtype).start()
    frame = np.random.default_rng(0).integers(0, 255, (_HEIGHT, _WIDTH, 3), np.uint8)
    session.step(frame, {1: Prompt.box(200, 100, 600, 400)})
    for _ in range(_WARM_UP_ON_GPU if place.type == "cuda" else 0):
        session.step(frame).masks.cpu()
    took: list[float] = []
    while len(took) <= _MOST_FRAMES and sum(took) < _MOST_SECONDS:
        began = time.monotonic()
        session.step(frame).masks.cpu()  # waits for the device
        took.append(time.monotonic() - began)
    counted = took[1:] or took  # the first warms up, but is all there is where a frame takes that long
    return Speed(len(counted) / sum(counted), len(counted), str(place), str(dtype).removeprefix("torch."))
