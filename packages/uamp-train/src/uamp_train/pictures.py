"""Pictures for the trackers: what was predicted, what is true, and where the network doubts, side by side."""

import cv2
import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor
from uamp_model.core import FrameOutput

from uamp_train.batches import Batch

Picture = npt.NDArray[np.uint8]

COLOURS = np.array([(230, 159, 0), (86, 180, 233), (204, 121, 167), (240, 228, 66), (0, 158, 115)], np.float32)
"""Of objects, from the palette of Okabe and Ito."""
TINT = 0.55
MOST_CLIPS, MOST_FRAMES = 2, 4


def paint_clips(batch: Batch, outputs: list[FrameOutput]) -> list[Picture]:
    """One picture for each of the first clips, all of one size.

    Rows are up to four of the clip's frames; the columns are the prediction, the truth and the uncertainty, each over
    the frame.

    Args:
        batch: the clips, on the CPU.
        outputs: for the batch's N objects on each of its T frames.
    """
    frames = sorted({round(t) for t in np.linspace(0, len(outputs) - 1, min(MOST_FRAMES, len(outputs)))})
    pictures = []
    for clip in range(min(MOST_CLIPS, len(batch.images))):
        objects = (batch.clip_of_object == clip).nonzero().flatten()
        rows = []
        for t in frames:
            image = np.ascontiguousarray(batch.images[clip, t].permute(1, 2, 0).numpy())
            size = (image.shape[0], image.shape[1])
            predicted = _enlarge(outputs[t].logits, objects, size) > 0
            true = batch.masks[objects, t].numpy() > 0
            doubt = _enlarge(outputs[t].uncertainty, objects, size).max(axis=0)
            rows.append(np.hstack([_tint(image, predicted), _tint(image, true), _heat(image, doubt)]))
        pictures.append(np.vstack(rows))
    return pictures


def _enlarge(maps: Tensor, objects: Tensor, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Maps N×1×h×w of some objects at a picture's size."""
    chosen = maps[objects.to(maps.device)].float()
    large: npt.NDArray[np.float32] = F.interpolate(chosen, size, mode="bilinear")[:, 0].cpu().numpy()
    return large


def _tint(image: Picture, masks: npt.NDArray[np.bool_]) -> Picture:
    """Objects in their colours, M×H×W, over an H×W×3 image."""
    out = image.astype(np.float32)
    for number, mask in enumerate(masks):
        out[mask] = (1 - TINT) * out[mask] + TINT * COLOURS[number % len(COLOURS)]
    return out.astype(np.uint8)


def _heat(image: Picture, doubt: npt.NDArray[np.float32]) -> Picture:
    """Uncertainty in [0, 1], H×W, as heat over a grey image: nothing at 0, bright yellow at 1."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32) * 0.6
    heat = cv2.applyColorMap((doubt * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float32)
    share = np.sqrt(doubt)[..., None]
    return np.asarray((1 - share) * grey + share * heat).astype(np.uint8)
