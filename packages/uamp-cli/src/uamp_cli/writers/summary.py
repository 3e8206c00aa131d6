"""One picture that sums a run up: frames of it with the objects, and scores and uncertainty over time."""

from array import array
from bisect import bisect
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw
from uamp_data.atomic import create_temporary, replace, unwritable

from uamp_cli.chart import FAINT, INK, PAPER, Chart, Curve, draw_chart, draw_swatch, text_font
from uamp_cli.overlay import Image, draw_overlay
from uamp_cli.tracking import TrackedFrame
from uamp_cli.writers.writer import VideoForm

TILES = 8
MOST_KEPT = 8 * TILES
"""From so many, or half of them, those shown are chosen: no further than a 64th of the video from their places."""
_WIDTH, _MARGIN, _GAP = 1600, 24, 12
_COLUMNS_WIDE, _COLUMNS_TALL = 4, 8
_CHART_HEIGHT = 210
_NOTHING = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    """A small overlay and the frame's number and seconds."""

    index: int
    time: float
    picture: Image


@dataclass(slots=True)
class _Curves:
    """Score and uncertainty of each object on every frame so far; an object that comes late has NaN before."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    scores: "dict[int, array[float]]" = field(default_factory=dict)
    doubts: "dict[int, array[float]]" = field(default_factory=dict)

    def add(self, frame: TrackedFrame) -> None:
        for object_id in frame.objects:
            for curves in (self.scores, self.doubts):
                curves.setdefault(object_id, array("f", [_NOTHING] * len(self.times)))
        self.times.append(frame.time)
        for object_id in self.scores:
            state = frame.objects.get(object_id)
            self.scores[object_id].append(_NOTHING if state is None else state.score)
            doubt = None if state is None else state.uncertainty
            self.doubts[object_id].append(_NOTHING if doubt is None else doubt)

    def charts(self) -> list[Chart]:
        times: Curve = np.array(self.times, np.float64)
        named = (
            ("score, the tracker's own estimate of its masks", self.scores),
            ("uncertainty, mean over each mask", self.doubts),
        )
        return [
            Chart(title, times, {i: np.array(values, np.float64) for i, values in sorted(curves.items())})
            for title, curves in named
        ]


class SummaryPicture:
    """A PNG with `TILES` frames spread over the video, and a chart each of scores and uncertainty.

    Memory does not grow with the video but for a few numbers a frame: while it is not known how long the video is,
    every frame, then every second, every fourth and so on is kept, small: at most `MOST_KEPT`, 16 MB for 16:9.
    """

    note: str | None = None

    def __init__(self, path: Path, form: VideoForm, title: str) -> None:
        """Start the picture.

        Args:
            path: the PNG.
            form: of the video.
            title: its heading.
        """
        self.path = path
        self._title = title
        self._target = path.resolve()
        self._temporary: Path | None = create_temporary(self._target)
        shown_width = form.width * form.pixel_aspect
        self._columns = _COLUMNS_WIDE if shown_width >= form.height else _COLUMNS_TALL
        width = (_WIDTH - 2 * _MARGIN - (self._columns - 1) * _GAP) // self._columns
        self._tile_size = (width, max(1, round(width * form.height / shown_width)))
        self._tiles: list[_Tile] = []
        self._stride = 1
        self._curves = _Curves()
        self._last: TrackedFrame | None = None

    def add(self, frame: TrackedFrame) -> None:
        """Note one frame."""
        self._curves.add(frame)
        self._last = frame
        if (len(self._curves.times) - 1) % self._stride == 0:
            self._tiles.append(self._tile(frame))
            if len(self._tiles) > MOST_KEPT:
                del self._tiles[1::2]
                self._stride *= 2

    def close(self) -> Path:
        """Draw and write it."""
        temporary, self._temporary = self._temporary, None
        if temporary is None:
            return self.path
        try:
            self._draw().save(temporary, format="PNG")
            replace(temporary, self._target)
        except OSError as error:
            raise unwritable(self.path, error) from error
        finally:
            temporary.unlink(missing_ok=True)
        return self.path

    def abort(self) -> None:
        """Discard it."""
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.unlink(missing_ok=True)

    def _tile(self, frame: TrackedFrame) -> _Tile:
        """The frame made small first and marked then, so that lines and labels keep their size."""
        image = np.asarray(cv2.resize(frame.image, self._tile_size, interpolation=cv2.INTER_AREA), np.uint8)
        ids = np.asarray(cv2.resize(frame.ids, self._tile_size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
        return _Tile(frame.index, frame.time, draw_overlay(image, ids))

    def _chosen(self) -> list[_Tile]:
        """At most `TILES` of the frames kept, evenly spread, with the first and the last of the video among them."""
        tiles = list(self._tiles)
        if self._last is not None and (not tiles or tiles[-1].index != self._last.index):
            tiles.append(self._tile(self._last))
        indices = np.array([tile.index for tile in tiles])
        ideal = np.linspace(indices[0], indices[-1], min(TILES, len(tiles)))
        return [tiles[place] for place in np.unique(np.abs(indices[:, None] - ideal).argmin(axis=0))]

    def _draw(self) -> Pictures.Image:
        tiles = self._chosen()
        width, height = self._tile_size
        row_height = height + 30
        rows = -(-len(tiles) // self._columns)
        top = _MARGIN + 78
        charts = self._curves.charts()
        page = Pictures.new(
            "RGB", (_WIDTH, top + rows * row_height + len(charts) * (_CHART_HEIGHT + _GAP) + _MARGIN), PAPER
        )
        draw = ImageDraw.Draw(page)
        self._draw_heading(draw)
        for number, tile in enumerate(tiles):
            x = _MARGIN + number % self._columns * (width + _GAP)
            y = top + number // self._columns * row_height
            page.paste(Pictures.fromarray(tile.picture), (x, y))
            draw.text((x, y + height + 4), f"{tile.time:.2f} s · frame {tile.index}", FAINT, text_font(15))
        for number, chart in enumerate(charts):
            y = top + rows * row_height + number * (_CHART_HEIGHT + _GAP) + _GAP
            page.paste(draw_chart(chart, _WIDTH - 2 * _MARGIN, _CHART_HEIGHT), (_MARGIN, y))
        return page

    def _draw_heading(self, draw: ImageDraw.ImageDraw) -> None:
        """The title, and which colour is which object."""
        draw.text((_MARGIN, _MARGIN - 4), _shortened(self._title, 28, _WIDTH - 2 * _MARGIN), INK, text_font(28))
        x, y = float(_MARGIN), _MARGIN + 44
        font = text_font(18)
        end = _WIDTH - _MARGIN - font.getlength("and 255 more")
        object_ids = sorted(self._curves.scores)
        for place, object_id in enumerate(object_ids):
            text = f"object {object_id}" if len(object_ids) <= TILES else str(object_id)
            width = 26 + font.getlength(text)
            if x + width > end:
                draw.text((x, y + 9), f"and {len(object_ids) - place} more", FAINT, font, anchor="lm")
                break
            draw_swatch(draw, x, y, object_id)
            draw.text((x + 26, y + 9), text, INK, font, anchor="lm")
            x += width + 16


def _shortened(text: str, size: float, room: float) -> str:
    """The text, without its middle where it is wider than `room` pixels in the font of that size."""
    text = " ".join(text.split())  # on one line
    font = text_font(size)

    def without(missing: int) -> str:
        kept = len(text) - missing
        return f"{text[: -(-kept // 2)]}…{text[len(text) - kept // 2 :]}" if missing else text

    return without(bisect(range(len(text)), False, key=lambda missing: font.getlength(without(missing)) <= room))
