"""The sam2 package's own video predictor on our weights, to be measured against. Nothing that tracks uses it."""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from hydra.utils import instantiate
from PIL import Image
from torch import Tensor

from uamp_model.devices import autocast
from uamp_model.errors import InputError
from uamp_model.sam2 import model_config
from uamp_model.types import BOX_CORNER_0, Prompt

_PREDICTOR = "sam2.sam2_video_predictor.SAM2VideoPredictor"
_COMPILED_PREDICTOR = "sam2.sam2_video_predictor.SAM2VideoPredictorVOS"

CompileMode = Literal["max-autotune", "reduce-overhead", "default"]
"""How much torch tries, from the most to the least, see `torch.compile`; the package asks for the first."""
Seen = tuple[tuple[int, ...], Tensor]
"""Object ids and their N×H×W bool masks on a frame."""


class ReferencePredictor:
    """`SAM2VideoPredictor` without its postprocessing, as benchmarks use it.

    Args:
        name: a model of the catalog.
        weights: its state.
        device: where to compute.
        dtype: what to compute in.
        compiled: take the package's `SAM2VideoPredictorVOS`, whose parts are compiled for CUDA, and how.
        image_size: another side of the square that frames are resized to than the model's own, pixels.
    """

    def __init__(
        self,
        name: str,
        weights: Mapping[str, Tensor],
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        compiled: CompileMode | None = None,
        image_size: int | None = None,
    ) -> None:
        if compiled is not None and device.type != "cuda":
            raise InputError("The compiled predictor of the sam2 package needs a CUDA device: leave it out here.")
        predictor = _make_predictor(name, compiled, image_size)
        predictor.load_state_dict(dict(weights))
        self._predictor: Any = predictor.eval().requires_grad_(False).to(device)
        self.device = device
        self.dtype = dtype

    @contextlib.contextmanager
    def open(self, frames: Sequence[npt.NDArray[np.uint8]], prompts: Mapping[int, Prompt]) -> Iterator[Iterator[Seen]]:
        """Load a video, prompt its first frame, and give an iterator that tracks a frame at each step.

        The predictor reads its frames from files and keeps them all, so that they are written to a temporary folder.

        Yields:
            An iterator of (object ids, N×H×W bool masks); the first is that of the prompted frame.
        """
        with tempfile.TemporaryDirectory(prefix="uamp-") as name, torch.inference_mode():
            folder = Path(name)
            for index, frame in enumerate(frames):
                # it only looks at the name's ending, so that pixels can be stored without loss
                Image.fromarray(frame).save(folder / f"{index}.jpg", format="PNG", compress_level=1)
            with contextlib.redirect_stderr(io.StringIO()), autocast(self.device, self.dtype):
                state = self._predictor.init_state(str(folder))
                for object_id, prompt in prompts.items():
                    self._prompt(state, object_id, prompt)
            yield self._track(state)

    def _track(self, state: Any) -> Iterator[Seen]:
        steps = self._predictor.propagate_in_video(state, start_frame_idx=0)
        while True:
            # contexts are left between steps: others work in this thread meanwhile
            with contextlib.redirect_stderr(io.StringIO()), torch.inference_mode(), autocast(self.device, self.dtype):
                found = next(steps, None)
                if found is None:
                    return
                _, ids, logits = found
                masks = logits[:, 0] > 0
            yield tuple(ids), masks

    def _prompt(self, state: Any, object_id: int, prompt: Prompt) -> None:
        if prompt.region is not None:
            self._predictor.add_new_mask(state, 0, object_id, prompt.region)
            return
        corners = 2 if prompt.labels[0] == BOX_CORNER_0 else 0
        box = prompt.xy[:2].reshape(4) if corners else None
        points = (prompt.xy[corners:], prompt.labels[corners:]) if len(prompt.labels) > corners else (None, None)
        self._predictor.add_new_points_or_box(state, 0, object_id, points=points[0], labels=points[1], box=box)


def _make_predictor(name: str, compiled: CompileMode | None, image_size: int | None = None) -> Any:
    """The package's predictor of a model of the catalog, or its compiled one."""
    config = model_config(name, image_size=image_size)
    config["_target_"] = _PREDICTOR if compiled is None else _COMPILED_PREDICTOR
    if compiled is not None:
        config["compile_image_encoder"] = True
    with contextlib.redirect_stdout(io.StringIO()), _compiling(compiled):
        predictor = instantiate(config)
    if compiled is not None:
        attend = predictor.memory_attention.forward

        def attend_and_keep(*given: Any, **named: Any) -> Tensor:
            said: Tensor = attend(*given, **named)
            return said.clone()  # what CUDA graphs gave is written over by the next; it copies all others

        predictor.memory_attention.forward = attend_and_keep
    return predictor


@contextlib.contextmanager
def _compiling(mode: CompileMode | None) -> Iterator[None]:
    """Have torch compile in this mode, whichever is asked for."""
    compile_as_asked = torch.compile

    def compile_so(*given: Any, **asked: Any) -> Any:
        return compile_as_asked(*given, **(asked | {"mode": mode}))

    with patch("torch.compile", compile_so):
        yield
