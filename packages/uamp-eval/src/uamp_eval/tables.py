"""The scores of an evaluation as tables for a terminal. Nothing here needs torch."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from uamp_eval.results_files import Evaluation
from uamp_eval.scores import FIGURES, mean_figures, object_figures, seen_unseen_figures, sequence_figures

MOST_SEQUENCES = 60
"""So many rows fit a terminal's memory; of a larger benchmark the worst are shown."""

_LOWER_IS_BETTER = ("J-Decay", "F-Decay")


def results_tables(evaluations: Sequence[Evaluation]) -> RenderableType:
    """Show the global figures and the figures of every video, in percent.

    Args:
        evaluations: One for each setting, at least one, all of the same videos.

    Returns:
        Two tables: the figures of the benchmark with a column for each setting, the best in bold; and a row for each
        video, with J&F of each setting, or J&F, J and F where there is one setting alone.
    """
    return Group(_global_table(evaluations), "", _sequence_table(evaluations))


def _global_table(evaluations: Sequence[Evaluation]) -> Table:
    objects = evaluations[0].objects
    videos = len({result.sequence for result in objects})
    table = _table(f"{_count(videos, 'sequence')}, {_count(len(objects), 'object')}; percent, mean over objects")
    table.add_column("", no_wrap=True)
    for evaluation in evaluations:
        table.add_column(Text(evaluation.name), justify="right", no_wrap=True)
    columns = []
    for evaluation in evaluations:
        figures = mean_figures(map(object_figures, evaluation.objects))
        columns.append({**figures, **seen_unseen_figures(evaluation.objects, evaluation.seen)})
    for figure in columns[0]:
        table.add_row(
            figure,
            *_cells([column[figure] for column in columns], lower_is_better=figure in _LOWER_IS_BETTER),
            end_section=figure == FIGURES[-1],
        )
    return table


def _sequence_table(evaluations: Sequence[Evaluation]) -> Table:
    per_setting = [sequence_figures(evaluation.objects) for evaluation in evaluations]
    counts: dict[str, int] = {}
    for result in evaluations[0].objects:
        counts[result.sequence] = counts.get(result.sequence, 0) + 1
    names, title = list(counts), "by sequence" if len(evaluations) == 1 else "J&F by sequence"
    if len(names) > MOST_SEQUENCES:
        names = sorted(names, key=lambda name: per_setting[0][name]["J&F-Mean"])[:MOST_SEQUENCES]
        title += f", the {MOST_SEQUENCES} lowest of {len(counts)}"
    table = _table(title)
    table.add_column("", no_wrap=True)
    table.add_column("objects", justify="right")
    shown = ("J&F-Mean", "J-Mean", "F-Mean") if len(evaluations) == 1 else ("J&F-Mean",)
    for heading in shown if len(evaluations) == 1 else [evaluation.name for evaluation in evaluations]:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for name in names:
        values = [figures[name][figure] for figures in per_setting for figure in shown]
        cells = [_percent(value) for value in values] if len(evaluations) == 1 else _cells(values)
        table.add_row(Text(name), str(counts[name]), *cells)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="dim", box=None, pad_edge=False, header_style="bold")


def _cells(values: Sequence[float], *, lower_is_better: bool = False) -> list[Text]:
    """Format a row; where there is something to compare, the best is bold."""
    best = min(values) if lower_is_better else max(values)
    compared = len(values) > 1 and len(set(values)) > 1
    return [Text(_percent(value), style="bold" if compared and value == best else "") for value in values]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
