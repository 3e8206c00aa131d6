"""Runs a tracker over frames, forwards and backwards from the prompts, and makes one id map of each frame's objects.

Objects are followed forwards from their first prompt while the video streams by. The frames before an object's first
prompt are tracked backwards, before anything is written: they wait on disk, as do that pass's results, so that memory
does not grow with the video.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from uamp_model.errors import InputError

from uamp_cli.overlay import object_box
from uamp_cli.prompts import Plan

if TYPE_CHECKING:
    from uamp_data.frames import Frame
    from uamp_model import FrameResult, VideoTracker
    from uamp_model.rehearsal import Tell
    from uamp_model.sam2 import ImageFeatures

Image = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint8]
Map = npt.NDArray[np.uint8]

_TOGETHER_ON_GPU = 4


@dataclass(frozen=True, slots=True)
class ObjectState:
    """One object on one frame.

    Attributes:
        box: left, top, right and bottom edge of its mask in pixels, None where the mask is empty.
        area: pixels of its mask.
        score: the tracker's own estimate of the mask's quality, in [0, 1].
        uncertainty: mean over the mask, in [0, 1], None where the mask is empty.
    """

    box: tuple[int, int, int, int] | None
    area: int
    score: float
    uncertainty: float | None


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """One frame and what was found on it.

    Attributes:
        index: number of the frame, from 0.
        time: seconds since the start of the video.
        image: H×W×3 uint8 RGB.
        ids: H×W uint8, the object of each pixel, 0 for none.
        objects: state of each object, by id.
        uncertainty: H×W uint8, the largest uncertainty of any object at each pixel, 255 for 1; None if not asked for.
    """

    index: int
    time: float
    image: Image
    ids: Ids
    objects: dict[int, ObjectState]
    uncertainty: Map | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A tracker's result for N objects: N×H×W logits and uncertainty, N scores; `shown` is H×W, see `TrackedFrame`."""

    ids: tuple[int, ...]
    logits: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    shown: Map | None = None

    @staticmethod
    def of(result: "FrameResult") -> "_Found":
        return _Found(
            result.object_ids,
            result.logits.float().cpu().numpy(),
            result.uncertainty.float().cpu().numpy(),
            result.scores.float().cpu().numpy(),
        )

    def rows(self, rows: list[int]) -> "_Found":
        """The result for some of the objects alone."""
        ids = tuple(self.ids[row] for row in rows)
        return _Found(ids, self.logits[rows], self.uncertainty[rows], self.scores[rows])

    def with_map(self) -> "_Found":
        """The same, with the map of the largest uncertainty over its objects."""
        largest = self.uncertainty.max(axis=0, initial=0)
        return replace(self, shown=cv2.convertScaleAbs(largest, alpha=255))


class FrameSpool:
    """The first frames of a video. One alone stays in memory; more are kept on disk, without loss."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._frames: list[Frame] = []

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> "Frame":
        frame = self._frames[index]
        return replace(frame, image=_load_image(self._path(index))) if frame.image.size == 0 else frame

    def append(self, frame: "Frame", *, on_disk: bool) -> None:
        """Add the next frame."""
        if on_disk:
            image = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
            _, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            self._path(len(self)).write_bytes(encoded.tobytes())
            frame = replace(frame, image=np.zeros((0, 0, 3), np.uint8))
        self._frames.append(frame)

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.png"


def _load_image(path: Path) -> Image:
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"The temporary file {path} was changed while it was needed: run again.")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_head(frames: Iterator["Frame"], last: int, folder: Path, *, ahead: int = 0) -> FrameSpool:
    """Take frames 0 to `last` from the video, and `ahead` more as far as there are any.

    Raises:
        InputError: if the video ends before frame `last`.
    """
    spool = FrameSpool(folder)
    for frame in frames:
        spool.append(frame, on_disk=last + ahead > 0)
        if len(spool) > last + ahead:
            return spool
    if len(spool) == 0:
        raise InputError("The input has no frames.")
    if len(spool) > last:
        return spool
    raise InputError(f"There is a prompt on frame {last}, but the last one is {len(spool) - 1}, counted from 0.")


def rehearse_on(tracker: "VideoTracker", spool: FrameSpool, plan: Plan, steps: int, tell: "Tell") -> "VideoTracker":
    """The tracker with layers that know the plan's objects, learned from the frames that wait in the spool."""
    from uamp_model import rehearse

    frames = (spool[index].image for index in range(len(spool)))
    prompts = {frame: {i: p.to_model() for i, p in plan.at(frame).items()} for frame in range(len(spool))}
    return rehearse(tracker, frames, prompts, steps=steps, tell=tell)


def track_backwards(
    tracker: "VideoTracker",
    spool: FrameSpool,
    plan: Plan,
    folder: Path,
    num_frames: int | None,
    on_frame: Callable[[], None],
    *,
    with_map: bool = False,
) -> None:
    """Track every object from its first prompt down to frame 0 and leave the results, map or none, in `folder`."""
    if plan.reach == 0:
        return
    session = tracker.start(first_frame=plan.reach, reverse=True, num_frames=num_frames)
    for index in range(plan.reach, -1, -1):
        starting = {i: p.to_model() for i, p in plan.at(index).items() if plan.first_frames[i] == index}
        found = _Found.of(session.step(spool[index].image, starting))
        keep = [row for row, i in enumerate(found.ids) if plan.first_frames[i] > index]
        earlier = found.rows(keep)
        _save_found(earlier.with_map() if with_map else earlier, _found_path(folder, index))
        on_frame()


def track_forwards(
    tracker: "VideoTracker",
    spool: FrameSpool,
    rest: Iterable["Frame"],
    plan: Plan,
    folder: Path,
    num_frames: int | None,
    *,
    with_map: bool = False,
    together: int = 1,
) -> Iterator[TrackedFrame]:
    """Track from frame 0 on as the video streams by, and join in what the backward pass left in `folder`.

    `with_map` gives each frame its uncertainty map, if the backward pass was asked for it too; `together` is how many
    frames the image encoder takes at once.
    """
    start = min(plan.first_frames.values())
    session = tracker.start(first_frame=start, num_frames=num_frames)
    for frame, features in _encoded(tracker, _all_frames(spool, rest), start, together):
        parts = []
        if frame.index >= start:
            prompts = {i: p.to_model() for i, p in plan.at(frame.index).items()}
            found = _Found.of(session.step(frame.image, prompts, features=features))
            parts.append(found.with_map() if with_map else found)
        if frame.index < plan.reach:
            parts.append(_load_found(_found_path(folder, frame.index)))
        yield _merge(frame, parts)


def frames_together(tracker: "VideoTracker", *, live: bool) -> int:
    """How many frames the image encoder should take at once: several keep a GPU busy, but a live picture must not wait.

    On a CPU a batch takes as long as its frames one by one; a tracker with a focus cannot know what it will look at.
    """
    waits = live or tracker.exact or tracker.focus > 0
    return _TOGETHER_ON_GPU if tracker.device.type == "cuda" and not waits else 1


def _encoded(
    tracker: "VideoTracker", frames: Iterable["Frame"], start: int, together: int
) -> Iterator[tuple["Frame", "ImageFeatures | None"]]:
    """Each frame with its image features, from frame `start` on `together` of them computed at once.

    None leaves them to the session; frames before `start` need none.
    """
    if together == 1:
        yield from ((frame, None) for frame in frames)
        return
    group: list[Frame] = []
    source = iter(frames)
    while True:
        try:
            frame = next(source, None)
        except BaseException:
            yield from _with_features(tracker, group, together)  # tracked before the error behind them is told
            raise
        if frame is not None and frame.index < start:
            yield frame, None
            continue
        if frame is not None:
            group.append(frame)
        if frame is None or len(group) == together:
            yield from _with_features(tracker, group, together)
            group = []
        if frame is None:
            return


def _with_features(
    tracker: "VideoTracker", frames: list["Frame"], together: int
) -> Iterator[tuple["Frame", "ImageFeatures"]]:
    if frames:
        # the last few are filled up: another number of images would have to be compiled for
        images = [frame.image for frame in frames] + [frames[-1].image] * (together - len(frames))
        yield from zip(frames, tracker.encode_together(images), strict=False)


def _all_frames(spool: FrameSpool, rest: Iterable["Frame"]) -> Iterator["Frame"]:
    for index in range(len(spool)):
        yield spool[index]
    yield from rest


def _merge(frame: "Frame", parts: list[_Found]) -> TrackedFrame:
    rows = {i: (part, row) for part in parts for row, i in enumerate(part.ids)}
    ids = merge_masks({i: part.logits[row] for i, (part, row) in rows.items()}, frame.image.shape[:2])
    objects = {
        i: object_state(ids == i, part.uncertainty[row], float(part.scores[row]))
        for i, (part, row) in sorted(rows.items())
    }
    maps = [part.shown for part in parts if part.shown is not None]
    return TrackedFrame(
        frame.index, float(frame.time), frame.image, ids, objects, np.maximum.reduce(maps) if maps else None
    )


def merge_masks(logits: Mapping[int, npt.NDArray[np.float32]], shape: tuple[int, ...]) -> Ids:
    """H×W id map: each pixel goes to the object with the largest logit above 0, at a tie to the lowest id."""
    ids = np.zeros(shape, np.uint8)
    best = np.zeros(shape, np.float32)
    for object_id in sorted(logits):
        wins = logits[object_id] > best
        ids[wins] = object_id
        best = np.maximum(best, logits[object_id])
    return ids


def object_state(mask: npt.NDArray[np.bool_], uncertainty: npt.NDArray[np.float32], score: float) -> ObjectState:
    """The state of an object with that H×W mask, of whose pixels the doubt is known."""
    area = int(np.count_nonzero(mask))
    doubt = float(uncertainty[mask].mean()) if area else None
    return ObjectState(object_box(mask), area, score, doubt)


def _found_path(folder: Path, index: int) -> Path:
    return folder / f"{index}.npz"


def _save_found(found: _Found, path: Path) -> None:
    # Only what is inside the masks is ever read again, and the zeros around it take no room; of the doubt around them
    # one byte a pixel is kept, for all objects together.
    inside = found.logits > 0
    np.savez_compressed(
        path,
        ids=np.array(found.ids, np.int64),
        logits=np.where(inside, found.logits, 0),
        uncertainty=np.where(inside, found.uncertainty, 0),
        scores=found.scores,
        shown=found.shown if found.shown is not None else np.zeros(0, np.uint8),
    )


def _load_found(path: Path) -> _Found:
    with np.load(path) as saved:
        ids, shown = tuple(int(i) for i in saved["ids"]), saved["shown"]
        return _Found(ids, saved["logits"], saved["uncertainty"], saved["scores"], shown if shown.size else None)
