"""The work of `uamp demo`: read, track, paint and write."""

import errno
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from uamp_data.interrupts import interrupts_deferred
from uamp_data.writer import VideoWriter
from uamp_model.errors import InputError

from uamp_cli.demo_report import DemoTally, json_summary, print_report
from uamp_cli.demo_settings import DemoSettings
from uamp_cli.models import fetch_weights
from uamp_cli.outputs import FrameRecords, MaskFolder
from uamp_cli.painting import FramePainter
from uamp_cli.progress import FrameProgress, frame_progress
from uamp_cli.prompts import Plan
from uamp_cli.sources import Source, open_source, true_plan
from uamp_cli.terminal import err_console, out_console
from uamp_cli.tracking import FrameSpool, Ids, TrackedFrame, propose, read_head, track_backwards, track_forwards

if TYPE_CHECKING:
    from uamp_model import VideoTracker


def run_demo(settings: DemoSettings, plan: Plan) -> DemoTally:
    """Read, track, draw and write.

    Args:
        settings: what the command was asked for, checked.
        plan: the prompts; empty if there are none, or a generated clip is to be tracked.

    Raises:
        InputError: if something is wrong with the input or the disk is full.
    """
    with (
        _disk_full_in_words(),
        open_source(settings.input, settings.max_frames) as source,
        _scratch_folder() as scratch,
    ):
        if source.truth is not None:
            plan = true_plan(source.truth)
            err_console().print(f"Tracking a {source.name} from its true first mask.", highlight=False)
        plan.check(source.width, source.height, source.frame_count)
        spool = read_head(source.frames, plan.reach, scratch)
        tracker = _load_tracker(settings)
        if not plan.prompts:
            plan, suggestion = propose(tracker, spool[plan.start].image, plan.start)
            _name_proposal(suggestion.box, suggestion.score, plan.start)
        run = _Run(settings, source, plan, tracker, spool, scratch)
        tally = run.track_and_write()
        print_report(settings, source, tracker, tally, run.notes(tally))
    return tally


def _load_tracker(settings: DemoSettings) -> "VideoTracker":
    # torch takes seconds to import: whatever is wrong with the input is found before.
    from uamp_model import load_tracker

    if settings.checkpoint is None:
        fetch_weights(settings.model)
    return load_tracker(
        settings.model,
        checkpoint=settings.checkpoint,
        uamp_checkpoint=settings.uamp_checkpoint,
        memory=settings.memory,
        device=settings.device,
    )


def _name_proposal(box: tuple[float, float, float, float], score: float, frame: int) -> None:
    x0, y0, x1, y1 = (round(edge) for edge in box)
    where = "" if frame == 0 else f" on frame {frame}"
    out_console().print(
        f"No prompt given, following the most prominent object{where}: "
        f"object 1: box {x0},{y0}–{x1},{y1}, score {score:.2f}",
        highlight=False,
        soft_wrap=True,
    )


@dataclass(slots=True)
class _Run:
    """One run with everything at hand."""

    settings: DemoSettings
    source: Source
    plan: Plan
    tracker: "VideoTracker"
    spool: FrameSpool
    scratch: Path
    masks: MaskFolder | None = None
    predicted: list[Ids] = field(default_factory=list)

    def track_and_write(self) -> DemoTally:
        """Track the video and write all outputs; after Ctrl-C, what there is so far."""
        settings, source, tally = self.settings, self.source, DemoTally()
        painter = FramePainter(
            source.height, source.width, truth=source.truth, shows_uncertainty=settings.show_uncertainty
        )
        if settings.save_masks is not None:
            self.masks = MaskFolder(settings.save_masks)
        started = time.monotonic()
        with ExitStack() as stack:
            records = stack.enter_context(FrameRecords(self.scratch))
            try:
                with (
                    frame_progress(err_console()) as progress,
                    VideoWriter(
                        settings.output,
                        frame_rate=source.frame_rate,
                        size=painter.size,
                        time_base=source.time_base,
                    ) as video,
                ):
                    for frame in self._tracked(progress):
                        picture = painter.paint(frame)
                        # Ctrl-C waits for the end of a frame, so that video, masks and report have the same frames.
                        with interrupts_deferred():
                            video.write(picture, frame.time)
                            self._keep(frame, records)
                            tally.add(frame)
                        progress.advance()
            except KeyboardInterrupt:
                tally.interrupted = True
                if tally.frames == 0:
                    raise
            tally.seconds = time.monotonic() - started
            with interrupts_deferred():
                tally.truth_score = self._score()
                if settings.json is not None:
                    records.save(settings.json, json_summary(tally, self.tracker, settings.output))
        return tally

    def notes(self, tally: DemoTally) -> list[str]:
        """What the user should know about the run beyond its results."""
        notes = [self.source.note] if self.source.note else []
        if self.masks is not None and self.masks.others() > 0:
            notes.append(
                f"{self.settings.save_masks} also holds {self.masks.others()} PNGs that this run did not write"
            )
        if not tally.interrupted and self.plan.last_frame >= tally.frames:
            notes.append(
                f"the prompt on frame {self.plan.last_frame} was never reached: the video has {tally.frames} frames"
            )
        return notes

    def _tracked(self, progress: FrameProgress) -> Iterator[TrackedFrame]:
        plan, scratch, with_map = self.plan, self.scratch, self.settings.show_uncertainty
        if plan.reach > 0:
            progress.begin("Tracking backwards", plan.reach + 1)
            track_backwards(self.tracker, self.spool, plan, scratch, progress.advance, with_map=with_map)
        count = self.source.frame_count
        progress.begin("Tracking", count)
        return track_forwards(self.tracker, self.spool, self.source.frames, plan, scratch, count, with_map=with_map)

    def _keep(self, frame: TrackedFrame, records: FrameRecords) -> None:
        records.add(frame)
        if self.masks is not None:
            self.masks.write(frame.index, frame.ids)
        if self.source.truth is not None:  # a generated clip is short
            self.predicted.append(frame.ids)

    def _score(self) -> dict[str, float] | None:
        from uamp_eval.metrics import clip_scores

        if self.source.truth is None or not self.predicted:
            return None
        return clip_scores(np.stack(self.predicted), self.source.truth[: len(self.predicted)])


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A temporary folder for what must not fill the memory."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="uamp-")
    except OSError as error:
        raise InputError("No temporary folder can be written to: free some disk space or set TMPDIR.") from error
    with folder as name:
        yield Path(name)


@contextmanager
def _disk_full_in_words() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        raise InputError("The disk is full: free some space or write somewhere else.") from error
