"""Objects proposed to a user who pointed at none, and a picture of them to choose from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw
from uamp_data.atomic import atomic_file
from uamp_model.errors import InputError

from uamp_cli.chart import FAINT, INK, PAPER, draw_swatch, line_colour, text_font
from uamp_cli.overlay import Box, Image, draw_overlay, object_box
from uamp_cli.prompts import ObjectPrompt, Plan

if TYPE_CHECKING:
    from uamp_model import Suggestion, VideoTracker

MOST = 8
_WIDTH, _MARGIN, _GAP, _COLUMNS = 1200, 20, 12, 4
_AROUND = 0.25
"""Share of an object's box that is shown around it."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """What the tracker would follow.

    Attributes:
        image: H×W×3 RGB, the frame they are on.
        frame: its number.
        found: best first; the object's number is its place, counted from 1.
    """

    image: Image
    frame: int
    found: Sequence["Suggestion"]

    def plan(self, wanted: Sequence[int], picture: Path) -> Plan:
        """Prompts for the objects of those numbers, or for the first if there are none; they keep their numbers.

        Raises:
            InputError: if there is no such object; the message names `picture`, which shows those that are.
        """
        chosen = _chosen(wanted)
        for number in chosen:
            if number > len(self.found):
                count = "only one object was" if len(self.found) == 1 else f"only {len(self.found)} objects were"
                raise InputError(
                    f"There is no object {number}: {count} proposed on frame {self.frame}, as {picture} shows."
                )
        return Plan(tuple(self._prompt(number) for number in chosen), self.frame)

    def _prompt(self, number: int) -> ObjectPrompt:
        mask = np.asarray(self.found[number - 1].mask, bool)
        return ObjectPrompt(number, self.frame, mask=mask, name=f"the proposed object {number}")

    def save(self, path: Path, wanted: Sequence[int]) -> None:
        """Write the picture of all of them.

        Args:
            path: the PNG.
            wanted: as `plan` takes it, to mark what is followed.

        Raises:
            DataError: it cannot be written.
        """
        with atomic_file(path) as temporary:
            self._draw(_chosen(wanted)).save(temporary, format="PNG")

    def _draw(self, followed: Sequence[int]) -> Pictures.Image:
        """The frame with all objects, those followed on top, and below it each of them by itself, larger."""
        inner = _WIDTH - 2 * _MARGIN
        size = (inner, max(1, round(inner * self.image.shape[0] / self.image.shape[1])))
        tile = (inner - (_COLUMNS - 1) * _GAP) // _COLUMNS
        rows = -(-len(self.found) // _COLUMNS)
        top = _MARGIN + 40 + size[1] + _GAP
        page = Pictures.new("RGB", (_WIDTH, top + rows * (tile + 32) + _MARGIN), PAPER)
        draw = ImageDraw.Draw(page)
        draw.text(
            (_MARGIN, _MARGIN - 4), f"Objects proposed on frame {self.frame}: --object N picks one", INK, text_font(24)
        )
        page.paste(Pictures.fromarray(draw_overlay(*self._shrunk(size, followed))), (_MARGIN, _MARGIN + 40))
        for number, suggestion in enumerate(self.found, start=1):
            row, column = divmod(number - 1, _COLUMNS)
            x, y = _MARGIN + column * (tile + _GAP), top + row * (tile + 32)
            page.paste(Pictures.fromarray(self._alone(number, tile)), (x, y))
            draw_swatch(draw, x, y + tile + 6, number)
            draw.text((x + 26, y + tile + 15), f"{number}", INK, text_font(18), anchor="lm")
            draw.text((x + 56, y + tile + 15), f"score {suggestion.score:.2f}", FAINT, text_font(15), anchor="lm")
            if number in followed:
                draw.rectangle([x, y, x + tile - 1, y + tile - 1], outline=line_colour(number), width=4)
                draw.text((x + tile, y + tile + 15), "followed", INK, text_font(18), anchor="rm")
        return page

    def _shrunk(self, size: tuple[int, int], followed: Sequence[int]) -> tuple[Image, Image]:
        """Frame and id map at another size; where objects overlap, one followed is on top, else the smaller one."""
        ids = np.zeros(self.image.shape[:2], np.uint8)
        masks = [np.asarray(suggestion.mask, bool) for suggestion in self.found]
        for place in sorted(range(len(masks)), key=lambda place: (place + 1 in followed, -int(masks[place].sum()))):
            ids[masks[place]] = place + 1
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        return np.asarray(image, np.uint8), np.asarray(cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST), np.uint8)

    def _alone(self, number: int, side: int) -> Image:
        """One object with a little around it, in a square."""
        mask = np.asarray(self.found[number - 1].mask, bool)
        x0, y0, x1, y1 = _with_margin(object_box(mask) or (0, 0, 1, 1), mask.shape[1], mask.shape[0])
        scale = side / max(x1 - x0, y1 - y0)
        size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
        part = cv2.resize(
            self.image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        ids = np.where(mask[y0:y1, x0:x1], np.uint8(number), np.uint8(0))
        ids = np.asarray(cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        out: Image = np.full((side, side, 3), 236, np.uint8)
        top, left = (side - size[1]) // 2, (side - size[0]) // 2
        out[top : top + size[1], left : left + size[0]] = draw_overlay(np.asarray(part, np.uint8), ids)
        return out


def propose(tracker: "VideoTracker", image: Image, frame: int) -> Proposals:
    """Let the tracker find up to `MOST` objects.

    Raises:
        InputError: if nothing stands out on the frame.
    """
    found = tracker.suggest_prompts(image, max_objects=MOST)
    if not found:
        raise InputError(f"No object stands out on frame {frame}: point at one with --box or --point.")
    return Proposals(image, frame, found)


def _chosen(wanted: Sequence[int]) -> tuple[int, ...]:
    """The numbers wanted, each once, or the first object's if there are none."""
    return tuple(dict.fromkeys(wanted)) or (1,)


def _with_margin(box: Box, width: int, height: int) -> Box:
    more = max(4, round(_AROUND * max(box[2] - box[0], box[3] - box[1])))
    return max(box[0] - more, 0), max(box[1] - more, 0), min(box[2] + more, width), min(box[3] + more, height)
