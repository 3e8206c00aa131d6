"""Track a benchmark with one or more memory settings, score the masks, and show and save what came out."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from uamp_data.masks import read_annotation, write_mask
from uamp_data.words import counted
from uamp_eval.calibration import read_calibration
from uamp_eval.distributed import Team, device_of_process, join_team
from uamp_eval.report import write_report
from uamp_eval.results_files import Evaluation, write_json, write_per_sequence_csv, write_results_json
from uamp_eval.results_store import ResultFolder
from uamp_eval.runs import RunSummary, run_benchmark
from uamp_eval.scoring import ScoringRule, score_results
from uamp_eval.sequences import VideoSequence
from uamp_eval.submission import write_submission
from uamp_eval.tables import results_tables
from uamp_model import InputError, VideoTracker, load_tracker
from uamp_model.catalog import check_image_size, find_model
from uamp_model.presets import LEARNED_PARTS, ablation, memory_settings

from uamp_cli.evaluation_options import ResultOptions, TrackerOptions
from uamp_cli.model_options import check_layers, check_rehearsal
from uamp_cli.models import fetch_weights_together, tell_of_compiling
from uamp_cli.outputs import check_ending, check_outputs
from uamp_cli.progress import FrameProgress, frame_progress
from uamp_cli.terminal import err_console, out_console

RESULTS, PER_SEQUENCE, REPORT = "results.json", "per_sequence.csv", "report.html"
_DEFAULT_FOLDER = Path("runs") / "eval"
_LEAST_ANNOTATED = 3
"""By DAVIS's rules the first frame and the last do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What a data set is and how it is scored.

    Attributes:
        folders: that the data is in.
        title: the data, in words.
        protocol: what decides the results besides model and memory.
        slug: how the name of the default output folder begins.
        rule: how to score.
        submission_top: the folder within a submission's zip.
        seen: by object name, whether its category is in the training set.
    """

    folders: tuple[Path, ...]
    title: str
    protocol: str
    slug: str
    rule: ScoringRule
    submission_top: str = ""
    seen: Mapping[str, bool | None] = field(default_factory=dict)


def evaluate(
    sequences: Sequence[VideoSequence], benchmark: Benchmark, tracker: TrackerOptions, results: ResultOptions
) -> None:
    """Run a benchmark from pictures to scores.

    Raises:
        InputError: a wrong option, or results of other settings in the way. Errors of data and model are passed on.
    """
    scored = has_truth(sequences)
    output = results.output or _DEFAULT_FOLDER / f"{benchmark.slug}-{find_model(tracker.model).name}"
    _check_tracker(tracker)
    _check_results(sequences, benchmark, tracker, results, scored=scored)
    _check_output(benchmark, tracker, output)
    if tracker.checkpoint is None:
        fetch_weights_together(tracker.model)
    out = out_console()
    with join_team() as team, _progress_console(team, results, output) as console, frame_progress(console) as progress:
        trackers = _load(tracker)
        if tracker.compiled:
            tell_of_compiling(console)
        team.agree(lambda: _check_files(benchmark, tracker, results, output))
        summary = run_benchmark(
            trackers,
            sequences,
            output,
            write=write_mask,
            protocol=benchmark.protocol,
            overwrite=results.overwrite,
            calibrate=benchmark.rule if scored else None,
            progress=_Telling(progress, console),
            team=team,
        )
        if team.rank > 0:
            return
        if results.submission is not None:
            masks = summary.folders[tracker.memories[0]]
            write_submission(masks, sequences, results.submission, top=benchmark.submission_top)
        evaluations = _score_all(sequences, benchmark, tracker, results, trackers, summary, progress) if scored else []
    if evaluations:
        _save(evaluations, sequences, output, results.json, f"{benchmark.title}, {tracker.model}")
        out.print(results_tables(evaluations))
    _tell(out, results, summary, output, scored=scored)
    if scored and not results.save_results:
        for folder in summary.folders.values():
            ResultFolder(folder).clear([sequence.name for sequence in sequences])


def has_truth(sequences: Sequence[VideoSequence]) -> bool:
    """Whether the data has masks to compare with, beyond those that are given to the tracker."""
    return any(set(sequence.annotated) & set(sequence.listed) - set(sequence.prompts) for sequence in sequences)


def _check_tracker(tracker: TrackerOptions) -> None:
    """Refuse before hours of tracking what could not be done after them."""
    if tracker.ablate and tracker.memory:
        raise InputError("--ablate chooses the memory settings itself: leave out --memory.")
    twice = next((memory for memory in tracker.memories if tracker.memories.count(memory) > 1), None)
    if twice is not None:
        raise InputError(f"The --memory {twice} is given twice: name each setting once.")
    memories = () if tracker.ablate else tracker.memories
    check_rehearsal(tracker.rehearse, memories)
    check_layers(tracker.uamp_checkpoint, memories)
    for memory in memories:
        memory_settings(memory)
    check_image_size(tracker.image_size)


def _check_results(
    sequences: Sequence[VideoSequence],
    benchmark: Benchmark,
    tracker: TrackerOptions,
    results: ResultOptions,
    *,
    scored: bool,
) -> None:
    """Likewise for what is asked of the results."""
    check_ending("--submission", results.submission, (".zip",))
    if results.submission is not None and tracker.ablate:
        raise InputError("A submission holds the results of one setting: leave out --ablate or --submission.")
    if results.submission is not None and len(tracker.memories) > 1:
        raise InputError("A submission holds the results of one setting: give --memory once with --submission.")
    if results.json is not None and not scored:
        raise InputError(
            "--json asks for scores, but this data has no masks beyond those given to the tracker: leave it out."
        )
    short = next((s for s in sequences if len(s.annotated) < _LEAST_ANNOTATED), None)
    if scored and benchmark.rule is ScoringRule.DAVIS and short is not None:
        raise InputError(
            f"The sequence {short.name} cannot be scored: of its annotated frames ({len(short.annotated)}) the first "
            "and the last do not count; choose others with --sequences."
        )


def _check_output(benchmark: Benchmark, tracker: TrackerOptions, output: Path) -> None:
    """Keep results out of the folders that the data is in: with --overwrite they could replace it."""
    memories = ablation(LEARNED_PARTS) if tracker.ablate else tracker.memories
    taken = {os.path.realpath(folder) for folder in (output, *(output / memory for memory in memories))}
    for folder in benchmark.folders:
        if os.path.realpath(folder) in taken:
            raise InputError(f"--output {output} would put results among the data in {folder}: choose another folder.")


def _check_files(benchmark: Benchmark, tracker: TrackerOptions, results: ResultOptions, output: Path) -> None:
    """Check the files that were asked for by name; the output folder is checked when the masks' folders are made."""
    others = {
        "the file": output / RESULTS,
        "the table": output / PER_SEQUENCE,
        "the page": output / REPORT,
        "--checkpoint": tracker.checkpoint,
        "--uamp-checkpoint": tracker.uamp_checkpoint,
    }
    files = {"--json": results.json, "--submission": results.submission}
    check_outputs(files, others, data=(*benchmark.folders, output))


@contextmanager
def _progress_console(team: Team, results: ResultOptions, output: Path) -> Iterator[Console]:
    """Where to show progress; after Ctrl-C it says what is kept and how to go on.

    Several processes have one terminal, so only the first shows its progress: its share of the work is the largest.
    """
    console = err_console() if team.rank == 0 else Console(quiet=True)
    try:
        yield console
    except KeyboardInterrupt:
        how = "the same command without --overwrite" if results.overwrite else "the same command"
        text = f"Sequences that are finished stay in {output}: run {how} to go on."
        console.print(text, highlight=False, markup=False, soft_wrap=True)
        raise


def _load(options: TrackerOptions) -> dict[str, VideoTracker]:
    """One network, and a tracker of it for each memory setting."""
    first = load_tracker(
        options.model,
        checkpoint=options.checkpoint,
        uamp_checkpoint=options.uamp_checkpoint,
        memory=options.memories[0],
        device=device_of_process(options.device),
        precision=options.precision,  # type: ignore[arg-type] # checked there
        memory_budget=options.memory_budget,
        image_size=options.image_size,
        compiled=options.compiled,
    )
    if options.ablate:
        settings = ablation(() if first.layers is None else first.layers.trained_parts, first.name)
        return {name: first.with_memory(name, numbers) for name, numbers in settings.items()}
    settings = {memory: memory_settings(memory, first.name) for memory in options.memories}
    return {
        memory: first.with_memory(memory, replace(numbers, rehearse=options.rehearse if numbers.adapt > 0 else 0))
        for memory, numbers in settings.items()
    }


def _score_all(
    sequences: Sequence[VideoSequence],
    benchmark: Benchmark,
    options: TrackerOptions,
    results: ResultOptions,
    trackers: Mapping[str, VideoTracker],
    summary: RunSummary,
    progress: FrameProgress,
) -> list[Evaluation]:
    evaluations = []
    for memory, tracker in trackers.items():
        progress.begin(f"Scoring {memory}", len(sequences), "sequences")
        objects = score_results(
            sequences,
            summary.folders[memory],
            read=read_annotation,
            rule=benchmark.rule,
            workers=results.workers,
            on_done=lambda _: progress.advance(),
        )
        settings = {
            "data": benchmark.title,
            "protocol": benchmark.protocol,
            "model": tracker.name,
            "memory": memory,
            "checkpoint": None if options.checkpoint is None else options.checkpoint.name,
            "device": str(tracker.device),
            "precision": str(tracker.dtype).removeprefix("torch."),
            "frames": summary.frames,
            "frames_per_second": round(summary.speeds[memory], 2) if memory in summary.speeds else None,
            "processes": summary.processes,
        }
        fingerprint = summary.fingerprints[memory]
        evaluations.append(
            Evaluation(
                memory,
                objects,
                summary.folders[memory],
                settings,
                _versions(),
                asdict(fingerprint),
                benchmark.seen,
                read_calibration(summary.folders[memory], [sequence.name for sequence in sequences]),
            )
        )
    return evaluations


def _versions() -> dict[str, str]:
    packages = ("uamp-cli", "uamp-eval", "uamp-model", "uamp-data", "sam2", "torch", "numpy", "opencv-python-headless")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _save(
    evaluations: Sequence[Evaluation], sequences: Sequence[VideoSequence], output: Path, json: Path | None, about: str
) -> None:
    """Write every form of the scores."""
    write_results_json(output / RESULTS, evaluations)
    write_per_sequence_csv(output / PER_SEQUENCE, evaluations)
    write_report(output / REPORT, evaluations, sequences, read=read_annotation, about=about)
    if json is not None:
        write_json(json, {evaluation.name: evaluation.document() for evaluation in evaluations})


def _tell(out: Console, results: ResultOptions, summary: RunSummary, output: Path, *, scored: bool) -> None:
    """Say what was done and where it is."""
    lines = []
    if summary.frames:
        shared = f" by {summary.processes} processes" if summary.processes > 1 else ""
        lines.append(f"{counted(summary.frames, 'frame')} at {summary.frames_per_second:.1f} frames/s{shared}")
    if summary.kept:
        of = counted(summary.kept + summary.sequences, "sequence")
        lines.append(f"tracked by an earlier run: {summary.kept} of {of}")
    if not scored:
        lines.append("there is no truth beyond the masks given, so nothing was scored")
    if results.save_results or not scored:
        lines += [f"masks of {memory}: {folder}" for memory, folder in summary.folders.items()]
    if scored:
        lines.append(f"report: {output / REPORT}")
        lines.append(f"scores: {output / RESULTS}, {output / PER_SEQUENCE}")
    if results.submission is not None:
        lines.append(f"submission: {results.submission}")
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True)


class _Telling:
    """Puts a run's progress on a bar; see `uamp_eval.runs.RunProgress`."""

    def __init__(self, progress: FrameProgress, console: Console) -> None:
        self._progress = progress
        self._console = console

    def run_started(self, frames: int, steps: int, kept: int) -> None:
        """The bar counts what this process has to do."""
        if kept:
            kept_ones = "1 sequence has" if kept == 1 else f"{kept} sequences have"
            self._console.print(f"{kept_ones} results from an earlier run, which are kept.", highlight=False)
        if steps:
            self._progress.begin("Rehearsing and tracking", frames + steps, "steps and frames")
        else:
            self._progress.begin("Tracking", frames)

    def sequence_started(self, name: str, frames: int) -> None:
        """The bar goes on: sequences are short."""

    def step_done(self) -> None:
        """One step of the bar."""
        self._progress.advance()

    def frame_done(self) -> None:
        """One step of the bar."""
        self._progress.advance()

    def sequence_finished(self, name: str) -> None:
        """The bar goes on."""
