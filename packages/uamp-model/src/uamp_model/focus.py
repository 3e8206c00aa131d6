"""Which part of a frame is looked at: a window of the frame's own shape that follows the objects.

The network sees S×S pixels whatever it is given, so that a small object has few of them. Once objects are known, only
their surroundings are shown to it: the object is larger there, its motion smaller, and what looks like it elsewhere is
out of sight. The window follows the objects' boxes, grows quickly and shrinks slowly, widens frame by frame while an
object is not found, and goes at once to what is prompted. Shapes: H×W pixels of a frame.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.motion import mask_boxes, mask_corners
from uamp_model.types import BOX_CORNER_0, Prompt

SMALLEST = 0.3
"""Smallest side of the window, as a share of the frame's."""
SHRINKING, GROWING = 0.2, 0.5
"""How far the window's side goes towards the wanted one in a frame."""
WIDENING = 1.3
"""How much larger a window gets with each frame on which an object is not found."""
NEARLY_WHOLE = 0.999
"""Share from which on a window is the whole frame, to which growing comes ever nearer."""
UNSEEN = -10.0
"""Logit of what is outside the window."""

Pixels = TypeVar("Pixels", npt.NDArray[np.uint8], npt.NDArray[np.bool_], Tensor)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a frame, in whole pixels.

    Attributes:
        top, left, height, width: of it.
        frame: H and W.
    """

    top: int
    left: int
    height: int
    width: int
    frame: tuple[int, int]

    @staticmethod
    def whole(frame: tuple[int, int]) -> "Window":
        """All of a frame."""
        return Window(0, 0, *frame, frame)

    @staticmethod
    def around(y: float, x: float, share: float, frame: tuple[int, int]) -> "Window":
        """A window with this share of the frame's sides, its middle as near to (y, x) as the frame lets it be."""
        if share >= NEARLY_WHOLE:
            return Window.whole(frame)
        height, width = (max(round(share * side), 1) for side in frame)
        top = min(max(round(y - height / 2), 0), frame[0] - height)
        left = min(max(round(x - width / 2), 0), frame[1] - width)
        return Window(top, left, height, width, frame)

    def holds(self, boxes: Tensor) -> bool:
        """Whether K×4 boxes (x0, y0, x1, y1) lie in it."""
        low = boxes.new_tensor([self.left, self.top])
        corners = boxes.unflatten(1, (2, 2)) - low
        return bool(((corners >= 0) & (corners <= boxes.new_tensor([self.width, self.height]))).all())

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the frame."""
        return (self.height, self.width) == self.frame

    @property
    def size(self) -> tuple[int, int]:
        """Its height and width."""
        return self.height, self.width

    def cut(self, pixels: Pixels) -> Pixels:
        """This part of H×W×… pixels."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    def cut_maps(self, maps: Tensor) -> Tensor:
        """This part of N×H×W maps."""
        return maps[:, self.top : self.top + self.height, self.left : self.left + self.width]

    def prompt(self, prompt: Prompt) -> Prompt:
        """A prompt on the frame in pixels of this part of it."""
        if self.is_whole:
            return prompt
        if prompt.region is None:
            return replace(prompt, xy=prompt.xy - np.array([self.left, self.top], np.float32))
        return replace(prompt, region=self.cut(prompt.region))

    def place(self, maps: Tensor, outside: float) -> Tensor:
        """N×h×w maps of the window in their place in the frame, N×H×W."""
        if self.is_whole:
            return maps
        placed = maps.new_full((len(maps), *self.frame), outside)
        self.cut_maps(placed).copy_(maps)
        return placed

    def boxes(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Where masks are in the frame.

        Args:
            logits: N×4h×4w mask logits over the window.

        Returns:
            N×4 float64 boxes (x0, y0, x1, y1) in pixels of the frame, and N bool, whether there is any mask, on the
            CPU, since not every device has float64.
        """
        corners, found = (tensor.cpu() for tensor in mask_corners(logits > 0))
        rows, columns = logits.shape[-2:]
        scale = corners.new_tensor([self.width / columns, self.height / rows] * 2, dtype=torch.float64)
        shift = corners.new_tensor([self.left, self.top] * 2, dtype=torch.float64)
        return corners * scale + shift, found

    def to_cells_of(self, other: "Window", side: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where a point of this window's grid of side × side cells is on the other's: scale and shift, each (x, y)."""
        scale = self.width / other.width, self.height / other.height
        shift = (self.left - other.left) * side / other.width, (self.top - other.top) * side / other.height
        return scale, shift

    def seen_through(self, other: "Window", maps: Tensor, outside: float) -> Tensor:
        """…×4h×4w maps over this window as maps of the same size over another one of the same frame."""
        rows, columns = maps.shape[-2:]
        ys, xs = (
            ((torch.arange(count, device=maps.device) + 0.5) / count * side + shift) / length * 2 - 1
            for count, side, shift, length in (
                (rows, other.height, other.top - self.top, self.height),
                (columns, other.width, other.left - self.left, self.width),
            )
        )
        grid = torch.stack(torch.broadcast_tensors(xs[None, :], ys[:, None]), dim=-1)[None]
        flat = maps.reshape(1, -1, rows, columns).float() - outside
        moved = F.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + outside
        return moved.view_as(maps).to(maps.dtype)


@dataclass(slots=True)
class Focus:
    """The window of a session and how it moves.

    Attributes:
        margin: side of the window, in sides of the box around all objects; 0 for whole frames.
        window: of the last frame; None before the first.
        share: its sides as a share of the frame's, before rounding.
    """

    margin: float = 0.0
    window: Window | None = None
    share: float = 1.0

    def see_whole(self, frame: tuple[int, int]) -> Window:
        """Look at a whole frame."""
        self.window, self.share = Window.whole(frame), 1.0
        return self.window

    def meet(self, boxes: Tensor, frame: tuple[int, int]) -> Window:
        """Look at what is prompted, and at the objects that are known, at once.

        Args:
            boxes: K×4 (x0, y0, x1, y1) in pixels of the frame.
            frame: H and W.
        """
        if self.margin <= 0 or not len(boxes):
            return self.see_whole(frame)
        middle, self.share = self._wanted(boxes, frame)
        self.window = Window.around(*middle, self.share, frame)
        return self.window

    def follow(self, logits: list[Tensor], frame: tuple[int, int]) -> Window:
        """Look at the surroundings of objects on a frame that nothing is prompted on.

        Args:
            logits: of each object on the last frame, 1×1×4h×4w over its window.
            frame: H and W.
        """
        if self.margin <= 0 or self.window is None or self.window.frame != frame or not logits:
            return self.see_whole(frame)
        boxes, found = self.window.boxes(torch.cat(logits)[:, 0])
        if not found.any():
            y, x = self.window.top + self.window.height / 2, self.window.left + self.window.width / 2
            self.share = min(self.share * WIDENING, 1.0)
        else:
            (y, x), wanted = self._wanted(boxes[found], frame)
            if not found.all():
                wanted = min(max(wanted, self.share * WIDENING), 1.0)
            self.share += (wanted - self.share) * (SHRINKING if wanted < self.share else GROWING)
        self.window = Window.around(y, x, self.share, frame)
        return self.window

    def _wanted(self, boxes: Tensor, frame: tuple[int, int]) -> tuple[tuple[float, float], float]:
        """Middle (y, x) and share of a window around boxes."""
        (x0, y0), (x1, y1) = boxes[:, :2].amin(0).tolist(), boxes[:, 2:].amax(0).tolist()
        # windows are whole pixels: without one to spare on each side, rounding would leave the boxes' rim outside
        height, width = (max(self.margin * side, side + 2) for side in (y1 - y0, x1 - x0))
        share = max(height / frame[0], width / frame[1])
        return ((y0 + y1) / 2, (x0 + x1) / 2), min(max(share, SMALLEST), 1.0)


def extent(prompt: Prompt) -> Tensor:
    """The box around all that a prompt says, 1×4 float64 (x0, y0, x1, y1) in pixels of the frame."""
    if prompt.region is not None:
        return mask_boxes(torch.tensor(prompt.region)[None])[0]
    corners = np.concatenate([prompt.xy.min(axis=0), prompt.xy.max(axis=0)])
    return torch.from_numpy(corners.astype(np.float64))[None]


def is_clicks(prompt: Prompt) -> bool:
    """Whether a prompt says where an object is but not how large."""
    return prompt.region is None and bool(prompt.labels[0] != BOX_CORNER_0)
