"""Draws curves over time, one for each object, on white."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from uamp_cli.overlay import colour_of, round_of

Curve = npt.NDArray[np.float64]
INK, FAINT, GRID, PAPER = (40, 40, 44), (120, 120, 128), (226, 226, 230), (255, 255, 255)
_SMOOTH = 2
"""Drawn this many times as large and then shrunk, which gives lines soft edges."""
_LIGHTEST = 150
"""Brightest a line may be to stand out on white."""
_DASHES = (None, (12, 6), (4, 5))
"""Pixels of line and gap in the first, second and third round of colours; then they come again."""
_SWATCH = 18
_SLITS = ((), ((7, 10),), ((4, 6), (11, 13)))
"""First and last column of the gaps that a swatch has in each round, as its line has."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Values in [0, 1] over time.

    Attributes:
        title: what the values are.
        times: T seconds, growing.
        curves: by object id T values, NaN where there is none.
    """

    title: str
    times: Curve
    curves: Mapping[int, Curve]


def text_font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def line_colour(object_id: int) -> tuple[int, int, int]:
    """The object's colour, darkened where it would be faint on white."""
    colour = colour_of(object_id)
    brightness = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    dim = min(1.0, _LIGHTEST / brightness)
    red, green, blue = (round(part * dim) for part in colour)
    return red, green, blue


def draw_swatch(draw: ImageDraw.ImageDraw, x: float, y: float, object_id: int) -> None:
    """A small square in the colour of the object's line, with gaps where the line is dashed."""
    draw.rounded_rectangle([x, y, x + _SWATCH, y + _SWATCH], 4, line_colour(object_id))
    for first, last in _SLITS[round_of(object_id) % len(_SLITS)]:
        draw.rectangle([x + first, y, x + last, y + _SWATCH], PAPER)


def draw_chart(chart: Chart, width: int, height: int) -> Pictures.Image:
    """A picture of the chart, `width`×`height` pixels."""
    canvas = Pictures.new("RGB", (width * _SMOOTH, height * _SMOOTH), PAPER)
    draw = ImageDraw.Draw(canvas)
    size = 15 * _SMOOTH
    left, top, bottom = 3 * size, 2 * size, height * _SMOOTH - 2 * size
    right = width * _SMOOTH - size
    draw.text((0, 0), chart.title, INK, text_font(1.15 * size))
    for value in (0.0, 0.5, 1.0):
        y = bottom + (top - bottom) * value
        draw.line([(left, y), (right, y)], GRID, _SMOOTH)
        draw.text((left - size // 2, y), f"{value:g}", FAINT, text_font(size), anchor="rm")
    end = float(chart.times[-1]) if chart.times[-1] > 0 else 1.0
    for time in _ticks(end):
        x = left + (right - left) * time / end
        draw.line([(x, bottom), (x, bottom + size // 3)], FAINT, _SMOOTH)
        draw.text((x, bottom + size // 2), f"{time:g} s", FAINT, text_font(size), anchor="mt")
    for object_id, curve in chart.curves.items():
        xs, ys = _binned(chart.times / end, curve, max((right - left) // _SMOOTH, 1))
        points = np.stack([left + (right - left) * xs, bottom + (top - bottom) * ys.clip(0, 1)], axis=1)
        _draw_runs(draw, points, object_id)
    return canvas.resize((width, height), Pictures.Resampling.LANCZOS)


def _ticks(end: float) -> list[float]:
    """Round times from 0 to `end`, about six of them."""
    rough = end / 6
    base = 10 ** np.floor(np.log10(rough))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough)
    return [float(f"{step * k:.6g}") for k in range(int(end / step + 1e-9) + 1)]


def _binned(xs: Curve, ys: Curve, bins: int) -> tuple[Curve, Curve]:
    """Means over `bins` equal parts of [0, 1] where there are more points than that; NaN where there is none."""
    if len(xs) <= bins:
        return xs, ys
    place = np.minimum((xs * bins).astype(np.int64), bins - 1)
    known = ~np.isnan(ys)
    count = np.bincount(place[known], minlength=bins)
    total = np.bincount(place[known], weights=ys[known], minlength=bins)
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return (np.arange(bins) + 0.5) / bins, means


def _draw_runs(draw: ImageDraw.ImageDraw, points: Curve, object_id: int) -> None:
    """Lines through points that follow each other, broken where one is NaN; a lone point is a dot."""
    colour, dash = line_colour(object_id), _DASHES[round_of(object_id) % len(_DASHES)]
    known = ~np.isnan(points[:, 1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        run = points[start:stop]
        if len(run) == 1:
            x, y = run[0].tolist()
            draw.ellipse([x - 2 * _SMOOTH, y - 2 * _SMOOTH, x + 2 * _SMOOTH, y + 2 * _SMOOTH], colour)
            continue
        for part in [run] if dash is None else _dashed(run, *(length * _SMOOTH for length in dash)):
            draw.line([(x, y) for x, y in part.tolist()], colour, 2 * _SMOOTH, joint="curve")


def _dashed(run: Curve, length: int, gap: int) -> Iterator[Curve]:
    """The parts of a line through N×2 points that its dashes cover."""
    along = np.concatenate([[0], np.hypot(*np.diff(run, axis=0).T).cumsum()])
    for start in np.arange(0, along[-1], length + gap):
        ends = np.array([start, min(start + length, along[-1])])
        first, last = (np.stack([np.interp(end, along, axis) for axis in run.T]) for end in ends)
        inside = run[np.searchsorted(along, ends[0], "right") : np.searchsorted(along, ends[1])]
        yield np.concatenate([[first], inside, [last]])
