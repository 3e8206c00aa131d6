"""Finds the frames where tracking failed and draws them: the picture with the contours of truth and prediction."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import cv2
import numpy as np
from numpy.typing import NDArray

from uamp_eval.metrics import Mask
from uamp_eval.results_files import Evaluation
from uamp_eval.scoring import ReadMask
from uamp_eval.sequences import Image, VideoSequence

TRUTH_COLOUR = (38, 208, 255)
PREDICTION_COLOUR = (255, 63, 174)
"""RGB. Blue and pink stay apart for every kind of colour vision."""

_WIDTH, _JPEG_QUALITY, _SUBPIXEL_BITS = 480, 78, 4

_SMALLEST_VIEW, _SURROUNDINGS = 0.4, 1.7
"""A picture shows at least this share of the frame's sides, and so many times the sides of what is outlined."""

_LEAST_DISTANCE = 5
"""Scored frames between two worst frames of one object: neighbours show the same failure."""

Window = tuple[slice, slice]
"""Rows and columns of a frame."""


@dataclass(frozen=True, slots=True)
class FrameScore:
    """What a setting reached on one object in one frame: J and F, each in [0, 1]."""

    setting: str
    j: float
    f: float


@dataclass(frozen=True, slots=True)
class WorstFrame:
    """A frame in which a setting failed on an object, and what all settings reached there."""

    sequence: str
    object_id: int
    frame: str
    scores: tuple[FrameScore, ...]

    @property
    def lowest(self) -> float:
        """J of the setting that failed most."""
        return min(score.j for score in self.scores)


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """A worst frame under one setting.

    Attributes:
        score: What the setting reached.
        picture: JPEG as a data address.
        width: Pixels.
        height: Pixels.
        found_nothing: The setting shows no pixel of the object.
        truth_empty: The object is out of sight.
    """

    score: FrameScore
    picture: str
    width: int
    height: int
    found_nothing: bool
    truth_empty: bool


def find_worst_frames(evaluations: Sequence[Evaluation], most: int) -> list[WorstFrame]:
    """Choose the frames of lowest J under any setting, lowest first, `most` at the most.

    Every object gives its worst frame before any gives another, and then only frames apart from those it gave, or a
    single lost object would fill the list. Frames that all settings got perfectly right are not among them.
    """
    scores: dict[tuple[str, int], dict[str, list[FrameScore]]] = {}
    for evaluation in evaluations:
        for result in evaluation.objects:
            frames = scores.setdefault((result.sequence, result.object_id), {})
            for frame, j, f in zip(result.frames, result.jaccard, result.boundary, strict=True):
                frames.setdefault(frame, []).append(FrameScore(evaluation.name, float(j), float(f)))
    offers = [
        _apart([WorstFrame(*key, frame, tuple(reached)) for frame, reached in frames.items()], most)
        for key, frames in scores.items()
    ]
    rounds = zip_longest(*offers)
    chosen = [found for offered in rounds for found in sorted(filter(None, offered), key=_lowest)]
    return sorted(chosen[:most], key=_lowest)


def _apart(frames: Sequence[WorstFrame], most: int) -> list[WorstFrame]:
    """Choose an object's frames of lowest J, lowest first, from different parts of its video."""
    distance = max(_LEAST_DISTANCE, len(frames) // most)
    chosen: list[int] = []
    for number in sorted(range(len(frames)), key=lambda number: frames[number].lowest):
        if frames[number].lowest < 1 and all(abs(number - other) >= distance for other in chosen):
            chosen.append(number)
    return [frames[number] for number in chosen[:most]]


def _lowest(found: WorstFrame) -> float:
    return found.lowest


def draw_worst_frame(
    worst: WorstFrame, sequence: VideoSequence, evaluations: Mapping[str, Evaluation], read: ReadMask
) -> list[DrawnFrame]:
    """Draw the part of a frame around an object, once for each setting.

    Args:
        worst: Which frame.
        sequence: Its video.
        evaluations: By name of the setting.
        read: Reads a mask.

    Raises:
        Exception: What `read` and the video raise where a file cannot be read.
    """
    number = list(sequence.frame_names).index(worst.frame)
    image = sequence.image(number)
    truth = sequence.annotation(number) == worst.object_id
    paths = {name: evaluations[name].results / worst.sequence / f"{worst.frame}.png" for name in evaluations}
    masks = [read(paths[score.setting]) == worst.object_id for score in worst.scores]
    window = view_of(np.logical_or.reduce([truth, *masks]))
    drawn = []
    for score, mask in zip(worst.scores, masks, strict=True):
        picture = draw_contours(image[window], truth[window], mask[window])
        height, width = picture.shape[:2]
        drawn.append(DrawnFrame(score, _jpeg_address(picture), width, height, not mask.any(), not truth.any()))
    return drawn


def view_of(mask: Mask) -> Window:
    """Choose the part of a frame that shows a mask and its surroundings, in the shape of the frame.

    Args:
        mask: H×W bool; an empty one gives the whole frame.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    extents = [(int(hit[0]), int(hit[-1]) + 1, side) for hit, side in zip((rows, columns), mask.shape, strict=True)]
    share = max(_SMALLEST_VIEW, *(_SURROUNDINGS * (last - first) / side for first, last, side in extents))
    window = []
    for first, last, side in extents:
        length = min(side, round(share * side))
        start = min(max((first + last - length) // 2, 0), side - length)
        window.append(slice(start, start + length))
    return window[0], window[1]


def draw_contours(image: Image, truth: Mask, prediction: Mask) -> Image:
    """Draw the outlines of two masks on a frame or a part of it, at the width of a report's picture.

    Args:
        image: H×W×3 uint8, RGB.
        truth: H×W bool, outlined in `TRUTH_COLOUR`.
        prediction: H×W bool, outlined in `PREDICTION_COLOUR`.

    Returns:
        h×w×3 uint8, RGB, 480 pixels wide.
    """
    height, width = image.shape[:2]
    scale = _WIDTH / width
    size = (_WIDTH, max(1, round(height * scale)))
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    outlines = [(_outlines(truth, scale), TRUTH_COLOUR), (_outlines(prediction, scale), PREDICTION_COLOUR)]
    # A dark rim below both keeps them visible on bright ground.
    for thickness, dark in ((4, True), (2, False)):
        for lines, colour in outlines:
            cv2.polylines(
                canvas,
                lines,
                isClosed=True,
                color=(16, 16, 16) if dark else colour,
                thickness=thickness,
                lineType=cv2.LINE_AA,
                shift=_SUBPIXEL_BITS,
            )
    return canvas.astype(np.uint8, copy=False)


def _outlines(mask: Mask, scale: float) -> list[NDArray[np.int32]]:
    """Trace a mask at full resolution; the points are scaled and in fractions of a pixel as cv2 wants them."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    factor = scale * (1 << _SUBPIXEL_BITS)
    centre = (scale - 1) / 2 * (1 << _SUBPIXEL_BITS)
    return [np.round(contour * factor + centre).astype(np.int32) for contour in contours]


def _jpeg_address(picture: Image) -> str:
    written, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not written:
        raise RuntimeError("cv2 could not encode a picture as JPEG.")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
