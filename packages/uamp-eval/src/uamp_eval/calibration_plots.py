"""The report's part about doubt: reliability plots and a table. Nothing here needs torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from uamp_eval.calibration import EDGE, ENTROPY, ONE_MINUS_SCORE, SOURCES, UNCERTAINTY, ErrorHistogram
from uamp_eval.results_files import Evaluation

SPOKEN = {UNCERTAINTY: "uncertainty", ENTROPY: "entropy of the mask", ONE_MINUS_SCORE: "1 − score"}
"""The sources of doubt in words."""

_LARGEST_DOT, _SMALLEST_DOT = 0.06, 0.008
"""Radius of a dot that stands for all pixels, and of one that stands for hardly any; the plot's side is 1."""
_HIGHER_IS_BETTER = ("AUROC", "AUPRC")


@dataclass(frozen=True, slots=True)
class ReliabilityDot:
    """A range of doubt in the plot: place and radius in its unit square, y down, and what it says when pointed at."""

    x: str
    y: str
    radius: str
    text: str


@dataclass(frozen=True, slots=True)
class ReliabilityLine:
    """One source of doubt in a plot: SVG points, and the dots of the uncertainty map."""

    source: str
    points: str
    dots: list[ReliabilityDot]


@dataclass(frozen=True, slots=True)
class FigureCell:
    """A value in a table as text, and whether it is the best of those it is compared with."""

    text: str
    best: bool


@dataclass(frozen=True, slots=True)
class CalibrationPlot:
    """One setting: its plot, and a row of figures for each source.

    Attributes:
        setting: its name.
        number: its place among all settings, which gives its colour.
        ece: of the uncertainty map.
        wrong: share of wrong pixels, in percent.
        partly: how many videos it is of, where not all were looked at; empty otherwise.
        lines: the sources, the uncertainty map last, so that it is drawn above the others.
        rows: by source in words, a cell for each of `FIGURE_NAMES`.
    """

    setting: str
    number: int
    ece: str
    wrong: str
    partly: str
    lines: list[ReliabilityLine]
    rows: list[tuple[str, list[FigureCell]]]


FIGURE_NAMES = ("AUROC", "AUPRC", "ECE")


def calibration_plots(evaluations: Sequence[Evaluation]) -> list[CalibrationPlot]:
    """Lay out the settings whose doubt was looked at."""
    plots = []
    for number, evaluation in enumerate(evaluations):
        calibration = evaluation.calibration
        if calibration is None:
            continue
        histograms = calibration.histograms[EDGE]
        figures = calibration.figures(EDGE)
        best = {name: _best(name, [figures[source][name] for source in SOURCES]) for name in FIGURE_NAMES}
        rows = [
            (
                SPOKEN[source],
                [FigureCell(_text(own := figures[source][name]), own == best[name]) for name in FIGURE_NAMES],
            )
            for source in SOURCES
        ]
        videos = len({result.sequence for result in evaluation.objects})
        plots.append(
            CalibrationPlot(
                setting=evaluation.name,
                number=number,
                ece=_text(figures[UNCERTAINTY]["ECE"]),
                wrong=f"{100 * (histograms[UNCERTAINTY].wrong_share or 0):.1f}",
                partly="" if calibration.sequences >= videos else f"{calibration.sequences} of {videos} sequences",
                lines=[_line(source, histograms[source]) for source in reversed(SOURCES)],
                rows=rows,
            )
        )
    return plots


def _line(source: str, histogram: ErrorHistogram) -> ReliabilityLine:
    bins = histogram.reliability()
    points = [f"{one.doubt:.4g},{1 - one.wrong:.4g}" for one in bins]
    dots = [
        ReliabilityDot(
            x=f"{one.doubt:.4g}",
            y=f"{1 - one.wrong:.4g}",
            radius=f"{max(_LARGEST_DOT * math.sqrt(one.weight), _SMALLEST_DOT):.4g}",
            text=f"{SPOKEN[source]} {one.doubt:.2f}: {100 * one.wrong:.1f} % wrong, {100 * one.weight:.2g} % of pixels",
        )
        for one in bins
    ]
    # A line from a point to itself shows as a dot.
    return ReliabilityLine(source, " ".join(points if len(points) > 1 else points * 2), dots)


def _best(name: str, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return max(known) if name in _HIGHER_IS_BETTER else min(known)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
