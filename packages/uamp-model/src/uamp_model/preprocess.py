"""From pixels and prompts of a video to the network's S×S input, as SAM 2's own predictor does it."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from uamp_model.devices import to_device
from uamp_model.errors import InputError
from uamp_model.stages import RESIZE, stage
from uamp_model.types import BOX_CORNER_0, Prompt

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's statistics of RGB in [0, 1], which SAM 2 was trained with."""


def normalize(images: Tensor) -> Tensor:
    """Turn uint8 RGB images, …×3×S×S, into the floats the network expects."""
    mean = to_device(MEAN, images.device).view(3, 1, 1)
    std = to_device(STD, images.device).view(3, 1, 1)
    return (images / 255).sub_(mean).div_(std)


def check_frame(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The frame in one piece, as torch wants arrays, also where it was `bgr[..., ::-1]`.

    Raises:
        InputError: unless it is an H×W×3 uint8 array.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise InputError(f"A frame must be a uint8 RGB array of height×width×3, but this one is {found}.")
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise InputError("A frame has no pixels.")
    return np.ascontiguousarray(frame)


@stage(RESIZE)
def prepare_frame(
    frame: npt.NDArray[np.uint8], size: int, *, plainly: bool = True, device: torch.device | None = None
) -> Tensor:
    """Resize an H×W×3 uint8 RGB frame to the square input: 1×3×S×S, normalised, on the device.

    Args:
        frame: what `check_frame` returns.
        size: S.
        plainly: resize as SAM 2's predictor does, by Pillow; otherwise by torch, five times as fast and on average
            within a hundredth of a grey level of it.
        device: where to; by default the CPU.
    """
    if plainly:
        if frame.shape[:2] != (size, size):
            frame = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))
        image = normalize(torch.tensor(frame).permute(2, 0, 1)).unsqueeze(0)
        return image if device is None else image.to(device)
    if device is not None and device.type == "cuda":
        # copied by this thread alone, which is as fast: after a copy of torch's all cores spin, waiting for more work
        held = torch.empty(frame.shape, dtype=torch.uint8, pin_memory=True)
        np.copyto(held.numpy(), frame)
        pixels = held.to(device, non_blocking=True)  # bytes, a quarter of what floats would take
    else:
        # the frame may be read-only, which torch would warn of, and is never written to
        pixels = torch.from_numpy(frame if frame.flags.writeable else frame.copy())
    return normalize(resize_bytes(pixels.permute(2, 0, 1).unsqueeze(0), size).to(device or pixels.device))


def resize_bytes(pixels: Tensor, size: int) -> Tensor:
    """1×3×H×W bytes as 1×3×S×S bytes, where they are; GPUs have no kernel for bytes and round floats."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    whole = pixels if pixels.device.type == "cpu" else pixels.float()
    resized = F.interpolate(whole, (size, size), mode="bicubic", align_corners=False, antialias=True)
    return resized if resized.dtype == torch.uint8 else resized.round_().clamp_(0, 255)


def prepare_points(prompt: Prompt, height: int, width: int, size: int) -> tuple[Tensor, Tensor]:
    """Scale a prompt's P points from an H×W frame to the S×S input: 1×P×2 and 1×P.

    Raises:
        InputError: if a point lies outside the frame, or a box does not touch it.
    """
    xy = prompt.xy.copy()
    is_box = len(xy) >= 2 and prompt.labels[0] == BOX_CORNER_0
    if is_box:
        (x0, y0), (x1, y1) = xy[0], xy[1]
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise InputError(
                f"The box {x0:g},{y0:g},{x1:g},{y1:g} lies outside the picture, which is {width}×{height} pixels."
            )
        xy[:2] = np.clip(xy[:2], 0, (width, height))
    for x, y in xy[2 if is_box else 0 :]:
        if not (0 <= x <= width and 0 <= y <= height):
            raise InputError(f"The point {x:g},{y:g} lies outside the picture, which is {width}×{height} pixels.")
    scaled = torch.tensor(xy) / torch.tensor([width, height]) * size
    return scaled.unsqueeze(0), torch.tensor(prompt.labels).unsqueeze(0)


def prepare_mask(region: npt.NDArray[np.bool_], height: int, width: int, size: int) -> Tensor:
    """Resize an H×W mask prompt to the square input: 1×1×S×S in {0, 1}.

    Raises:
        InputError: if the mask has another size than the frame.
    """
    if region.shape != (height, width):
        raise InputError(
            f"The mask is {region.shape[1]}×{region.shape[0]} pixels but the picture is {width}×{height}: "
            "give a mask of the picture's size."
        )
    mask = torch.tensor(region)[None, None].float()
    if region.shape == (size, size):
        return mask
    smooth = F.interpolate(mask, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    resized = (smooth >= 0.5).float()
    if not resized.any():  # smaller than an input pixel: keep what there is of it
        resized = (smooth == smooth.max()).float()
    return resized
