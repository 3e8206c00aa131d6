"""Rehearsal: before a video is tracked, its own frames and first masks teach the network what is to be followed.

Two tasks have a known answer although one frame alone has a true mask. *Return*: from what tracking made of the object
some frames later, find back to the true mask (the mask cycle of Bertrand et al. 2023). *Copies*: find the object on
changed copies of the frame that was given (Khoreva et al. 2017). With both alone the network could learn that frame by
heart, so a third holds it to what it did before: *the way out*, from the given frame to what tracking found later. What
is learned are low-rank corrections of the network's weights (`adapter.py`), for this video and no other.

Shapes: N objects, T frames, S model input side; see `types.py`. What it is worth and costs: docs/method.md.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.adapter import twin
from uamp_model.core import PromptBatch
from uamp_model.devices import autocast, enough_memory, steady_attention
from uamp_model.errors import InputError
from uamp_model.layers import LayerSizes, UampLayers
from uamp_model.layers_file import load_rehearsal_start
from uamp_model.losses import LossWeights, cell_shares, frame_loss
from uamp_model.preprocess import normalize, prepare_mask, resize_bytes
from uamp_model.sam2 import Sam2
from uamp_model.session import Frame
from uamp_model.tracker import VideoTracker
from uamp_model.types import FrameResult, Prompt
from uamp_model.unroll import unroll

STEPS = 40
"""What was measured; each takes as long as tracking some fifteen frames."""
REACH = 60
"""Frames after a given one that are looked at."""
RATE = 5e-4
WARM_UP = 6
"""Steps over which the rate rises."""
LARGEST_GRADIENT = 1.0
RANK = 8
WEIGHTS = LossWeights(focal=5.0, dice=3.0)
COPIES = 3
"""Changed copies of a given frame, of which the first is the prompt."""
SMALLEST_SHARE = 1e-3
"""An object counts as found from this share of the picture on."""

TURN, SHEAR, SHIFT, SCALE = math.radians(10), math.radians(5), 0.05, 0.12
"""How far copies differ: angles, shift as a share of the picture, scale as a natural logarithm."""
SATURATION, CONTRAST, BRIGHTNESS = 0.4, 0.25, 0.25
"""How far colours differ: saturation as a share, the others as natural logarithms."""

MIDDLE_GREY = 114.0

Tell = Callable[[str, int, int], None]
"""Told what is counted ("frames", then "steps"), how many are done, 0 first, and how many there are at most."""


def tell_nobody(what: str, done: int, total: int) -> None:
    """See `Tell`."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame as the network sees it, and what is known about it.

    Attributes:
        image: 3×S×S uint8.
        masks: S×S bool by object: what is given, or what tracking found.
    """

    image: Tensor
    masks: dict[int, Tensor]


@dataclass(frozen=True, slots=True)
class _Task:
    """A clip with known answers.

    Attributes:
        images: T×3×S×S, normalised.
        masks: N×T×S×S bool; those of frame 0 are the prompts.
        judged: the frames whose masks are the answer.
    """

    images: Tensor
    masks: Tensor
    judged: tuple[int, ...]


def rehearse(
    tracker: VideoTracker,
    frames: Iterable[Frame],
    prompts: Mapping[int, Mapping[int, Prompt]],
    *,
    steps: int,
    seed: int = 0,
    tell: Tell = tell_nobody,
) -> VideoTracker:
    """Learn what a video's objects look like, before it is tracked.

    Args:
        tracker: of any model; nothing of it changes. What is learned begins at its layers; without any at those that
            come with the model for this (nano has some), or else at nothing.
        frames: the video, H×W×3 uint8 RGB; no more than the first `REACH` after the last mask that is given are taken.
        prompts: by frame and object. Only objects that are given by masks are learned: taught by its own guess of what
            a box or a point shows, a tracker gets worse.
        steps: how often something is drawn and learned, `STEPS` for what was measured.
        seed: of what is drawn by chance.
        tell: is called before the first frame and the first step, and after each.

    Returns:
        A tracker of the same network with layers for this video; the given one if there is nothing to learn, as where
        the objects are lost at once, or its memory setting has no learned corrections, as those of SAM 2 and SAMURAI.

    Raises:
        InputError: if a frame, a prompt or the number of steps is wrong, or none of the prompts is a mask.
        DeviceError: if memory runs out.
    """
    if not isinstance(steps, Integral) or steps < 0:
        raise InputError(f"A rehearsal cannot take {steps} steps: give a whole number from 0 on.")
    if not _go_by_frame_and_object(prompts):
        raise InputError("Prompts of a rehearsal go by frame and object, like {0: {1: Prompt.mask(...)}}.")
    if steps == 0 or not any(prompts.values()) or tracker.settings.adapt == 0:
        return tracker
    given = _with_masks(prompts)
    if not given:
        raise InputError("A rehearsal learns from masks: give one instead of a box or points, or do not rehearse.")
    # also where the caller has asked for no gradients
    with enough_memory(tracker.device), torch.inference_mode(False), torch.enable_grad():
        layers = _layers_to_learn(tracker, seed)
        begun = tracker.with_layers(layers)
        begun.base = twin(tracker.base)  # a step computes with other weights in it, and threads may track meanwhile
        horizon = max(given) + REACH + 1
        tell("frames", 0, horizon)
        seen = _watch(begun, islice(frames, horizon), prompts, lambda done: tell("frames", done, horizon))
        if missing := given.keys() - seen.keys():
            raise InputError(f"There is no frame {min(missing)} to rehearse on: the video ends before it.")
        tasks = _Tasks(seen, given, np.random.default_rng(seed))
        if not tasks.later:
            return tracker
        tell("steps", 0, steps)
        _learn(begun, layers, tasks, steps, lambda done: tell("steps", done, steps))
        return tracker.with_layers(layers)


def _go_by_frame_and_object(prompts: object) -> bool:
    owns = prompts.values() if isinstance(prompts, Mapping) else [None]
    return all(isinstance(own, Mapping) and all(isinstance(p, Prompt) for p in own.values()) for own in owns)


def _with_masks(prompts: Mapping[int, Mapping[int, Prompt]]) -> dict[int, tuple[int, ...]]:
    """By frame, the objects that are given by a mask there."""
    given = {index: tuple(i for i, p in own.items() if p.region is not None) for index, own in sorted(prompts.items())}
    return {index: ids for index, ids in given.items() if ids}


def _watch(
    tracker: VideoTracker,
    frames: Iterable[Frame],
    prompts: Mapping[int, Mapping[int, Prompt]],
    told: Callable[[int], None],
) -> dict[int, _Seen]:
    """Track the first frames as they come and keep those behind a given one, by their numbers."""
    session, size, seen = tracker.start(), tracker.image_size, {}
    last = -REACH - 1
    for index, frame in enumerate(frames):
        own = prompts.get(index, {})
        if own or session.objects:
            result = session.step(frame, own)
            masks = dict(zip(result.object_ids, _small_masks(result, size), strict=True))
            height, width = frame.shape[:2]
            given = {i: p.region for i, p in own.items() if p.region is not None}
            masks |= {i: prepare_mask(region, height, width, size)[0, 0] > 0 for i, region in given.items()}
            last = index if own else last
            if index <= last + REACH:
                image = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None]
                seen[index] = _Seen(resize_bytes(image, size)[0], masks)
        told(index + 1)
    return seen


def _small_masks(result: FrameResult, size: int) -> Tensor:
    """N×S×S bool of a frame's result, on the CPU."""
    shares = F.interpolate(result.masks[:, None].float(), (size, size), mode="bilinear", antialias=True)
    return (shares[:, 0] >= 0.5).cpu()


def _layers_to_learn(tracker: VideoTracker, seed: int) -> UampLayers:
    """A copy of the tracker's layers, else those that its model comes with for this, else new ones; none learns yet."""
    if tracker.layers is not None:
        layers = copy.deepcopy(tracker.layers)
    else:
        with torch.random.fork_rng(devices=[]):  # new layers are filled with random numbers before they are read
            loaded = load_rehearsal_start(tracker.base, base_model=tracker.name)
        layers = loaded or new_layers(tracker.base, seed)
    return layers.to(tracker.device).requires_grad_(False).eval()


def new_layers(base: Sam2, seed: int = 0) -> UampLayers:
    """Layers for a rehearsal to begin at nothing: of rank `RANK`, of every part of the network, without effect yet."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would seed GPUs too
        return UampLayers(base, LayerSizes.of(base, rank=RANK))


@dataclass(slots=True)
class _Tasks:
    """Draws clips with known answers from what was seen.

    Attributes:
        seen: the frames, by their numbers.
        given: objects whose masks are true, by the frame they are true on.
        rng: the only source of chance.
        later: by given frame, those behind it on which tracking found any of its objects. A given frame without any is
            left out: copies alone would teach that frame and nothing else.
    """

    seen: Mapping[int, _Seen]
    given: Mapping[int, tuple[int, ...]]
    rng: np.random.Generator
    later: dict[int, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        """Look where the objects were found."""
        later = {index: self._later(index) for index in self.given}
        self.later = {index: frames for index, frames in later.items() if frames}

    def draw(self) -> list[_Task]:
        """One of each kind about one of the given frames."""
        index = int(self.rng.choice(list(self.later)))
        later = self.later[index]
        tasks = [self._copies(index), self._return(index, later), self._way_out(index, later)]
        return [task for task in tasks if task is not None]

    def _copies(self, index: int) -> _Task:
        """A given frame, changed anew each time."""
        flip = bool(self.rng.random() < 0.5)
        looks = [self._look(index, self.given[index], _warp(self.rng, flip=flip)) for _ in range(COPIES)]
        return _task(looks, judged=tuple(range(1, COPIES)))

    def _return(self, index: int, later: Sequence[int]) -> _Task:
        """From a later frame by way of one between to a given one."""
        begin = int(self.rng.choice(later))
        between = int(self.rng.integers(index + 1, begin + 1))
        return self._clip((begin, between, index), self._found(begin, self.given[index]), judged=(2,))

    def _way_out(self, index: int, later: Sequence[int]) -> _Task | None:
        """From a given frame to two later ones, with what tracking found there for the answer."""
        first, second = sorted(int(t) for t in self.rng.choice(later, 2))
        ids = self._found(second, self._found(first, self.given[index]))
        return self._clip((index, first, second), ids, judged=(1, 2)) if ids else None

    def _later(self, index: int) -> list[int]:
        """Frames behind a given one on which tracking found any of its objects."""
        reach = range(index + 1, index + REACH + 1)
        return [t for t in reach if t in self.seen and self._found(t, self.given[index])]

    def _clip(self, frames: tuple[int, ...], ids: tuple[int, ...], judged: tuple[int, ...]) -> _Task:
        """Frames that are all changed alike."""
        warp, colours = _warp(self.rng, flip=bool(self.rng.random() < 0.5)), _colours(self.rng)
        return _task([self._look(t, ids, warp, colours) for t in frames], judged)

    def _found(self, index: int, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the objects that tracking found on a frame."""
        masks = self.seen[index].masks
        return tuple(i for i in ids if i in masks and masks[i].float().mean() > SMALLEST_SHARE)

    def _look(
        self, index: int, ids: tuple[int, ...], warp: Tensor, colours: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A frame, 3×S×S normalised, and masks N×S×S, changed."""
        seen = self.seen[index]
        empty = torch.zeros(seen.image.shape[1:], dtype=torch.bool)
        masks = torch.stack([seen.masks.get(i, empty) for i in ids])
        image = _recoloured(seen.image.float(), _colours(self.rng) if colours is None else colours)
        grid = F.affine_grid(warp[None], [1, 3, *empty.shape], align_corners=False)
        moved = F.grid_sample(normalize(image)[None], grid, align_corners=False)[0]  # beyond: the mean colour
        return moved, F.grid_sample(masks[None].float(), grid, mode="nearest", align_corners=False)[0] > 0


def _task(looks: Sequence[tuple[Tensor, Tensor]], judged: tuple[int, ...]) -> _Task:
    images, masks = zip(*looks, strict=True)
    return _Task(torch.stack(images), torch.stack(masks, dim=1), judged)


def _warp(rng: np.random.Generator, *, flip: bool) -> Tensor:
    """2×3 affine map from places in the result to places in the frame, both in [−1, 1]."""
    turn, shear = rng.uniform(-TURN, TURN), rng.uniform(-SHEAR, SHEAR)
    scale, shift = math.exp(rng.uniform(-SCALE, SCALE)), rng.uniform(-2 * SHIFT, 2 * SHIFT, 2)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = scale * rotation @ np.array([[-1.0 if flip else 1.0, math.tan(shear)], [0.0, 1.0]])
    return torch.from_numpy(np.column_stack([linear, shift])).float()


def _colours(rng: np.random.Generator) -> Tensor:
    """Saturation, contrast and brightness, as factors."""
    saturation = 1 + rng.uniform(-SATURATION, SATURATION)
    contrast, brightness = np.exp(rng.uniform(-CONTRAST, CONTRAST)), np.exp(rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    return torch.tensor([saturation, contrast, brightness], dtype=torch.float32)


def _recoloured(image: Tensor, colours: Tensor) -> Tensor:
    """3×S×S from 0 to 255, with other saturation, contrast around middle grey, and brightness."""
    saturation, contrast, brightness = colours.tolist()
    grey = image.mean(0, keepdim=True)
    saturated = grey + saturation * (image - grey)
    changed: Tensor = brightness * (MIDDLE_GREY + contrast * (saturated - MIDDLE_GREY))
    return changed.clamp(0, 255)


def _learn(tracker: VideoTracker, layers: UampLayers, tasks: _Tasks, steps: int, told: Callable[[int], None]) -> None:
    """Train the layers' adapter; its weights end as their mean over the second half of the steps."""
    weights = list(layers.adapter.requires_grad_().parameters())
    optimizer = torch.optim.AdamW(weights, weight_decay=0.0)
    mean = [torch.zeros_like(weight) for weight in weights]
    counted = steps - steps // 2
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / WARM_UP)
        drawn = tasks.draw()
        for task in drawn:
            (_loss(tracker, layers, task) / len(drawn)).backward(inputs=weights)
        torch.nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad()
        if step >= steps // 2:
            torch._foreach_add_(mean, [weight.detach() for weight in weights], alpha=1 / counted)
        told(step + 1)
    with torch.no_grad():
        for weight, average in zip(weights, mean, strict=True):
            weight.copy_(average)
    layers.requires_grad_(False)


def _loss(tracker: VideoTracker, layers: UampLayers, task: _Task) -> Tensor:
    """How far the masks of a task's judged frames are off, a scalar."""
    device, masks = tracker.device, task.masks.to(tracker.device)
    owner = torch.zeros(len(masks), dtype=torch.long, device=device)
    learned = None if tracker.learned is None else replace(tracker.learned, layers=layers)
    # a CPU's attention has its fast backward pass in fp32 alone
    precision = tracker.dtype if device.type == "cuda" else torch.float32
    with autocast(device, precision), steady_attention(device):
        outputs = unroll(
            tracker.base,
            task.images.to(device)[None],
            owner,
            PromptBatch(masks=masks[:, :1].float()),
            learned=learned,
            weights=layers.adapter.weights(tracker.base, tracker.settings.adapt),
        )
        truth, present = cell_shares(masks), masks.flatten(2).any(2)
        losses = [
            frame_loss(
                outputs[t].chosen, outputs[t].chosen_iou, outputs[t].presence, truth[:, t], present[:, t], WEIGHTS
            ).total(WEIGHTS)
            for t in task.judged
        ]
        return torch.stack(losses).mean()
