"""Score masks that lie on disk already, whoever made them. Nothing here needs torch."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from uamp_data.masks import read_annotation
from uamp_eval.report import write_report
from uamp_eval.results_files import Evaluation, write_json
from uamp_eval.scoring import ScoringRule, score_results
from uamp_eval.sequences import VideoSequence
from uamp_eval.tables import results_tables
from uamp_model.errors import InputError

from uamp_cli.outputs import check_outputs
from uamp_cli.progress import frame_progress
from uamp_cli.terminal import err_console, out_console

_RECORD = "run.json"
"""What `uamp eval davis` leaves beside its masks."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What to score and where to write it, see `uamp eval score --help`.

    Attributes:
        results: the folder with a folder of PNGs for each sequence, or the one above it.
        data: the folder of the data set.
        title: the data, in words.
        rule: how to score.
        json: where the scores are written, if anywhere.
        report: where the page is written, if anywhere.
        workers: processes; None for one per processor.
        ignore_extra_ids: take ids that no object has as background.
        seen: by object name, whether its category is in the training set.
    """

    results: Path
    data: Path
    title: str
    rule: ScoringRule = ScoringRule.DAVIS
    json: Path | None = None
    report: Path | None = None
    workers: int | None = None
    ignore_extra_ids: bool = False
    seen: Mapping[str, bool | None] = field(default_factory=dict)


def score_command(sequences: Sequence[VideoSequence], options: ScoreOptions) -> None:
    """Score, write what was asked for and print the tables.

    Raises:
        InputError: results are missing or wrong, or a file cannot be written. Errors of the data are passed on.
    """
    check_outputs(
        {"--json": options.json, "--report": options.report},
        {"--results": options.results},
        data=(options.data, options.results),
    )
    evaluation = _score(sequences, options)
    if options.json is not None:
        write_json(options.json, evaluation.document())
    if options.report is not None:
        about = f"{options.title}, masks in {evaluation.results}"
        write_report(options.report, [evaluation], sequences, read=read_annotation, about=about)
    out = out_console()
    out.print(results_tables([evaluation]))
    for what, path in (("scores", options.json), ("report", options.report)):
        if path is not None:
            out.print(f"{what}: {path}", highlight=False, markup=False, soft_wrap=True)


def find_results(results: Path, names: Sequence[str]) -> Path:
    """Return the folder that holds the sequences' folders: `results`, or the one folder in it that does.

    Args:
        results: as the user named it.
        names: the sequences.

    Raises:
        InputError: several folders in it hold sequences. Where none does, `results` is returned, and scoring says what
            is missing.
    """

    def holds_any(folder: Path) -> bool:
        return any((folder / name).is_dir() for name in names)

    if not results.is_dir() or holds_any(results):
        return results
    inside = sorted(folder for folder in results.iterdir() if folder.is_dir() and holds_any(folder))
    if len(inside) > 1:
        raise InputError(
            f"{results} holds several results ({', '.join(folder.name for folder in inside)}): name one of them, "
            f"like {inside[0]}."
        )
    return inside[0] if inside else results


def _score(sequences: Sequence[VideoSequence], options: ScoreOptions) -> Evaluation:
    folder = find_results(options.results, [sequence.name for sequence in sequences])
    with frame_progress(err_console()) as progress:
        progress.begin("Scoring", len(sequences), "sequences")
        objects = score_results(
            sequences,
            folder,
            read=read_annotation,
            rule=options.rule,
            workers=options.workers,
            ignore_extra_ids=options.ignore_extra_ids,
            on_done=lambda _: progress.advance(),
        )
    record = _record(folder)
    memory = None if record is None else record.get("memory")
    settings = {"data": options.title, "rule": options.rule.value, "ignore_extra_ids": options.ignore_extra_ids}
    name = memory if isinstance(memory, str) else folder.resolve().name
    return Evaluation(name, objects, folder, settings, _versions(), record, options.seen)


def _record(folder: Path) -> Mapping[str, object] | None:
    """How the masks were made, if they tell."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _versions() -> dict[str, str]:
    packages = ("uamp-cli", "uamp-eval", "uamp-data", "numpy", "opencv-python-headless")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
