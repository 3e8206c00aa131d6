"""One HTML page that holds everything about an evaluation: figures, bars, curves and the frames that went wrong.

The page needs nothing but itself: no network, no scripts. Nothing here needs torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from uamp_eval.atomic import write_atomically
from uamp_eval.calibration_plots import FIGURE_NAMES, SPOKEN, FigureCell, calibration_plots
from uamp_eval.doubt import EDGE_REACH
from uamp_eval.results_files import Evaluation, best_values
from uamp_eval.scores import FIGURES, ObjectResult, in_percent, sequence_figures
from uamp_eval.scoring import ReadMask
from uamp_eval.sequences import VideoSequence
from uamp_eval.worst_frames import DrawnFrame, WorstFrame, draw_worst_frame, find_worst_frames

MOST_WORST_FRAMES = 12

_FOLDED_FROM = 60
"""Of this many sequences on, bars and curves start folded."""

_MOST_HINTS = 20_000
"""A hint on every frame of every curve costs about a hundred bytes; beyond this many there are none."""


@dataclass(frozen=True, slots=True)
class _Bar:
    """J&F of one setting on one video; `width` in percent of the whole."""

    text: str
    width: str
    j: str
    f: str


@dataclass(frozen=True, slots=True)
class _Line:
    """J over time of one setting: SVG points, T across and 1 − J down; `mean` in percent."""

    setting: str
    points: str
    mean: str


@dataclass(frozen=True, slots=True)
class _Hint:
    """What a frame of a curve says when it is pointed at."""

    x: str
    text: str


@dataclass(frozen=True, slots=True)
class _Panel:
    """The curves of one object; `width` in frames, `first` and `last` the names of the first and last one scored."""

    title: str
    lines: list[_Line]
    hints: list[_Hint]
    width: int
    first: str
    last: str


def write_report(
    path: Path,
    evaluations: Sequence[Evaluation],
    sequences: Sequence[VideoSequence],
    *,
    read: ReadMask,
    title: str = "UAMP evaluation",
    about: str = "",
) -> None:
    """Write an evaluation as one HTML page.

    Args:
        path: Where to.
        evaluations: One for each setting, at least one, all of the same videos.
        sequences: The videos, to draw the worst frames.
        read: Reads a mask.
        title: Heading of the page.
        about: A sentence or a few words below it: data set, model.

    Raises:
        InputError: The page cannot be written.
        Exception: What `read` and the videos raise where a file cannot be read.
    """
    write_atomically(path, render_report(evaluations, sequences, read=read, title=title, about=about))


def render_report(
    evaluations: Sequence[Evaluation],
    sequences: Sequence[VideoSequence],
    *,
    read: ReadMask,
    title: str = "UAMP evaluation",
    about: str = "",
) -> str:
    """Return the page that `write_report` writes."""
    environment = Environment(
        loader=PackageLoader("uamp_eval"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = in_percent
    names = [evaluation.name for evaluation in evaluations]
    per_sequence = [sequence_figures(evaluation.objects) for evaluation in evaluations]
    figures, rows = _headline(evaluations)
    videos = list(per_sequence[0])
    return environment.get_template("report.html.j2").render(
        title=title,
        about=about,
        settings=names,
        counts=f"{_count(len(videos), 'sequence')} · {_count(len(evaluations[0].objects), 'object')} · "
        f"{_count(sum(len(result.frames) for result in evaluations[0].objects), 'scored mask')}",
        figures=figures,
        rows=rows,
        bars=[(name, [_bar(figures_of[name]) for figures_of in per_sequence]) for name in _by_score(per_sequence)],
        panels=list(_panels(evaluations, {sequence.name: sequence for sequence in sequences})),
        folded=len(videos) >= _FOLDED_FROM,
        plots=calibration_plots(evaluations),
        doubts=SPOKEN,
        doubt_figures=FIGURE_NAMES,
        reach=EDGE_REACH,
        worst=list(_worst(evaluations, sequences, read)),
        details=_details(evaluations),
    )


def _headline(evaluations: Sequence[Evaluation]) -> tuple[list[str], list[list[FigureCell]]]:
    """Return the names of the figures, and a row of them for each setting."""
    columns = [evaluation.figures() for evaluation in evaluations]
    best = best_values(columns)
    return list(best), [
        [FigureCell(in_percent(column[name]), column[name] == best[name]) for name in best] for column in columns
    ]


def _by_score(per_sequence: Sequence[Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Return the videos' names, the best first."""
    names = list(per_sequence[0])
    return sorted(names, key=lambda name: -sum(figures[name][FIGURES[0]] for figures in per_sequence))


def _bar(figures: Mapping[str, float]) -> _Bar:
    total, j, f = figures["J&F-Mean"], figures["J-Mean"], figures["F-Mean"]
    return _Bar(in_percent(total), f"{100 * total:.2f}", in_percent(j), in_percent(f))


def _panels(evaluations: Sequence[Evaluation], sequences: Mapping[str, VideoSequence]) -> Iterator[_Panel]:
    """Draw J over time, a panel for each object, in the order of the data set."""
    by_object: dict[str, list[tuple[str, ObjectResult]]] = {}
    for evaluation in evaluations:
        for result in evaluation.objects:
            by_object.setdefault(result.name, []).append((evaluation.name, result))
    hinted = sum(len(results[0][1].frames) for results in by_object.values()) <= _MOST_HINTS
    for results in by_object.values():
        first = results[0][1]
        position = {name: number for number, name in enumerate(sequences[first.sequence].frame_names)}
        times = [position[frame] - position[first.frames[0]] for frame in first.frames]
        lines = [
            _Line(setting, _points(times, result.jaccard.tolist()), in_percent(result.j.mean))
            for setting, result in results
        ]
        yield _Panel(
            title=f"{first.sequence} · object {first.object_id}",
            lines=lines,
            hints=_hints(times, results) if hinted else [],
            width=max(times[-1], 1),
            first=first.frames[0],
            last=first.frames[-1],
        )


def _points(times: Sequence[int], values: Sequence[float]) -> str:
    points = [f"{time},{1 - value:.4g}" for time, value in zip(times, values, strict=True)]
    # A line from a point to itself shows as a dot.
    return " ".join(points if len(points) > 1 else points * 2)


def _hints(times: Sequence[int], results: Sequence[tuple[str, ObjectResult]]) -> list[_Hint]:
    hints = []
    for index, time in enumerate(times):
        values = ", ".join(f"{setting} {in_percent(result.jaccard[index])}" for setting, result in results)
        hints.append(_Hint(f"{time - 0.5:g}", f"{results[0][1].frames[index]}: {values}"))
    return hints


def _worst(
    evaluations: Sequence[Evaluation], sequences: Sequence[VideoSequence], read: ReadMask
) -> Iterator[tuple[WorstFrame, list[DrawnFrame]]]:
    by_name = {evaluation.name: evaluation for evaluation in evaluations}
    videos = {sequence.name: sequence for sequence in sequences}
    for worst in find_worst_frames(evaluations, MOST_WORST_FRAMES):
        yield worst, draw_worst_frame(worst, videos[worst.sequence], by_name, read)


def _details(evaluations: Sequence[Evaluation]) -> list[tuple[str, list[str]]]:
    """Lay out settings, versions and fingerprints: a name and a value for each setting; `–` where there is none."""
    columns = []
    for evaluation in evaluations:
        # The record's list of videos would fill pages.
        record = {key: value for key, value in (evaluation.fingerprint or {}).items() if key != "sequences"}
        flat = dict(_flat("", {**record, **evaluation.settings}))
        flat |= _flat("version of ", evaluation.versions)
        flat["masks"] = str(evaluation.results)
        columns.append(flat)
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [(name, [column.get(name, "–") for column in columns]) for name in names]


def _flat(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        spoken = prefix + name.replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat("version of " if name == "versions" else f"{spoken}: ", value)
        elif isinstance(value, (list, tuple)):
            yield spoken, ", ".join(map(str, value))
        elif isinstance(value, bool):
            yield spoken, "yes" if value else "no"
        else:
            yield spoken, "–" if value is None else str(value)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"
