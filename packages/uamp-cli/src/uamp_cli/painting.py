"""What a frame of the output video shows: the tracked objects, and beside them what else there is to see."""

import numpy as np
import numpy.typing as npt

from uamp_cli import heat, overlay
from uamp_cli.tracking import Ids, TrackedFrame

Image = npt.NDArray[np.uint8]

_SCREEN = (16, 9)


class FramePainter:
    """Paints frames of the output: one panel, or several of the same size in a grid that suits a wide screen.

    Alone: the frame with its objects. With the truth of a generated clip: the true objects beside it. With uncertainty:
    the frame under a heat map of it; and if the truth is known, the same of where the tracked objects differ from it.
    """

    def __init__(self, height: int, width: int, *, truth: Ids | None, shows_uncertainty: bool) -> None:
        """Decides on the panels.

        Args:
            height: of the video in pixels.
            width: of the video in pixels.
            truth: T×H×W true object ids, if they are known.
            shows_uncertainty: whether the frames carry an uncertainty map, which is to be shown.
        """
        self._truth = truth
        panels = (2 if truth is not None else 1) * (2 if shows_uncertainty else 1)
        self._columns = choose_columns(panels, height, width)
        self.size = (panels // self._columns * height, self._columns * width)
        """Height and width of the output in pixels."""

    def paint(self, frame: TrackedFrame) -> Image:
        """The picture of one frame, H×W×3 RGB of the painter's size."""
        scores = {i: state.score for i, state in frame.objects.items()}
        truth = self._truth[frame.index] if self._truth is not None else None
        is_alone = truth is None and frame.uncertainty is None
        panels = [overlay.draw_overlay(frame.image, frame.ids, scores, None if is_alone else "tracked")]
        if truth is not None:
            panels.append(overlay.draw_overlay(frame.image, truth, caption="truth"))
        if frame.uncertainty is not None:
            panels.append(_uncertainty_panel(frame, frame.uncertainty))
            if truth is not None:
                panels.append(heat.draw_heat(frame.image, np.where(frame.ids != truth, np.uint8(255), np.uint8(0))))
                overlay.draw_caption(panels[3], "wrong")
        return panels[0] if is_alone else self._grid(panels)

    def _grid(self, panels: list[Image]) -> Image:
        rows = [panels[start : start + self._columns] for start in range(0, len(panels), self._columns)]
        return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)


def choose_columns(panels: int, height: int, width: int) -> int:
    """In how many columns panels of a size are largest on a wide screen; no place of the grid stays empty.

    Panels that are as large in rows as in columns go beside each other.
    """

    def need(columns: int) -> int:
        rows = panels // columns
        return max(columns * width * _SCREEN[1], rows * height * _SCREEN[0])

    fitting = [columns for columns in range(panels, 0, -1) if panels % columns == 0]
    return min(fitting, key=need)


def _uncertainty_panel(frame: TrackedFrame, uncertainty: heat.Map) -> Image:
    """The frame under its uncertainty, each object's number and mean uncertainty at its mask."""
    picture = heat.draw_heat(frame.image, uncertainty)
    parts = {object_id: overlay.largest_part(frame.ids == object_id) for object_id in frame.objects}
    boxes = {object_id: part for object_id, part in parts.items() if part is not None}
    means = {i: state.uncertainty for i, state in frame.objects.items() if state.uncertainty is not None}
    overlay.draw_labels(picture, boxes, means, heat.draw_legend(picture, "uncertainty"))
    return picture
