"""What a tab's page shows: pictures, sentences and what can be pressed. Pictures of large video are scaled down."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from uamp_cli import heat, overlay
from uamp_cli.overlay import Image
from uamp_cli.page.jobs import sentence
from uamp_cli.page.marks import Marks
from uamp_cli.page.results import Found
from uamp_cli.page.state import PageState
from uamp_cli.page.tracking import Trackers

if TYPE_CHECKING:
    from uamp_data.frames import Frame

LONGEST_SIDE = 960
"""Pixels of a shown picture."""
_ON, _BESIDE = (40, 200, 90), (235, 60, 60)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Everything the page shows.

    Attributes:
        picture: the frame with masks and marks, None without a video.
        doubt: the frame under its uncertainty, as far as it is known; None without a video.
        caption: which frame that is.
        message: a sentence.
        is_error: whether it says that something went wrong.
        progress: how far the work in the background is, in [0, 1], None without any.
        work: the same in words.
    """

    picture: Image | None
    doubt: Image | None
    caption: str
    message: str
    is_error: bool
    progress: float | None
    work: str


def view(state: PageState, trackers: Trackers) -> View:
    """What to show now: the frame that is looked at, or while there is work, the frame that it has come to."""
    job = state.job if state.is_busy else None
    index = state.frame if job is None or job.frame is None else job.frame
    picture, doubt, seconds = None, None, None
    if state.clip is not None:
        try:
            frame = state.clip.frame(index)
            seconds = frame.time
            found = found_on(state, trackers, frame, looks=job is None)
            picture, doubt = _draw(state, frame, found)
        except Exception as error:
            state.say(sentence(error), is_error=True)
    return View(
        picture,
        doubt,
        _caption(state, index, seconds),
        state.message,
        state.is_error,
        None if job is None else job.done / max(job.total, 1),
        "" if job is None else _work(state),
    )


def shown_scale(width: int, height: int) -> float:
    """Shown pixels for one of the video's."""
    return min(LONGEST_SIDE / max(width, height), 1.0)


def found_on(state: PageState, trackers: Trackers, frame: "Frame", *, looks: bool = True) -> Found | None:
    """What is known about a frame: the tracked result, or with `looks` what the marks say if they came later."""
    marks = state.drawing.at(frame.index)
    tracked = state.track.results.get(frame.index)
    if not looks or not marks or state.track.is_current(frame.index, state.drawing):
        return tracked
    key = (frame.index, repr(marks), state.model, state.memory, state.track.valid_to)
    if state.seen is None or state.seen[0] != key:
        tracker = trackers.get(state.model, state.memory)
        state.seen = (key, state.eye.look(tracker, frame, marks, tracked))
    return state.seen[1]


def _draw(state: PageState, frame: "Frame", found: Found | None) -> tuple[Image, Image]:
    height, width = frame.image.shape[:2]
    scale = shown_scale(width, height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    picture = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    found = found or Found(np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8), {})
    ids = np.asarray(cv2.resize(found.ids, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    values = np.asarray(cv2.resize(found.doubt, size, interpolation=cv2.INTER_AREA), np.uint8)
    scores = {i: s.score for i, s in found.objects.items()}

    def mark(image: Image) -> None:
        for object_id, marks in state.drawing.by_frame.get(frame.index, {}).items():
            _draw_marks(image, object_id, marks, scale)

    shown = overlay.draw_overlay(picture, ids, scores, mark=mark)
    doubt = heat.draw_heat(picture, values)
    heat.draw_legend(doubt, "uncertainty")
    return shown, doubt


def _draw_marks(image: Image, object_id: int, marks: Marks, scale: float) -> None:
    """Clicks as dots with a plus or a minus in a ring, boxes as lines, in the object's colour, in place."""
    radius, colour = max(round(min(image.shape[:2]) / 60), 5), overlay.colour_of(object_id)
    if marks.box is not None:
        x0, y0, x1, y1 = (round(edge * scale) for edge in marks.box)
        cv2.rectangle(image, (x0, y0), (x1, y1), overlay.DARK, 5)
        cv2.rectangle(image, (x0, y0), (x1, y1), colour, 3)
    if marks.corner is not None:
        x, y = (round(value * scale) for value in marks.corner)
        cv2.drawMarker(image, (x, y), overlay.DARK, cv2.MARKER_CROSS, 4 * radius, 5)
        cv2.drawMarker(image, (x, y), colour, cv2.MARKER_CROSS, 4 * radius, 3)
    for left, top, label in marks.points:
        centre = (round(left * scale), round(top * scale))
        cv2.circle(image, centre, radius + 5, overlay.DARK, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(image, centre, radius + 4, colour, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(image, centre, radius + 1, overlay.LIGHT, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(image, centre, radius, _ON if label else _BESIDE, cv2.FILLED, cv2.LINE_AA)
        for step in ((1, 0), (0, 1)) if label else ((1, 0),):
            reach = radius - 2
            ends = [(centre[0] + sign * step[0] * reach, centre[1] + sign * step[1] * reach) for sign in (-1, 1)]
            cv2.line(image, ends[0], ends[1], overlay.LIGHT, 2)


def _caption(state: PageState, index: int, seconds: float | None) -> str:
    """Where one is in the video; the time is that of the frame, if it could be read."""
    if state.clip is None:
        return ""
    parts = [f"frame {index} of {state.clip.frame_count - 1}"]
    if seconds is not None:
        parts.append(f"{seconds:.2f} s")
    if index in state.track.results and not state.is_busy and not state.track.is_current(index, state.drawing):
        parts.append("tracked before your last change")
    return " · ".join(parts)


def _work(state: PageState) -> str:
    job = state.job
    if job is None:
        return ""
    parts = [job.what]
    if job.total > 0:
        parts.append(f"{job.done} of {job.total} frames")
    seconds = time.monotonic() - state.job_started
    if job.done > 0 and seconds > 1:
        parts.append(f"{job.done / seconds:.1f} frames/s")
        parts.append(f"{_duration((job.total - job.done) * seconds / job.done)} left")
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    whole = max(round(seconds), 0)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60:02d} s"


def object_labels(state: PageState) -> Iterable[tuple[str, int]]:
    """The objects as the list of them shows them."""
    first = state.drawing.first_frames()
    for object_id in state.object_ids:
        where = f"from frame {first[object_id]}" if object_id in first else "not marked yet"
        yield f"{object_id}: {where}", object_id
