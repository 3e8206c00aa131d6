"""What `uamp demo` says at its end: the summary for people and that of the JSON report."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uamp_data.words import counted

from uamp_cli.demo_settings import DemoSettings
from uamp_cli.sources import Source
from uamp_cli.terminal import err_console, report_console
from uamp_cli.tracking import TrackedFrame

if TYPE_CHECKING:
    from uamp_model import VideoTracker

_NAMES = {
    "--save-masks": "masks",
    "--save-cutout": "cut-outs",
    "--cutout-video": "cut-out",
    "--green-screen": "green",
    "--summary": "summary",
    "--json": "json",
    "--coco": "coco",
    "--csv": "csv",
    "--output": "video",
}


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

    def add(self, frame: TrackedFrame) -> None:
        """Count one frame that has been written."""
        self.frames += 1
        for object_id, state in frame.objects.items():
            self.object_ids.add(object_id)
            self.score_sum += state.score
            self.score_count += 1


def json_summary(tally: DemoTally, tracker: "VideoTracker", output: Path) -> dict[str, Any]:
    """The JSON report's keys before `per_frame`."""
    summary: dict[str, Any] = {
        "frames": tally.frames,
        "objects": len(tally.object_ids),
        "model": tracker.name,
        "memory": tracker.memory,
        "device": str(tracker.device),
        "fps": tally.fps,
        "output": str(output),
    }
    if tally.truth_score is not None:
        summary["score"] = tally.truth_score
    return summary


def print_report(
    settings: DemoSettings, source: Source, tracker: "VideoTracker", tally: DemoTally, notes: Iterable[str]
) -> None:
    """The closing summary, one fact a line."""
    rows = [
        ("frames", f"{tally.frames} of {source.width}×{source.height} at {float(source.frame_rate):.4g} frames/s"),
        ("objects", ", ".join(map(str, sorted(tally.object_ids)))),
        ("speed", f"{tally.fps:.1f} frames/s with {tracker.name} on {tracker.device}"),
    ]
    if tally.score_count:
        rows.append(("mean score", f"{tally.score_sum / tally.score_count:.2f} (the tracker's own estimate)"))
    if tally.truth_score is not None:
        score = tally.truth_score
        rows.append(("J&F", f"{score['J&F-Mean']:.3f} (J {score['J-Mean']:.3f}, F {score['F-Mean']:.3f})"))
    rows.extend(("note", note) for note in notes)
    rows.extend((name, str(settings.outputs[option])) for option, name in _NAMES.items() if settings.outputs[option])
    console = report_console(stdout_is_taken=bool(settings.printed))
    for name, value in rows:
        console.print(f"[bold]{name:<10}[/bold] ", end="")
        console.print(value, highlight=False, markup=False, soft_wrap=True)
    if tally.interrupted:
        were = "was" if tally.frames == 1 else "were"
        text = f"Interrupted: {counted(tally.frames, 'frame')} {were} written to {settings.output}."
        err_console().print(text, highlight=False, markup=False, soft_wrap=True)
