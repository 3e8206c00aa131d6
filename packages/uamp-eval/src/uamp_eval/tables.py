"""The scores of an evaluation as tables for a terminal. Nothing here needs torch."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from uamp_eval.results_files import Evaluation, best_values
from uamp_eval.scores import FIGURES, sequence_figures

MOST_SEQUENCES = 60
"""So many rows fit a terminal's memory; of a larger benchmark the worst are shown."""


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
    columns = [evaluation.figures() for evaluation in evaluations]
    for figure, best in best_values(columns).items():
        table.add_row(figure, *(_cell(column[figure], best) for column in columns), end_section=figure == FIGURES[-1])
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
        rows = [{figure: figures[name][figure] for figure in shown} for figures in per_setting]
        best = best_values(rows)
        cells = [_cell(row[figure], best[figure]) for row in rows for figure in shown]
        table.add_row(Text(name), str(counts[name]), *cells)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="dim", box=None, pad_edge=False, header_style="bold")


def _cell(value: float, best: float | None) -> Text:
    return Text(f"{100 * value:.1f}", style="bold" if value == best else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
