"""What goes into a tracker and what comes out of it.

Shape legend, used in every file of this package:
    B clips or images      N objects        T frames        P points        K mask hypotheses
    H×W video pixels       S model input side (S×S)         h×w stride-16 cells (h = w = S/16)
    C feature channels     M memories       D memory channels
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from uamp_model.errors import InputError

BACKGROUND, FOREGROUND, BOX_CORNER_0, BOX_CORNER_1 = 0, 1, 2, 3
"""Labels of prompt points, as SAM 2 numbers them."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Says where one object is on one frame: points, a box (perhaps with points), or a mask.

    Build it with `Prompt.box`, `Prompt.points` or `Prompt.mask`.

    Attributes:
        xy: P×2 float32 pixel coordinates (x, y); a box is its two corners, first. Empty for a mask.
        labels: P int32, see the label constants of this module.
        region: H×W bool, or None if the prompt is not a mask.
    """

    xy: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    region: npt.NDArray[np.bool_] | None = None

    @staticmethod
    def box(x0: float, y0: float, x1: float, y1: float) -> "Prompt":
        """The object fills the box from (x0, y0), top left, to (x1, y1), bottom right, in pixels."""
        corners = _finite(_numbers([[x0, y0], [x1, y1]], "A box's edges"), "box")
        (x0, y0), (x1, y1) = corners.tolist()
        if x1 <= x0 or y1 <= y0:
            raise InputError(
                f"The box {x0:g},{y0:g},{x1:g},{y1:g} is reversed or has no area: "
                "give the left, top, right and bottom edge, in that order."
            )
        return Prompt(corners, np.array([BOX_CORNER_0, BOX_CORNER_1], np.int32))

    @staticmethod
    def points(xy: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> "Prompt":
        """Clicks: P×2 pixel coordinates and P labels, 1 on the object (the default), 0 beside it."""
        coordinates = np.atleast_2d(_numbers(xy, "Points"))
        if coordinates.size == 0:
            raise InputError("A prompt of points needs at least one point.")
        if coordinates.ndim != 2 or coordinates.shape[1] != 2:
            raise InputError(
                f"Points must be P×2 coordinates (x, y), not of shape {coordinates.shape}: give labels separately."
            )
        flags = np.ones(len(coordinates), np.float32) if labels is None else _numbers(labels, "Labels").reshape(-1)
        if len(flags) != len(coordinates):
            raise InputError(f"There are {len(coordinates)} points but {len(flags)} labels: give one label per point.")
        if not np.isin(flags, (BACKGROUND, FOREGROUND)).all():
            raise InputError("A point's label must be 1 (on the object) or 0 (beside it).")
        return Prompt(_finite(coordinates, "point"), flags.astype(np.int32))

    @staticmethod
    def mask(mask: npt.ArrayLike) -> "Prompt":
        """The object is where the H×W mask is not zero; H×W must be the size of the frame."""
        try:
            region = np.asarray(mask)
        except (TypeError, ValueError, RuntimeError) as error:  # uneven rows, or tensors that NumPy cannot read
            raise InputError(f"A mask prompt must be a height×width array: {error}.") from error
        if region.ndim != 2:
            raise InputError(f"A mask prompt must be a height×width array, but this one has shape {region.shape}.")
        if region.dtype.kind == "f" and np.isnan(region).any():
            raise InputError("The mask has values that are no numbers: mark the object by 1 and all else by 0.")
        region = region.astype(bool)
        if not region.any():
            raise InputError("The mask is empty: mark at least one pixel of the object.")
        return Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int32), region)

    def with_points(self, xy: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> "Prompt":
        """This box or these points and more points."""
        if self.region is not None:
            raise InputError("A mask prompt cannot be combined with points: give one or the other.")
        more = Prompt.points(xy, labels)
        return replace(self, xy=np.concatenate([self.xy, more.xy]), labels=np.concatenate([self.labels, more.labels]))


def _numbers(values: npt.ArrayLike, what: str) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
            return np.asarray(values, np.float32).copy()  # since the caller's own array may change later
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be numbers, all of one kind: {error}.") from error


def _finite(values: npt.NDArray[np.float32], what: str) -> npt.NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise InputError(f"A {what} has a coordinate that is not a finite number.")
    return values


class FrameResult:
    """What the tracker says about one frame. Tensors live on the tracker's device.

    Attributes:
        frame_index: number of the frame within the video, from 0.
        object_ids: the N objects, in the order of the tensors' first axis.
        masks: N×H×W bool, True on the object. Masks of different objects may overlap.
        logits: N×H×W float32; the mask is where they are above 0.
        scores: N float32 in [0, 1], the predicted IoU of the mask times the probability that the object is in view.
    """

    __slots__ = ("_uncertainty", "frame_index", "logits", "masks", "object_ids", "scores")

    def __init__(
        self,
        frame_index: int,
        object_ids: tuple[int, ...],
        masks: torch.Tensor,
        logits: torch.Tensor,
        uncertainty: torch.Tensor | Callable[[], torch.Tensor],
        scores: torch.Tensor,
    ) -> None:
        self.frame_index = frame_index
        self.object_ids = object_ids
        self.masks = masks
        self.logits = logits
        self.scores = scores
        self._uncertainty = uncertainty

    @property
    def uncertainty(self) -> torch.Tensor:
        """N×H×W float32 in [0, 1], 1 where the tracker cannot tell; computed when first asked for."""
        if not isinstance(self._uncertainty, torch.Tensor):
            self._uncertainty = self._uncertainty()
        return self._uncertainty


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """An object the tracker noticed by itself.

    Attributes:
        prompt: what to give to `TrackingSession.step` to follow it.
        box: x0, y0, x1, y1 around its mask, in pixels.
        mask: H×W bool.
        score: prominence in [0, 1]; suggestions are sorted by it.
    """

    prompt: Prompt
    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.bool_]
    score: float
