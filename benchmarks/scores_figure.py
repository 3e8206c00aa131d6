"""What settings gain over the first one, with their intervals, as a picture: an SVG file.

    uv run python benchmarks/scores_figure.py --out gains.svg --panel "real video=real.jsonl" \
        --panel "generated clips=generated.jsonl" --rows sam2 samurai "uamp=uamp-free"

The files are those of `memory_scores.py --keep`; a row is a setting of theirs, or WORDS=SETTING. A bar is the 95 %
bootstrap interval over objects, the number the mean gain of J&F in points.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from memory_scores import STORIES, ObjectScore, interval, kept_notes
from uamp_cli.bench_tracker_report import round_ticks, svg

LABELS, PLOT, ROW, TOP = 190, 300, 30, 34
COLOUR, GREY = "#0b6e4f", "#888"


@dataclass(frozen=True, slots=True)
class Gain:
    """Gain of J&F over the first row, in points: the mean and its interval."""

    words: str
    mean: float
    low: float
    high: float


def gains(file: Path, rows: Sequence[tuple[str, str]]) -> list[Gain]:
    """Of every row but the first, over the objects that all of them have."""
    notes = [note for note in kept_notes(file) if "score" in note]
    if len(conditions := {note["conditions"] for note in notes}) > 1:
        raise SystemExit(f"{file} has scores of different conditions: {'; '.join(sorted(conditions))}.")
    scores = [ObjectScore(**note["score"]) for note in notes]
    by_setting = {setting: {_place(s): s.jf for s in scores if s.setting == setting} for _, setting in rows}
    objects = sorted(set.intersection(*(set(found) for found in by_setting.values())))
    if not objects:
        raise SystemExit(f"{file} has no object that all of {', '.join(s for _, s in rows)} were measured on.")
    first = rows[0][1]
    found = []
    for words, setting in rows[1:]:
        gain = 100 * np.array([by_setting[setting][one] - by_setting[first][one] for one in objects])
        found.append(Gain(words, float(gain.mean()), *interval(gain)))
    spans = (f"{gain.words} {gain.mean:+.2f} ({gain.low:+.2f} to {gain.high:+.2f})" for gain in found)
    print(f"{file}: {len(objects)} objects, {'; '.join(spans)}")
    return found


def _place(score: ObjectScore) -> tuple[int, str]:
    """Objects in the order in which `memory_scores.py` has them, so that intervals are the same."""
    return STORIES.index(score.group) if score.group in STORIES else -1, score.name


def draw(panels: Sequence[tuple[str, Sequence[Gain]]], over: str) -> str:
    """The picture: panels side by side on one scale, rows of them in common."""
    low = min(0.0, *(gain.low for _, rows in panels for gain in rows))
    high = max(gain.high for _, rows in panels for gain in rows)
    step = round_ticks(high - low)[1]
    ticks = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    words = [gain.words for gain in panels[0][1]]
    bottom = TOP + ROW * len(words)
    parts = [
        f'<text x="{LABELS - 14}" y="{TOP + ROW * row + 18}" text-anchor="end">{escape(text)}</text>'
        for row, text in enumerate(words)
    ]
    for number, (title, rows) in enumerate(panels):
        left = LABELS + number * (PLOT + 40)

        def place(value: float, left: int = left) -> str:
            return f"{left + PLOT * (value - low) / (high - low):.1f}"

        parts.append(f'<text x="{left}" y="20" font-weight="bold">{escape(title)}</text>')
        for tick in ticks:
            colour = GREY if tick == 0 else "#e4e4e4"
            parts.append(f'<path d="M{place(tick)} {TOP}V{bottom}" stroke="{colour}"/>')
            parts.append(f'<text x="{place(tick)}" y="{bottom + 18}" text-anchor="middle">{signed(tick, "g")}</text>')
        for row, gain in enumerate(rows):
            y = TOP + ROW * row + 14
            bar = f"M{place(gain.low)} {y}H{place(gain.high)}"
            parts.append(f'<path d="{bar}" stroke="{COLOUR}" stroke-width="6" stroke-opacity="0.3"/>')
            parts.append(f'<circle cx="{place(gain.mean)}" cy="{y}" r="4.5" fill="{COLOUR}"/>')
            halo = 'stroke="white" stroke-width="4" paint-order="stroke"'
            mean = signed(gain.mean, ".1f")
            parts.append(f'<text x="{place(gain.mean)}" y="{y - 7}" text-anchor="middle" {halo}>{mean}</text>')
    width = LABELS + len(panels) * (PLOT + 40)
    parts.append(f'<text x="{LABELS}" y="{bottom + 38}">J&amp;F over {escape(over)}, in points</text>')
    return svg(width, bottom + 50, "".join(parts))


def signed(value: float, form: str) -> str:
    """A gain as people write it: 0, +1.5, −0.2."""
    text = f"{value:+{form}}"
    return text.replace("-", "−") if float(text) else "0"


def pair(text: str) -> tuple[str, str]:
    """WORDS=SETTING, or a setting that is its own words."""
    words, _, setting = text.partition("=")
    return words, setting or words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panel", action="append", required=True, metavar="TITLE=FILE", type=pair)
    parser.add_argument("--rows", nargs="+", required=True, metavar="WORDS=SETTING", type=pair)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    panels = [(title, gains(Path(file), options.rows)) for title, file in options.panel]
    options.out.write_text(draw(panels, options.rows[0][0]), encoding="utf-8")


if __name__ == "__main__":
    main()
