"""Outlines that follow the picture's edges: a guided filter around each object. Shapes: see `types.py`.

The network sees a small picture and draws on a grid of four of its pixels, so that its outlines are coarse and lie a
little off. The guided filter (He, Sun and Tang, 2013) takes the object's probability for a linear function of colour
within every small window, which puts its edges where the colours change. Its coefficients are found in a square of
fixed side around each object and applied to the video's own pixels (He and Sun, 2015), so that the cost does not grow
with the video's size but for that last step. It changes what a frame shows, not what is remembered of it. How the
constants were chosen: docs/method.md.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model.devices import autocast
from uamp_model.motion import mask_corners

SIDE = 96
"""Side of the square that an object's surroundings are scaled to."""
RADIUS = 5
"""Of the filter's windows, in pixels of that square."""
SMOOTHNESS = 1e-4
"""ε: variance of colours, each in [0, 1], below which they say nothing."""
MARGIN = 0.3
"""What is looked at on each side of the mask's box, as a share of the box."""
LEAST = 24
"""Smallest side of what is looked at, in pixels of the video."""
FINEST = 1024
"""Longer side from which on surroundings are filtered in a smaller size, and the result is enlarged."""
SURE = 1e-4
"""Probabilities stay this far from 0 and 1, so that logits are finite."""


def follow_edges(logits: Tensor, frame: Tensor, strength: float = 1.0) -> Tensor:
    """Masks with outlines along the frame's edges.

    Args:
        logits: N×H×W float32.
        frame: H×W×3 uint8 RGB, on the same device.
        strength: share of the filtered probability in the result, in [0, 1]; the rest is the given one.

    Returns:
        N×H×W logits, changed around the masks alone; those of an empty mask are as they were.
    """
    aligned = logits.clone()
    corners, found = mask_corners(logits > 0)
    with autocast(logits.device, torch.float32):
        for own, (x0, y0, x1, y1), here in zip(aligned, corners.tolist(), found.tolist(), strict=True):
            if here:
                window = _widened(y0, y1), _widened(x0, x1)
                guide = frame[window].float().div_(255).permute(2, 0, 1).contiguous()
                own[window] = _filter(own[window], guide, strength)
    return aligned


def _widened(first: int, end: int) -> slice:
    """Rows or columns of a box with its surroundings."""
    length = end - first
    more = round(max(MARGIN * length, (LEAST - length) / 2))
    return slice(max(0, first - more), end + more)


def _filter(logits: Tensor, guide: Tensor, strength: float) -> Tensor:
    """h×w logits that follow the edges of a 3×h×w guide."""
    size, square = (guide.shape[-2], guide.shape[-1]), (SIDE, SIDE)
    if max(size) > FINEST:
        height, width = (max(1, round(side * FINEST / max(size))) for side in size)
        small = _filter(_scaled(logits[None], (height, width))[0], _scaled(guide, (height, width)), strength)
        return _scaled(small[None], size)[0]
    probability = logits.sigmoid()
    slopes, offset = _coefficients(_scaled(guide, square), _scaled(probability[None], square)[0])
    *slope, filtered = _scaled(torch.cat([slopes, offset[None]]), size)
    for along, colour in zip(slope, guide, strict=True):
        filtered = filtered.addcmul(along, colour)
    return torch.lerp(probability, filtered, strength).clamp(SURE, 1 - SURE).logit()


def _coefficients(colours: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The filter's linear functions of colour, averaged over the windows that a pixel is in: slopes 3×s×s, offset s×s.

    Args:
        colours: 3×s×s.
        values: s×s, what is to be filtered.
    """
    (r, g, b), v = colours, values
    means = _window_means(torch.stack([r, g, b, v, r * r, r * g, r * b, g * g, g * b, b * b, r * v, g * v, b * v]))
    mr, mg, mb, mv = means[:4]
    rr, rg, rb, gg, gb, bb = (
        square - product
        for square, product in zip(means[4:10], (mr * mr, mr * mg, mr * mb, mg * mg, mg * mb, mb * mb), strict=True)
    )
    rr, gg, bb = rr + SMOOTHNESS, gg + SMOOTHNESS, bb + SMOOTHNESS
    rv, gv, bv = means[10] - mr * mv, means[11] - mg * mv, means[12] - mb * mv
    # the inverse of the colours' covariance, symmetric, by its cofactors
    c00, c01, c02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c11, c12, c22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = 1 / (rr * c00 + rg * c01 + rb * c02)
    slopes = scale * torch.stack(
        [c00 * rv + c01 * gv + c02 * bv, c01 * rv + c11 * gv + c12 * bv, c02 * rv + c12 * gv + c22 * bv]
    )
    offset = mv - slopes[0] * mr - slopes[1] * mg - slopes[2] * mb
    averaged = _window_means(torch.cat([slopes, offset[None]]))
    return averaged[:3], averaged[3]


def _window_means(maps: Tensor) -> Tensor:
    """Means of K×s×s maps over windows of 2·RADIUS + 1 pixels, or what of them is on the map.

    By sums of shifted maps, not by products: those may be set to round more than differences of means can bear.
    """
    side = maps.shape[-1]
    place = torch.arange(side, device=maps.device)
    counts = (place + RADIUS).clamp_max(side - 1) - (place - RADIUS).clamp_min(0) + 1
    for _ in range(2):
        wide = F.pad(maps, (RADIUS, RADIUS))
        total = wide[..., :side].clone()
        for shift in range(1, 2 * RADIUS + 1):
            total += wide[..., shift : shift + side]
        maps = (total / counts).transpose(-1, -2)
    return maps


def _scaled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """K×h×w to another size."""
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False, antialias=True)[0]
