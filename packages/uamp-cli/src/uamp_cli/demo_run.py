"""The work of `uamp demo`: read, track, paint and write."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from uamp_data.ahead import read_ahead
from uamp_data.interrupts import interrupts_deferred
from uamp_data.words import counted
from uamp_model.errors import InputError

from uamp_cli.demo_outputs import open_writers
from uamp_cli.demo_report import DemoTally, json_summary, print_report
from uamp_cli.demo_settings import DemoSettings
from uamp_cli.models import fetch_weights, tell_of_compiling
from uamp_cli.progress import FrameProgress, frame_progress
from uamp_cli.prompts import Plan
from uamp_cli.proposals import Proposals, propose
from uamp_cli.sources import Source, open_source, true_plan
from uamp_cli.terminal import err_console, report_console
from uamp_cli.tracking import (
    FrameSpool,
    Ids,
    Image,
    TrackedFrame,
    frames_together,
    read_head,
    rehearse_on,
    track_backwards,
    track_forwards,
)

if TYPE_CHECKING:
    from uamp_model import VideoTracker

_TRACKED_AHEAD = 2
"""Tracked frames that may wait to be written."""


def run_demo(settings: DemoSettings, plan: Plan) -> DemoTally:
    """Read, track, draw and write.

    Args:
        settings: what the command was asked for, checked.
        plan: the prompts; empty if there are none, or a generated clip is to be tracked.

    Raises:
        InputError: if something is wrong with the input.
    """
    with (
        open_source(settings.input, settings.max_frames) as source,
        _scratch_folder() as scratch,
    ):
        if source.truth is not None:
            plan = true_plan(source.truth)
        plan.check(source.width, source.height, source.frame_count)
        spool = read_head(source.frames, plan.reach, scratch, ahead=_frames_ahead(settings, source, plan))
        tracker = _load_tracker(settings)
        if source.truth is not None:
            err_console().print(f"Tracking a {source.name} from its true first mask.", highlight=False)
        if not plan.prompts:
            plan = _choose_objects(settings, tracker, spool[plan.start].image, plan.start)
        notes = []
        if settings.rehearse:
            began = time.monotonic()
            tracker = _rehearse(tracker, spool, plan, settings.rehearse)
            notes.append(f"the rehearsal took {time.monotonic() - began:.0f} s, which the speed leaves out")
        run = _Run(settings, source, plan, tracker, spool, scratch)
        tally = run.track_and_write()
        print_report(settings, source, tracker, tally, [*notes, *run.notes(tally)])
    return tally


def _frames_ahead(settings: DemoSettings, source: Source, plan: Plan) -> int:
    """How many frames behind the first prompts must be known before tracking begins."""
    if settings.rehearse == 0:
        return 0
    if all(prompt.mask is None for prompt in plan.prompts):
        raise InputError("--rehearse learns from a mask: give one by --mask or --prompts, or leave --rehearse out.")
    if source.is_live:
        raise InputError("--rehearse looks ahead in the video, which a camera or a stream cannot: leave it out.")
    from uamp_model.rehearsal import REACH

    return REACH


def _load_tracker(settings: DemoSettings) -> "VideoTracker":
    # torch takes seconds to import: whatever is wrong with the input is found before.
    from uamp_model import load_tracker

    if settings.checkpoint is None:
        fetch_weights(settings.model)
    tracker = load_tracker(
        settings.model,
        checkpoint=settings.checkpoint,
        uamp_checkpoint=settings.uamp_checkpoint,
        memory=settings.memory,
        device=settings.device,
        memory_budget=settings.memory_budget,
        image_size=settings.image_size,
        compiled=settings.compiled,
    )
    if settings.compiled:
        tell_of_compiling(err_console())
    return tracker


def _rehearse(tracker: "VideoTracker", spool: FrameSpool, plan: Plan, steps: int) -> "VideoTracker":
    """Learn the objects from the first frames, with a bar."""
    with frame_progress(err_console()) as progress:

        def tell(what: str, done: int, total: int) -> None:
            if done > 0:
                progress.advance()
            elif what == "frames":
                progress.begin("Looking ahead", min(total, len(spool)), what)
            else:
                progress.begin("Rehearsing", total, what)

        return rehearse_on(tracker, spool, plan, steps, tell)


def _choose_objects(settings: DemoSettings, tracker: "VideoTracker", image: Image, frame: int) -> Plan:
    """Ask the user in a window, or let the tracker propose."""
    if settings.select:
        from uamp_cli.selection import select_objects

        return select_objects(tracker, image, frame)
    proposals = propose(tracker, image, frame)
    proposals.save(settings.proposals, settings.objects)
    plan = proposals.plan(settings.objects, settings.proposals)
    _name_proposals(settings, proposals, {prompt.object_id for prompt in plan.prompts})
    return plan


def _name_proposals(settings: DemoSettings, proposals: Proposals, followed: set[int]) -> None:
    console = report_console(stdout_is_taken=bool(settings.printed))
    where = "" if proposals.frame == 0 else f" on frame {proposals.frame}"
    what = f"object {', '.join(map(str, sorted(followed)))} of" if settings.objects else "the most prominent of"
    count = len(proposals.found)
    proposed = f"{counted(count, 'proposed object')}{where}"
    head = f"No prompt given, following {what} {proposed}, see {settings.proposals}:"
    console.print(head, highlight=False, markup=False, soft_wrap=True)
    for number, suggestion in enumerate(proposals.found, start=1):
        x0, y0, x1, y1 = (round(edge) for edge in suggestion.box)
        mark = "*" if number in followed else " "
        text = f"{mark} object {number}: box {x0},{y0}–{x1},{y1}, score {suggestion.score:.2f}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)


@dataclass(slots=True)
class _Run:
    """One run with everything at hand."""

    settings: DemoSettings
    source: Source
    plan: Plan
    tracker: "VideoTracker"
    spool: FrameSpool
    scratch: Path
    predicted: list[Ids] = field(default_factory=list)
    writer_notes: list[str] = field(default_factory=list)
    vanished: set[int] = field(default_factory=set)
    covered: set[int] = field(default_factory=set)

    def track_and_write(self) -> DemoTally:
        """Track the video and write all outputs; after Ctrl-C, what there is so far."""
        tally = DemoTally()
        title = f"{self.source.title} · {self.tracker.name}, memory {self.tracker.memory}"
        writers = open_writers(
            self.settings, self.source, title, lambda: json_summary(tally, self.tracker, self.settings.output)
        )
        started = time.monotonic()
        with writers:
            try:
                # tracking goes on while frames are drawn and encoded: on another thread, a few frames ahead
                with (
                    frame_progress(err_console()) as progress,
                    closing(read_ahead(self._tracked(progress), most=_TRACKED_AHEAD)) as tracked,
                ):
                    for frame in tracked:
                        # Ctrl-C waits for the end of a frame, so that everything is about the same frames.
                        with interrupts_deferred():
                            writers.add(frame)
                            self._keep(frame)
                            tally.add(frame)
                        progress.advance()
            except KeyboardInterrupt:
                tally.interrupted = True
                if tally.frames == 0:
                    raise
            tally.seconds = time.monotonic() - started
            with interrupts_deferred():
                tally.truth_score = self._score()
        self.writer_notes = writers.notes
        return tally

    def notes(self, tally: DemoTally) -> list[str]:
        """What the user should know about the run beyond its results."""
        notes = [self.source.note] if self.source.note else []
        notes += self.writer_notes
        if self.vanished:
            ids = ", ".join(map(str, sorted(self.vanished)))
            notes.append(
                f"too small a mask for this model, which sees nothing of object {ids}: try a larger --image-size"
            )
        if self.covered:
            ids = ", ".join(map(str, sorted(self.covered)))
            notes.append(
                f"other masks cover that of object {ids}, of which nothing is left: track it in a run of its own, "
                "or where it is small try a larger --image-size"
            )
        if not tally.interrupted and self.plan.last_frame >= tally.frames:
            notes.append(
                f"the prompt on frame {self.plan.last_frame} was never reached: the video has "
                f"{counted(tally.frames, 'frame')}"
            )
        return notes

    def _tracked(self, progress: FrameProgress) -> Iterator[TrackedFrame]:
        plan, scratch, with_map = self.plan, self.scratch, self.settings.show_uncertainty
        count = self.source.frame_count
        if plan.reach > 0:
            progress.begin("Tracking backwards", plan.reach + 1)
            track_backwards(self.tracker, self.spool, plan, scratch, count, progress.advance, with_map=with_map)
        progress.begin("Tracking", count)
        together = frames_together(self.tracker, live=self.source.is_live)
        return track_forwards(
            self.tracker, self.spool, self.source.frames, plan, scratch, count, with_map=with_map, together=together
        )

    def _keep(self, frame: TrackedFrame) -> None:
        for object_id, prompt in self.plan.at(frame.index).items():
            if prompt.mask is not None and frame.objects[object_id].area == 0:
                is_covered = np.mean(frame.ids[prompt.mask] > 0) > 0.5
                (self.covered if is_covered else self.vanished).add(object_id)
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
