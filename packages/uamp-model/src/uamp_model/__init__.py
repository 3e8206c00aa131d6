"""UAMP: a SAM 2 video tracker whose memory can be steered.

    from uamp_model import Prompt, load_tracker

    session = load_tracker("nano").start()
    result = session.step(first_frame, {1: Prompt.box(120, 80, 260, 300)})
    for frame in frames:
        result = session.step(frame)

Names are resolved on first use, so that importing this package (for its errors, say) does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uamp_model.catalog import MODELS, ModelSpec, find_model
    from uamp_model.core import FrameOutput, PromptBatch
    from uamp_model.errors import CheckpointError, DeviceError, InputError, UampError
    from uamp_model.load import load_tracker
    from uamp_model.preprocess import normalize
    from uamp_model.rehearsal import rehearse
    from uamp_model.sam2 import build_model
    from uamp_model.session import TrackingSession
    from uamp_model.tracker import VideoTracker
    from uamp_model.types import FrameResult, Prompt, Suggestion

_HOME = {
    "MODELS": "catalog",
    "ModelSpec": "catalog",
    "find_model": "catalog",
    "FrameOutput": "core",
    "PromptBatch": "core",
    "CheckpointError": "errors",
    "DeviceError": "errors",
    "InputError": "errors",
    "UampError": "errors",
    "load_tracker": "load",
    "normalize": "preprocess",
    "rehearse": "rehearsal",
    "build_model": "sam2",
    "TrackingSession": "session",
    "VideoTracker": "tracker",
    "FrameResult": "types",
    "Prompt": "types",
    "Suggestion": "types",
}

__all__ = [
    "MODELS",
    "CheckpointError",
    "DeviceError",
    "FrameOutput",
    "FrameResult",
    "InputError",
    "ModelSpec",
    "Prompt",
    "PromptBatch",
    "Suggestion",
    "TrackingSession",
    "UampError",
    "VideoTracker",
    "build_model",
    "find_model",
    "load_tracker",
    "normalize",
    "rehearse",
]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
