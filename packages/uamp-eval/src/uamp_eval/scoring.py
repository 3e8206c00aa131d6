"""Scores masks on disk against the truth, one video per process. Nothing here needs torch.

Results are read from `RESULTS/<sequence>/<frame>.png`.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from uamp_model.errors import InputError

from uamp_eval.metrics import VOID_ID, Mask, score_frame
from uamp_eval.scores import ObjectResult
from uamp_eval.sequences import Ids, VideoSequence

_log = logging.getLogger(__name__)

ReadMask = Callable[[Path], Ids]
"""Reads a mask picture as object ids, H×W. Must be picklable where several processes score."""


class ScoringRule(Enum):
    """Which objects, frames and pixels count.

    | | `DAVIS`, semi-supervised | `YOUTUBE_VOS` |
    |---|---|---|
    | objects | 1 to the highest id of the first annotation, used or not | those given as prompts |
    | annotated frames | all but the first and the last | those listed after the one in which an object is given |
    | 255 in the truth | background | does not count |
    """

    DAVIS = "davis"
    YOUTUBE_VOS = "youtube-vos"

    def void(self, truth: Ids) -> Mask | None:
        """Mark the H×W pixels of an annotation that do not count; None where all count."""
        return truth == VOID_ID if self is ScoringRule.YOUTUBE_VOS else None


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """What is scored of one video.

    Attributes:
        objects: By object id, the number of the first frame that may count for it.
        frames: Numbers of the frames to read, rising.
    """

    objects: Mapping[int, int]
    frames: tuple[int, ...]

    def active(self, frame: int) -> list[int]:
        """Ids of the objects that are scored in a frame, rising."""
        return [number for number, start in sorted(self.objects.items()) if frame >= start]


def score_results(
    sequences: Sequence[VideoSequence],
    results: Path,
    *,
    read: ReadMask,
    rule: ScoringRule = ScoringRule.DAVIS,
    workers: int | None = None,
    ignore_extra_ids: bool = False,
    on_done: Callable[[str], None] | None = None,
) -> list[ObjectResult]:
    """Score the masks of many videos.

    Where several processes score they are started afresh, so a script that calls this must do so under
    `if __name__ == "__main__":`, or with `workers=1`.

    Args:
        sequences: The videos with their truth; at least one, their names all different.
        results: Folder of the masks, `RESULTS/<sequence>/<frame>.png`.
        read: Reads a mask.
        rule: Which objects and frames count.
        workers: Processes; 1 scores in this one; None takes one for each processor, though never more than videos.
        ignore_extra_ids: Take ids that no object has as background instead of refusing them.
        on_done: Called with a video's name when it is scored, in the order of `sequences`.

    Returns:
        The objects' results in the order of `sequences` and of ids, whatever the number of workers. Objects that the
        YouTube-VOS rule leaves without a frame are not among them.

    Raises:
        InputError: Results are missing, of another size or hold ids that no object has; the truth leaves nothing to
            score; or a process was ended from outside. Where several videos are at fault, it names the first.
        Exception: What `read` and the videos raise where a file cannot be read.
    """
    _check_folders(sequences, results)
    work = partial(score_sequence, results=results, read=read, rule=rule, ignore_extra_ids=ignore_extra_ids)
    count = min(_processors() if workers is None else max(workers, 1), len(sequences))
    scored = []
    for sequence, objects in zip(sequences, _scored(work, sequences, count), strict=True):
        scored += objects
        if on_done is not None:
            on_done(sequence.name)
    if not scored:
        raise InputError("No object has a frame to score: the truth must show objects after their first frame.")
    return scored


def score_sequence(
    sequence: VideoSequence,
    results: Path,
    *,
    read: ReadMask,
    rule: ScoringRule = ScoringRule.DAVIS,
    ignore_extra_ids: bool = False,
) -> list[ObjectResult]:
    """Score the masks of one video.

    Args:
        sequence: The video with its truth.
        results: Folder of the masks, `RESULTS/<sequence>/<frame>.png`.
        read: Reads a mask.
        rule: Which objects and frames count.
        ignore_extra_ids: Take ids that no object has as background instead of refusing them.

    Returns:
        The objects' results by rising id. An id that a result does not show counts as an empty mask.

    Raises:
        InputError: As for `score_results`.
        Exception: What `read` and the video raise where a file cannot be read.
    """
    plan = plan_scoring(sequence, rule)
    paths = {frame: results / sequence.name / f"{sequence.frame_names[frame]}.png" for frame in plan.frames}
    _check_files(sequence, list(paths.values()))
    known = np.zeros(256, dtype=np.bool_)
    known[[0, *plan.objects]] = True
    values: dict[int, list[tuple[int, float, float]]] = {number: [] for number in sorted(plan.objects)}
    for frame, path in paths.items():
        truth = sequence.annotation(frame)
        prediction = _read_prediction(path, read, truth, known, ignore_extra_ids=ignore_extra_ids)
        void = rule.void(truth)
        active = plan.active(frame)
        for number, j, f in zip(active, *score_frame(prediction, truth, active, void), strict=True):
            values[number].append((frame, float(j), float(f)))
    scored = []
    for number, rows in values.items():
        if not rows:
            _log.warning("Object %d of %s has no annotated frame to score; it is left out.", number, sequence.name)
            continue
        frames, j_values, f_values = zip(*rows, strict=True)
        names = tuple(sequence.frame_names[frame] for frame in frames)
        scored.append(ObjectResult(sequence.name, number, names, np.array(j_values), np.array(f_values)))
    return scored


def plan_scoring(sequence: VideoSequence, rule: ScoringRule) -> ScoringPlan:
    """Decide which objects and frames of a video count.

    Raises:
        InputError: none do.
        Exception: what the video raises where its first annotation cannot be read.
    """
    if rule is ScoringRule.YOUTUBE_VOS:
        objects = {number: frame + 1 for frame in sorted(sequence.prompts) for number in sequence.prompts[frame]}
        if not objects:
            raise InputError(f"{sequence.name} gives no object to track, so it has nothing to score: leave it out.")
        first = min(objects.values())
        listed = set(sequence.listed)  # a mask may lie in other frames, too, but no result does
        return ScoringPlan(objects, tuple(f for f in sequence.annotated if f >= first and f in listed))
    count = len(sequence.annotated)
    if count < 3:
        raise InputError(
            f"{sequence.name} has {count} annotated frame{'s' if count != 1 else ''}, but the first and the last do "
            "not count, so it has nothing to score: leave it out."
        )
    first_truth = sequence.annotation(sequence.annotated[0])
    highest = int(np.max(first_truth, where=first_truth != VOID_ID, initial=0))
    if highest == 0:
        raise InputError(f"{sequence.name} shows no object in its first annotation: leave it out.")
    return ScoringPlan(dict.fromkeys(range(1, highest + 1), 0), tuple(sequence.annotated[1:-1]))


def _check_folders(sequences: Sequence[VideoSequence], results: Path) -> None:
    """Find missing results before the first video is scored."""
    if not sequences:
        raise InputError("There is no sequence to score: name at least one.")
    if not results.is_dir():
        raise InputError(f"The results folder {results} does not exist: check the path.")
    missing = [sequence.name for sequence in sequences if not (results / sequence.name).is_dir()]
    if missing:
        others = f" ({len(missing)} of {len(sequences)} sequences are missing)" if len(missing) > 1 else ""
        raise InputError(f"The results folder {results} has no folder {missing[0]}{others}: add it or leave it out.")


def _check_files(sequence: VideoSequence, paths: Sequence[Path]) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        others = f" ({len(missing)} of {sequence.name}'s masks are missing)" if len(missing) > 1 else ""
        raise InputError(f"The result {missing[0]} is missing{others}: every frame that is scored needs its mask.")


def _read_prediction(path: Path, read: ReadMask, truth: Ids, known: Mask, *, ignore_extra_ids: bool) -> Ids:
    """Read a result and check its size and ids; `known` tells for each of 256 ids whether it may occur."""
    prediction = read(path)
    if prediction.shape != truth.shape:
        sizes = [f"{width}×{height}" for height, width in (prediction.shape, truth.shape)]
        raise InputError(
            f"The result {path} is {sizes[0]} pixels but the truth is {sizes[1]}: write results at "
            "the size of the truth."
        )
    strange = ~known[prediction]
    if not strange.any():
        return prediction
    if ignore_extra_ids:
        return np.where(strange, np.uint8(0), prediction)
    raise InputError(
        f"The result {path} holds id {prediction[strange].min()}, but its sequence has no such object "
        f"(it has {_listed(np.flatnonzero(known)[1:].tolist())}): mend it, or ignore extra ids."
    )


def _listed(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def _scored(
    work: Callable[[VideoSequence], list[ObjectResult]], sequences: Sequence[VideoSequence], workers: int
) -> Iterator[list[ObjectResult]]:
    """Apply `work` to all videos, in order."""
    if workers == 1:
        yield from map(work, sequences)
        return
    # Forking would copy threads' locks (cv2, torch) in whatever state they are.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker)
    try:
        futures: dict[int, Future[list[ObjectResult]]] = {}
        # The longest first, so that no process starts on it when the others are done.
        with _deaf_children():
            for index in sorted(range(len(sequences)), key=lambda i: -len(sequences[i].frame_names)):
                futures[index] = pool.submit(work, sequences[index])
        for index in range(len(sequences)):
            yield futures[index].result()
    except BrokenProcessPool as error:
        raise InputError(
            "A scoring process was ended from outside, perhaps because memory ran out: score with fewer workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that are started within never hear Ctrl-C, not even while they are starting.

    The parent hears it as well and ends the pool; a traceback from every process would only hide what it says.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker() -> None:
    # For systems on which `_deaf_children` does nothing.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # There is a process for each processor already.
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """A killed parent cannot end its pool, and the processes would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _processors() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
