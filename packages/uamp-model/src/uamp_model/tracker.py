"""The tracker: a frozen network and how to use it. What is known of a video is in its session, see `session.py`."""

import copy
from collections.abc import Sequence

import torch

from uamp_model.adapter import corrected
from uamp_model.budget import check_budget
from uamp_model.core import Learned
from uamp_model.devices import inference
from uamp_model.errors import InputError
from uamp_model.focus import Focus
from uamp_model.forms import forms_for
from uamp_model.layers import UampLayers, with_learned_strengths
from uamp_model.preprocess import check_frame, prepare_frame
from uamp_model.presets import LEARNED_PARTS, MemorySettings, memory_settings
from uamp_model.sam2 import ImageFeatures, Sam2, encode_image, place_rotations
from uamp_model.session import Frame, TrackingSession
from uamp_model.suggest import suggest_prompts
from uamp_model.types import Suggestion


class VideoTracker:
    """A frozen network and how to use it. It holds no state of any video: `start` a session for each.

    Attributes:
        name: the model's name in the catalog.
        memory: the memory setting's name.
        settings: its numbers; with layers, the strengths they have learned are part of them.
        base: the network as it was loaded, in evaluation mode.
        model: what computes: the base, or a copy of it with the weights that layers have learned to correct.
        dtype: what the network computes in.
        layers: trained UAMP layers, or None.
        learned: what of the layers acts under these settings, if anything.
        forms: how the heavy parts are computed. None, for an `exact` tracker, is as the sam2 package does and each
            object alone, so that in float32 on a CPU masks are those of its predictor to the last bit and do not depend
            on what else is tracked by this thread; products that other threads compute with less arithmetic meanwhile
            change torch's rounding for all, see `products.py`. Otherwise objects are computed in batches with less
            arithmetic, and logits differ by rounding.
        compiled: the heavy parts are compiled by torch, see `forms.py`: slow to start, and meant for GPUs.
        memory_budget: share of memory's cells that is read, see `budget.py`; at 1 all of them.
    """

    def __init__(
        self,
        model: Sam2,
        *,
        name: str,
        memory: str = "sam2",
        settings: MemorySettings | None = None,
        dtype: torch.dtype = torch.float32,
        layers: UampLayers | None = None,
        exact: bool = False,
        compiled: bool = False,
        memory_budget: float = 1.0,
    ) -> None:
        if exact and compiled:
            raise InputError("Compiled code rounds differently and so is not exact: choose one of the two.")
        self.base = model.eval()
        place_rotations(model)
        self.compiled = compiled
        self.forms = None if exact else forms_for(next(model.parameters()).device, dtype, compiled=compiled)
        self.memory_budget = check_budget(memory_budget)
        self.name = name
        self.dtype = dtype
        self._remember(memory, settings, layers)

    def _remember(self, memory: str, settings: MemorySettings | None, layers: UampLayers | None) -> None:
        self.memory = memory
        self.layers = None if layers is None else layers.eval()
        self._asked = memory_settings(memory, self.name) if settings is None else settings
        if 0 < self._asked.focus < 1:
            raise InputError(f"A focus of {self._asked.focus:g} would cut objects off: give 0, or a number from 1 on.")
        self.settings = with_learned_strengths(self._asked, self.layers)
        self.model = _corrected(self.base, self.layers, self.settings)
        self.learned = _acting_layers(self.layers, self.settings)

    @property
    def exact(self) -> bool:
        """Whether it computes as the sam2 package does."""
        return self.forms is None

    @property
    def focus(self) -> float:
        """Side of what is looked at of a frame, in sides of the objects' box, see `focus.py`; 0 for whole frames.

        Learned layers that compare a frame with the one before want both whole.
        """
        return self.settings.focus if self.learned is None else 0.0

    @property
    def acting_layers(self) -> UampLayers | None:
        """The layers, if these settings let any of them act."""
        return None if self.learned is None and self.model is self.base else self.layers

    @property
    def device(self) -> torch.device:
        """Where the network is and results come back."""
        return next(self.model.parameters()).device

    @property
    def image_size(self) -> int:
        """Side S of the square that frames are resized to."""
        return int(self.model.image_size)

    def start(self, *, first_frame: int = 0, reverse: bool = False, num_frames: int | None = None) -> TrackingSession:
        """Begin a video.

        Args:
            first_frame: number of the first frame that will be given.
            reverse: frames come in falling order.
            num_frames: the video's length, if known. It only matters below 16 frames, where SAM 2's predictor
                scales the pointers' age by it; without it a short video is treated as the beginning of a long one.
        """
        span = self.model.max_obj_ptrs_in_encoder if num_frames is None else num_frames
        return TrackingSession(
            self,
            direction=-1 if reverse else 1,
            next_frame=first_frame,
            age_span=min(span, self.model.max_obj_ptrs_in_encoder) - 1,
            focus=Focus(self.focus),
        )

    def with_memory(self, memory: str, settings: MemorySettings | None = None) -> "VideoTracker":
        """The same network with another memory setting; the two share a frame's image features if their `model` is one.

        Args:
            memory: "sam2", "samurai" or "uamp", or a name of your choice for settings of your own.
            settings: the numbers, if not those of that name.

        Raises:
            InputError: if there is no such memory setting.
        """
        return self._like(memory, settings, self.layers)

    def with_layers(self, layers: UampLayers | None) -> "VideoTracker":
        """The same network and settings with other learned layers, or none."""
        return self._like(self.memory, self._asked, layers)

    def _like(self, memory: str, settings: MemorySettings | None, layers: UampLayers | None) -> "VideoTracker":
        other = copy.copy(self)  # so that both share the forms, and what was compiled or captured for them
        other._remember(memory, settings, layers)
        return other

    def encode(self, frame: Frame) -> ImageFeatures:
        """Image features of one H×W×3 uint8 RGB frame.

        Raises:
            InputError: if it is not such an array.
        """
        return self.encode_together([frame])[0]

    def encode_together(self, frames: Sequence[Frame]) -> list[ImageFeatures]:
        """Image features of frames, which may differ in size, computed in one batch.

        Raises:
            InputError: if one of them is not an H×W×3 uint8 array.
        """
        frames = [check_frame(frame) for frame in frames]
        if not frames:
            return []
        with inference(self.device, self.dtype, plainly=self.exact):
            images = [prepare_frame(f, self.image_size, plainly=self.exact, device=self.device) for f in frames]
            features = encode_image(self.model, torch.cat(images), fast=self.forms)
            return [features.pick(slice(i, i + 1)) for i in range(len(frames))]

    def suggest_prompts(self, frame: Frame, *, max_objects: int = 1) -> list[Suggestion]:
        """Objects that stand out on a frame, the most prominent first; perhaps none."""
        return suggest_prompts(self, frame, max_objects=max_objects)


def _corrected(base: Sam2, layers: UampLayers | None, settings: MemorySettings) -> Sam2:
    """The network with the corrections that settings ask for."""
    if layers is None or settings.adapt <= 0 or "adapt" not in layers.trained_parts:
        return base
    return corrected(base, layers.adapter, settings.adapt)


def _acting_layers(layers: UampLayers | None, settings: MemorySettings) -> Learned | None:
    """The layers beside the network that settings ask for; what was never trained adds nothing and is not computed."""
    if layers is None:
        return None
    trained = layers.trained_parts
    doubt, refine, look = (getattr(settings, part) * (part in trained) for part in LEARNED_PARTS if part != "adapt")
    return Learned(layers, doubt, refine, look, settings.second_look_above) if any((doubt, refine, look)) else None
