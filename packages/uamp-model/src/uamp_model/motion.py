"""Where an object should be next: a constant-velocity Kalman filter on boxes, batched over objects.

State and noise are those of SORT and DeepSORT (Bewley et al., ICIP 2016; Wojke et al., ICIP 2017), which SAMURAI
(Yang et al., 2024) takes over: centre, aspect and height of the box and their velocities per frame, with standard
deviations that grow with the box's height. Nothing is kept here: a filter is a `MotionState` that goes in and comes
out. Shapes: N objects; boxes are (cx, cy, aspect = width / height, height) in pixels of any fixed grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uamp_model.devices import exact_device

POSITION_NOISE = 1 / 20
"""Standard deviation of centre and height, as a share of the height (DeepSORT)."""
VELOCITY_NOISE = 1 / 160
"""Standard deviation of their velocities per frame, as a share of the height (DeepSORT)."""
ASPECT_NOISE, ASPECT_VELOCITY_NOISE, MEASURED_ASPECT_NOISE = 1e-2, 1e-5, 1e-1
_SIZE = 4  # measured numbers: cx, cy, aspect, height


@dataclass(frozen=True, slots=True)
class MotionState:
    """What the filter believes about N boxes.

    Attributes:
        mean: N×8 float64: cx, cy, aspect, height and their velocities per frame.
        covariance: N×8×8 float64, symmetric positive definite.
    """

    mean: Tensor
    covariance: Tensor

    def __len__(self) -> int:
        return self.mean.shape[0]

    def pick(self, rows: Tensor | slice) -> "MotionState":
        """The filters of some objects."""
        return MotionState(self.mean[rows], self.covariance[rows])

    def moved(self, scale: tuple[float, float], shift: tuple[float, float]) -> "MotionState":
        """The filters on a grid on which (x, y) is at (x · scale[0] + shift[0], y · scale[1] + shift[1])."""
        sx, sy = scale
        by = self.mean.new_tensor([sx, sy, sx / sy, sy] * 2)
        mean = self.mean * by
        mean[:, 0] += shift[0]
        mean[:, 1] += shift[1]
        return MotionState(mean, self.covariance * by[:, None] * by)

    @staticmethod
    def join(states: Sequence["MotionState"]) -> "MotionState":
        """Filters of several objects as one batch."""
        return MotionState(torch.cat([s.mean for s in states]), torch.cat([s.covariance for s in states]))


def start_motion(boxes: Tensor) -> MotionState:
    """Begin N filters at their first boxes, N×4 (cx, cy, aspect, height), at rest but unsure of it."""
    boxes = boxes.double()
    noise = _noise(boxes[:, 3:4], 2 * POSITION_NOISE, 10 * VELOCITY_NOISE)
    return MotionState(torch.cat([boxes, torch.zeros_like(boxes)], dim=1), noise)


def predict_motion(state: MotionState) -> MotionState:
    """Let one frame pass."""
    noise = _noise(state.mean[:, 3:4].abs(), POSITION_NOISE, VELOCITY_NOISE)
    step = torch.eye(2 * _SIZE, dtype=state.mean.dtype, device=state.mean.device)
    step[:_SIZE, _SIZE:] = torch.eye(_SIZE, dtype=state.mean.dtype, device=state.mean.device)
    covariance = step @ state.covariance @ step.T + noise
    return MotionState(state.mean @ step.T, _symmetric(covariance))


def expected_boxes(state: MotionState) -> tuple[Tensor, Tensor]:
    """The boxes that a measurement should find.

    Returns:
        N×4 expected (cx, cy, aspect, height), and the innovation covariance N×4×4: how far a measurement may lie from
        it, the filter's own doubt and the measurement's together.
    """
    height = state.mean[:, 3:4].abs()
    place = POSITION_NOISE * height
    noise = torch.cat([place, place, torch.full_like(height, MEASURED_ASPECT_NOISE), place], dim=1)
    return state.mean[:, :_SIZE], state.covariance[:, :_SIZE, :_SIZE] + torch.diag_embed(noise.square())


def update_motion(state: MotionState, boxes: Tensor) -> MotionState:
    """Correct predicted filters by the boxes that were found, N×4 (cx, cy, aspect, height)."""
    expected, innovation = expected_boxes(state)
    cross = state.covariance[:, :, :_SIZE]  # N×8×4
    gain = torch.linalg.solve(innovation, cross.transpose(1, 2)).transpose(1, 2)
    surprise = (boxes.double() - expected).unsqueeze(-1)
    mean = state.mean + (gain @ surprise).squeeze(-1)
    return MotionState(mean, _symmetric(state.covariance - gain @ innovation @ gain.transpose(1, 2)))


def mask_boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """`mask_corners` as the float64 that the filter computes in, and where that is computed; see `exact_device`."""
    corners, found = mask_corners(masks)
    return corners.to(exact_device(masks.device)).double(), found


def mask_corners(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Tight boxes around masks.

    Args:
        masks: …×H×W bool.

    Returns:
        …×4 int64 (x0, y0, x1, y1), x1 and y1 exclusive, zeros where a mask is empty; and … bool, whether it is not.
    """
    columns, rows = masks.any(dim=-2), masks.any(dim=-1)
    found = rows.any(dim=-1)
    ends = []
    for line in (columns, rows):
        flags = line.to(torch.uint8)
        ends.append((flags.argmax(dim=-1), line.shape[-1] - flags.flip(-1).argmax(dim=-1)))
    (x0, x1), (y0, y1) = ends
    return torch.stack([x0, y0, x1, y1], dim=-1) * found.unsqueeze(-1), found


def to_motion_boxes(corners: Tensor) -> Tensor:
    """…×4 corners (x0, y0, x1, y1) as (cx, cy, aspect, height)."""
    x0, y0, x1, y1 = corners.unbind(-1)
    height = (y1 - y0).clamp_min(1e-6)
    return torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / height, height], dim=-1)


def to_corners(boxes: Tensor) -> Tensor:
    """…×4 (cx, cy, aspect, height) as corners (x0, y0, x1, y1)."""
    cx, cy, aspect, height = boxes.unbind(-1)
    half = aspect * height / 2
    return torch.stack([cx - half, cy - height / 2, cx + half, cy + height / 2], dim=-1)


def box_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU of boxes given by their corners, …×4 each (broadcast together); 0 where a box has no area."""
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp_min(0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp_min(0).prod(dim=-1) for box in (one, other)]
    union = areas[0] + areas[1] - shared
    return torch.where(union > 0, shared / union.clamp_min(1e-12), torch.zeros_like(union))


def _noise(height: Tensor, position: float, velocity: float) -> Tensor:
    """N×8×8 diagonal covariance; position and velocity are deviations as shares of the box's height N×1."""
    place, speed = position * height, velocity * height
    aspect, aspect_speed = torch.full_like(height, ASPECT_NOISE), torch.full_like(height, ASPECT_VELOCITY_NOISE)
    deviation = torch.cat([place, place, aspect, place, speed, speed, aspect_speed, speed], dim=1)
    return torch.diag_embed(deviation.square())


def _symmetric(matrix: Tensor) -> Tensor:
    """Take out what rounding made uneven."""
    return (matrix + matrix.transpose(1, 2)) / 2
