"""`uamp demo`: follow objects through a video and write it with the objects marked."""

import errno
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from uamp_model.errors import InputError

from uamp_cli.terminal import EXIT_INTERRUPTED, err_console, out_console

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from uamp_model import VideoTracker

    from uamp_cli.outputs import FrameRecords, MaskFolder
    from uamp_cli.progress import FrameProgress
    from uamp_cli.prompts import Plan
    from uamp_cli.sources import Source
    from uamp_cli.tracking import FrameSpool, Ids, TrackedFrame

_INPUT, _PROMPTS, _MODEL, _OUTPUT = "Input", "Objects", "Model", "Output"


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Everything the command was asked for; see `uamp demo --help`."""

    input: str | None
    output: Path
    model: str
    memory: str
    device: str
    checkpoint: Path | None
    uamp_checkpoint: Path | None
    boxes: tuple[str, ...]
    points: tuple[str, ...]
    mask: Path | None
    prompts: Path | None
    prompt_frame: int
    save_masks: Path | None
    json: Path | None
    max_frames: int | None


@dataclass(slots=True)
class DemoTally:
    """What a run has come to so far."""

    frames: int = 0
    seconds: float = 0.0
    score_sum: float = 0.0
    score_count: int = 0
    object_ids: set[int] = field(default_factory=set)
    truth_score: dict[str, float] | None = None
    interrupted: bool = False

    @property
    def fps(self) -> float:
        """Frames per second, from decoding to writing."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def add(self, frame: "TrackedFrame") -> None:
        """Count one frame that has been written."""
        self.frames += 1
        for object_id, state in frame.objects.items():
            self.object_ids.add(object_id)
            self.score_sum += state.score
            self.score_count += 1


def demo(
    input: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            "--input",
            "--input-video",
            "-i",
            metavar="FILE|DIR|CAM|URL",
            help="Video file, folder of frames, camera number or stream address. "
            "Without it, a clip is generated and the score against its known truth is printed.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "--output-video",
            "-o",
            metavar="FILE.mp4",
            help="The video to write; by default named after the input, in the current folder.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "--sam2-model-type", help="A model of `uamp models list`.", rich_help_panel=_MODEL),
    ] = "nano",
    memory: Annotated[
        str, typer.Option(metavar="uamp|samurai|sam2", help="How the tracker remembers.", rich_help_panel=_MODEL)
    ] = "sam2",
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.", rich_help_panel=_MODEL)
    ] = "auto",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "--sam2-checkpoint",
            metavar="PT",
            help="Weights of the model, instead of the bundled or downloaded ones.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    uamp_checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Fine-tuned UAMP layers.", rich_help_panel=_MODEL)
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="x0,y0,x1,y1",
            help="Box around an object, in pixels; give it again for another object.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="x,y[,0|1]",
            help="Point on the object (1, the default) or beside it (0). All points describe one object together: "
            "the one in the box if there is a --box.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG",
            help="Mask of the video's size: one object per palette index or grey value, 0 is background.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            help="Prompts for several objects on several frames; the package's README shows the format.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    prompt_frame: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="K",
            help="The frame that the prompts are about, from 0. Earlier frames are tracked backwards; they are kept in "
            "a temporary folder meanwhile.",
            rich_help_panel=_PROMPTS,
        ),
    ] = 0,
    save_masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write each frame's masks as a palette PNG: 00000.png …", rich_help_panel=_OUTPUT
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write boxes, areas, scores and uncertainty of every frame.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N frames.", rich_help_panel=_INPUT)
    ] = None,
) -> None:
    """Follow objects through a video and write it with the objects marked.

    Point at objects with --box, --point, --mask or --prompts. Without any, the most prominent object is proposed and
    named. Without --input, a generated clip is tracked from its true first mask and scored.
    """
    from uamp_cli.sources import default_output

    settings = DemoSettings(
        input=input,
        output=output if output is not None else default_output(input),
        model=model,
        memory=memory,
        device=device,
        checkpoint=checkpoint,
        uamp_checkpoint=uamp_checkpoint,
        boxes=tuple(box or ()),
        points=tuple(point or ()),
        mask=mask,
        prompts=prompts,
        prompt_frame=prompt_frame,
        save_masks=save_masks,
        json=json,
        max_frames=max_frames,
    )
    with _disk_full_in_words():
        tally = run_demo(settings)
    if tally.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def run_demo(settings: DemoSettings) -> DemoTally:
    """Read, track, draw and write; everything that can be wrong cheaply is checked first."""
    from uamp_cli.sources import open_source, true_plan
    from uamp_cli.tracking import propose, read_head

    plan = _check(settings)
    with (
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
        _report(run, tally)
    return tally


def _check(settings: DemoSettings) -> "Plan":
    """Check options and paths against each other; nothing heavy is imported for it."""
    from uamp_cli.outputs import check_outputs
    from uamp_cli.prompts import read_plan

    given = {
        "--box": settings.boxes,
        "--point": settings.points,
        "--mask": settings.mask,
        "--prompts": settings.prompts,
        "--prompt-frame": settings.prompt_frame,
    }
    if settings.input is None:
        for option, value in given.items():
            if value:
                raise InputError(f"{option} is about a video of yours: name it with --input.")
    if settings.output.suffix.lower() != ".mp4":
        raise InputError(f"--output {settings.output} must end in .mp4: that is how it is written.")
    if settings.max_frames is not None and settings.prompt_frame >= settings.max_frames:
        raise InputError(f"--prompt-frame {settings.prompt_frame} lies beyond --max-frames {settings.max_frames}.")
    _check_model(settings)
    check_outputs(
        {"--output": settings.output, "--save-masks": settings.save_masks, "--json": settings.json},
        {
            "--input": Path(settings.input) if settings.input is not None else None,
            "--mask": settings.mask,
            "--prompts": settings.prompts,
            "--checkpoint": settings.checkpoint,
        },
    )
    return read_plan(settings.boxes, settings.points, settings.mask, settings.prompts, settings.prompt_frame)


def _check_model(settings: DemoSettings) -> None:
    from uamp_model.catalog import find_model
    from uamp_model.download import find_checkpoint

    spec = find_model(settings.model)
    if settings.checkpoint is not None:
        find_checkpoint(spec, settings.checkpoint)
    if settings.uamp_checkpoint is not None and not settings.uamp_checkpoint.exists():
        raise InputError(f"There is no file {settings.uamp_checkpoint} for --uamp-checkpoint.")


def _load_tracker(settings: DemoSettings) -> "VideoTracker":
    from uamp_model import load_tracker

    from uamp_cli.models import fetch_weights

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
    source: "Source"
    plan: "Plan"
    tracker: "VideoTracker"
    spool: "FrameSpool"
    scratch: Path
    masks: "MaskFolder | None" = None
    predicted: "list[Ids]" = field(default_factory=list)

    def track_and_write(self) -> DemoTally:
        """Track the video and write all outputs; after Ctrl-C, what there is so far."""
        from uamp_data.interrupts import interrupts_deferred
        from uamp_data.writer import VideoWriter

        from uamp_cli.outputs import FrameRecords, MaskFolder
        from uamp_cli.progress import frame_progress

        source, tally = self.source, DemoTally()
        width = source.width * (2 if source.truth is not None else 1)
        if self.settings.save_masks is not None:
            self.masks = MaskFolder(self.settings.save_masks)
        started = time.monotonic()
        with ExitStack() as stack:
            records = stack.enter_context(FrameRecords(self.scratch))
            try:
                with (
                    frame_progress(err_console()) as progress,
                    VideoWriter(
                        self.settings.output,
                        frame_rate=source.frame_rate,
                        size=(source.height, width),
                        time_base=source.time_base,
                    ) as video,
                ):
                    for frame in self._tracked(progress):
                        picture = self._draw(frame)
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
                if self.settings.json is not None:
                    records.save(self.settings.json, self._summary(tally))
        return tally

    def _tracked(self, progress: "FrameProgress") -> "Iterator[TrackedFrame]":
        from uamp_cli.tracking import track_backwards, track_forwards

        if self.plan.reach > 0:
            progress.begin("Tracking backwards", self.plan.reach + 1)
            track_backwards(self.tracker, self.spool, self.plan, self.scratch, progress.advance)
        progress.begin("Tracking", self.source.frame_count)
        return track_forwards(
            self.tracker, self.spool, self.source.frames, self.plan, self.scratch, self.source.frame_count
        )

    def _draw(self, frame: "TrackedFrame") -> "npt.NDArray[np.uint8]":
        from uamp_cli.overlay import draw_caption, draw_overlay, side_by_side

        picture = draw_overlay(frame.image, frame.ids, {i: state.score for i, state in frame.objects.items()})
        if self.source.truth is None:
            return picture
        truth = draw_overlay(frame.image, self.source.truth[frame.index])
        draw_caption(picture, "tracked")
        draw_caption(truth, "truth")
        return side_by_side(picture, truth)

    def _keep(self, frame: "TrackedFrame", records: "FrameRecords") -> None:
        records.add(frame)
        if self.masks is not None:
            self.masks.write(frame.index, frame.ids)
        if self.source.truth is not None:  # a generated clip is short
            self.predicted.append(frame.ids)

    def _score(self) -> dict[str, float] | None:
        import numpy as np
        from uamp_eval.metrics import clip_scores

        if self.source.truth is None or not self.predicted:
            return None
        return clip_scores(np.stack(self.predicted), self.source.truth[: len(self.predicted)])

    def _summary(self, tally: DemoTally) -> dict[str, Any]:
        summary: dict[str, Any] = {
            "frames": tally.frames,
            "objects": len(tally.object_ids),
            "model": self.tracker.name,
            "memory": self.tracker.memory,
            "device": str(self.tracker.device),
            "fps": tally.fps,
            "output": str(self.settings.output),
        }
        if tally.truth_score is not None:
            summary["score"] = tally.truth_score
        return summary


def _report(run: _Run, tally: DemoTally) -> None:
    """The closing summary on stdout, one fact a line."""
    source, settings = run.source, run.settings
    rows = [
        ("frames", f"{tally.frames} of {source.width}×{source.height} at {float(source.frame_rate):.4g} frames/s"),
        ("objects", ", ".join(map(str, sorted(tally.object_ids)))),
        ("speed", f"{tally.fps:.1f} frames/s with {run.tracker.name} on {run.tracker.device}"),
    ]
    if tally.score_count:
        rows.append(("mean score", f"{tally.score_sum / tally.score_count:.2f} (the tracker's own estimate)"))
    if tally.truth_score is not None:
        score = tally.truth_score
        rows.append(("J&F", f"{score['J&F-Mean']:.3f} (J {score['J-Mean']:.3f}, F {score['F-Mean']:.3f})"))
    if settings.save_masks is not None:
        rows.append(("masks", str(settings.save_masks)))
    if settings.json is not None:
        rows.append(("json", str(settings.json)))
    rows.extend(("note", note) for note in _notes(run, tally))
    rows.append(("video", str(settings.output)))
    for name, value in rows:
        out_console().print(f"[bold]{name:<10}[/bold] ", end="")
        out_console().print(value, highlight=False, markup=False, soft_wrap=True)
    if tally.interrupted:
        err_console().print(f"Interrupted: {tally.frames} frames were written to {settings.output}.", soft_wrap=True)


def _notes(run: _Run, tally: DemoTally) -> list[str]:
    notes = [run.source.note] if run.source.note else []
    if run.masks is not None and run.masks.others() > 0:
        notes.append(f"{run.settings.save_masks} also holds {run.masks.others()} PNGs that this run did not write")
    if not tally.interrupted and run.plan.last_frame >= tally.frames:
        notes.append(
            f"the prompt on frame {run.plan.last_frame} was never reached: the video has {tally.frames} frames"
        )
    return notes


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
