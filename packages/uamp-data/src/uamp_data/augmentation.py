"""Changes to a training clip, drawn once and made alike on all its frames. Shapes: T frames, H×W pixels, S output side.

Geometry is torchvision's, with numbers drawn here: its transform classes draw theirs from torch's global generator,
which threads share. Colour is one 3×4 matrix a clip; torchvision's jitter takes 140 ms for 8 frames of 256×256, this 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_data.errors import DataError
from uamp_data.masks import VOID

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.uint8]
Matrix = NDArray[np.float64]

SMALLEST_SHARE = 0.001
"""An object counts as visible from this share of the picture on."""

_SMALLEST_CROP = 0.5
_CROP_ASPECT = 0.2
_ANGLE, _SHEAR, _SHIFT, _SCALE = 10.0, 5.0, 0.05, 0.12
_BEYOND = (124.0, 116.0, 104.0)
"""ImageNet's mean colour, shown where a turned picture ends."""
_LUMA = np.array([0.299, 0.587, 0.114])
_MIDDLE_GREY = 114.0
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often a clip is changed in each way, in [0, 1].

    Attributes:
        flip: Left and right exchanged.
        crop: A part of the picture that holds an object of the first frame whole.
        affine: Turned, sheared, scaled and moved a little.
        colour: Brightness, contrast, saturation and hue.
        grey: Without colour.
        paste: An object of another sequence in front of what the clip shows, as one more to follow.
    """

    flip: float = 0.5
    crop: float = 0.8
    affine: float = 0.5
    colour: float = 0.8
    grey: float = 0.05
    paste: float = 0.0


NO_AUGMENTATION = Augmentation(flip=0, crop=0, affine=0, colour=0, grey=0)


def augment(
    frames: Array, masks: Array, augmentation: Augmentation, rng: np.random.Generator, size: int
) -> tuple[Array, Array]:
    """Change a clip and resize it to a square, as the tracker resizes its frames.

    Args:
        frames: T×H×W×3, RGB.
        masks: T×H×W object ids, 0 background, 255 void; the first shows an object.
        augmentation: What may happen, and how often.
        rng: The only source of chance.
        size: S.

    Returns:
        T×S×S×3 and T×S×S, contiguous. The first mask still shows an object; void is still void.

    Raises:
        DataError: torchvision is not installed, or does not fit torch.
    """
    flip, crop, affine, colour, grey = rng.random(5)
    window = _crop_window(masks[0], rng) if crop < augmentation.crop else (0, 0, *masks.shape[1:])
    video, ids = _resize(frames, masks, window, size)
    if affine < augmentation.affine:
        video, ids = _move(video, ids, rng, size)
    if flip < augmentation.flip:
        video, ids = video.flip(-1), ids.flip(-1)
    pictures = np.ascontiguousarray(video.permute(0, 2, 3, 1).numpy())
    recoloured = (jitter(rng) if colour < augmentation.colour else None, grey < augmentation.grey)
    return recolour(pictures, *recoloured), np.ascontiguousarray(ids.numpy())


def visible_ids(mask: Array, smallest: float = SMALLEST_SHARE) -> NDArray[np.intp]:
    """Ids, rising, of the objects that cover at least this share of an H×W mask."""
    areas = np.bincount(mask.ravel(), minlength=VOID + 1)
    areas[[0, VOID]] = 0
    return np.flatnonzero(areas >= max(1.0, smallest * mask.size))


def _crop_window(mask: Array, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a part of the picture that holds the box of an object."""
    height, width = mask.shape
    large = visible_ids(mask)  # smaller ones may be lost in resizing
    chosen = mask == int(rng.choice(large if len(large) else visible_ids(mask, 0)))
    rows, columns = (np.flatnonzero(chosen.any(axis)) for axis in (1, 0))
    share, aspect = rng.uniform(_SMALLEST_CROP, 1.0), np.exp(rng.uniform(-_CROP_ASPECT, _CROP_ASPECT))
    top, high = _span(rng, rows, int(height * share * aspect), height)
    left, wide = _span(rng, columns, int(width * share / aspect), width)
    return top, left, high, wide


def _span(rng: np.random.Generator, covered: NDArray[np.intp], wanted: int, full: int) -> tuple[int, int]:
    """Start and length of a stretch that holds what is covered."""
    first, last = int(covered[0]), int(covered[-1])
    length = min(full, max(wanted, last - first + 1))
    return int(rng.integers(max(0, last + 1 - length), min(full - length, first) + 1)), length


def _resize(frames: Array, masks: Array, window: tuple[int, int, int, int], size: int) -> tuple[Tensor, Tensor]:
    import torch

    transforms, mode = _torchvision()
    top, left, height, width = window
    part = np.s_[:, top : top + height, left : left + width]
    video = torch.from_numpy(np.ascontiguousarray(frames[part])).permute(0, 3, 1, 2)
    ids = torch.from_numpy(np.ascontiguousarray(masks[part]))
    # Not as tv_tensors.Mask, whose plain "nearest" moves masks by half a pixel against their frames.
    return (
        transforms.resize(video, [size, size], mode.BICUBIC, antialias=True),
        transforms.resize(ids, [size, size], mode.NEAREST_EXACT, antialias=False),
    )


def _move(video: Tensor, ids: Tensor, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
    """Turn, shear, scale and shift, unless that would take the objects of the first frame out of the picture."""
    transforms, mode = _torchvision()
    how = {
        "angle": float(rng.uniform(-_ANGLE, _ANGLE)),
        "translate": [float(shift) * size for shift in rng.uniform(-_SHIFT, _SHIFT, 2)],
        "scale": float(np.exp(rng.uniform(-_SCALE, _SCALE))),
        "shear": [float(angle) for angle in rng.uniform(-_SHEAR, _SHEAR, 2)],
    }
    moved = transforms.affine(ids, interpolation=mode.NEAREST, fill=[0.0], **how)
    least = SMALLEST_SHARE if len(visible_ids(ids[0].numpy())) else 0.0  # where all are small, one of these must stay
    if not len(visible_ids(moved[0].numpy(), least)):
        return video, ids
    return transforms.affine(video, interpolation=mode.BILINEAR, fill=list(_BEYOND), **how), moved


def jitter(rng: np.random.Generator) -> Matrix:
    """A 3×4 matrix of RGB: saturation, hue, contrast around middle grey, and brightness."""
    saturation, turn = rng.uniform(0.6, 1.4), rng.uniform(-0.05, 0.05) * 2 * np.pi
    cosine, sine = saturation * np.cos(turn), saturation * np.sin(turn)
    rotation = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    mix = np.linalg.inv(_TO_YIQ) @ rotation @ _TO_YIQ
    contrast, gain = np.exp(rng.uniform(-0.25, 0.25)), np.exp(rng.uniform(-0.25, 0.25))
    return np.hstack([gain * contrast * mix, np.full((3, 1), gain * (1 - contrast) * _MIDDLE_GREY)])


def recolour(frames: Array, colours: Matrix | None, grey: bool) -> Array:
    """Change the colours of T×H×W×3 frames by a 3×4 matrix, if there is one, and take them away if `grey`."""
    if colours is None and not grey:
        return frames
    matrix = np.eye(3, 4) if colours is None else colours
    if grey:
        matrix = np.tile(_LUMA, (3, 1)) @ matrix
    count, height, width = frames.shape[:3]
    tall = cv2.transform(frames.reshape(count * height, width, 3), matrix)
    return np.asarray(tall, np.uint8).reshape(frames.shape)


def _torchvision() -> tuple[Any, Any]:
    """Its functions and interpolation modes, which carry no types; imported late, since nothing else here needs it."""
    try:
        from torchvision.transforms.v2 import InterpolationMode, functional
    except (ImportError, RuntimeError) as error:  # RuntimeError where it was built for another torch
        raise DataError("Training clips need a torchvision that fits torch: install uamp-data[training].") from error
    return functional, InterpolationMode
