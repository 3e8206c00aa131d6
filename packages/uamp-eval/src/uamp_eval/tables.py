"""The scores of an evaluation as tables for a terminal. Nothing here needs torch."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from uamp_eval.results_files import Evaluation, best_values
from uamp_eval.scores import FIGURES, in_percent, sequence_figures
from uamp_eval.visible import visible

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
    objects = evaluations[0].objects
    counts = Counter(result.sequence for result in objects)
    caption = f"{_count(len(counts), 'sequence')}, {_count(len(objects), 'object')}; percent, mean over objects"
    below = "By sequence" if len(evaluations) == 1 else "J&F by sequence"
    if len(counts) > MOST_SEQUENCES:
        below += f", the {MOST_SEQUENCES} lowest of {len(counts)}"
    return Group(
        Text(caption, style="dim"),
        _global_table(evaluations),
        "",
        Text(below, style="dim"),
        _sequence_table(evaluations, counts),
    )


def _global_table(evaluations: Sequence[Evaluation]) -> Table:
    table = _table()
    table.add_column("", no_wrap=True)
    for evaluation in evaluations:
        table.add_column(Text(visible(evaluation.name)), justify="right", no_wrap=True)
    columns = [evaluation.figures() for evaluation in evaluations]
    for figure, best in best_values(columns).items():
        table.add_row(figure, *(_cell(column[figure], best) for column in columns))
    speeds = [evaluation.settings.get("frames_per_second") for evaluation in evaluations]
    if any(speeds):
        table.add_row("frames/s", *(f"{speed:.1f}" if isinstance(speed, float) else "" for speed in speeds))
    return table


def _sequence_table(evaluations: Sequence[Evaluation], counts: Mapping[str, int]) -> Table:
    per_setting = [sequence_figures(evaluation.objects) for evaluation in evaluations]
    names = list(counts)
    if len(names) > MOST_SEQUENCES:
        names = sorted(names, key=lambda name: per_setting[0][name][FIGURES[0]])[:MOST_SEQUENCES]
    table = _table()
    table.add_column("", no_wrap=True)
    table.add_column("objects", justify="right")
    shown = ("J&F-Mean", "J-Mean", "F-Mean") if len(evaluations) == 1 else ("J&F-Mean",)
    for heading in shown if len(evaluations) == 1 else [evaluation.name for evaluation in evaluations]:
        table.add_column(Text(visible(heading)), justify="right", no_wrap=True)
    for name in names:
        rows = [{figure: figures[name][figure] for figure in shown} for figures in per_setting]
        best = best_values(rows)
        cells = [_cell(row[figure], best[figure]) for row in rows for figure in shown]
        table.add_row(Text(visible(name)), str(counts[name]), *cells)
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _cell(value: float, best: float | None) -> Text:
    return Text(in_percent(value), style="bold" if value == best else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
