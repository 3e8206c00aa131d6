"""Tables, JSON and a picture of what `bench_tracker` measured."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from rich.table import Table
from uamp_eval.atomic import write_atomically

from uamp_cli.bench_tracker import (
    ALL_STAGES,
    COMPILED,
    OURS,
    THEIRS,
    MemoryCurve,
    SpeedMeasurement,
    TrackerBench,
    slope,
)

Points = Sequence[tuple[float, float]]
_COLOURS = {OURS: "#0b6e4f", THEIRS: "#c8553d", COMPILED: "#7a6f9b"}
_OTHERS = (*_COLOURS.values(), "#333333")


def speed_table(measured: Sequence[SpeedMeasurement]) -> Table:
    """Frames per second of all, and how many times faster ours is."""
    others = list(measured[0].iou)
    table = _table("Frames per second")
    for name in ("objects", OURS):
        table.add_column(name, justify="right")
    for name in others:
        for heading in (name, "×", "× CPU time", "mask IoU"):
            table.add_column(heading, justify="right", no_wrap=True)
    for row in measured:
        cells = [str(row.objects), f"{row.frames_per_second(OURS):.2f}"]
        for name in others:
            times, cpu = row.times_faster(name), row.times_faster(name, cpu=True)
            cells += [f"{row.frames_per_second(name):.2f}", f"{times:.2f}", f"{cpu:.2f}", f"{row.iou[name]:.5f}"]
        table.add_row(*cells)
    return table


def stage_table(measured: Sequence[SpeedMeasurement]) -> Table:
    """Where our time goes."""
    table = _table("Where uamp's time goes, ms of a frame (of processor time on a CPU)")
    table.add_column("objects", justify="right")
    for stage in ALL_STAGES:
        table.add_column(stage, justify="right")
    for row in measured:
        table.add_row(str(row.objects), *(f"{1e3 * row.stages.get(stage, 0):.1f}" for stage in ALL_STAGES))
    return table


def memory_table(curves: Sequence[MemoryCurve]) -> Table:
    """Peak memory by length, and what each further frame costs."""
    table = _table("Memory, MiB")
    lengths = sorted({curve.frames for curve in curves})
    table.add_column("")
    for length in lengths:
        table.add_column(f"peak of {length} frames", justify="right")
    table.add_column("for each further frame", justify="right")
    on_device = any(curve.device for curve in curves)
    if on_device:
        table.add_column("peak on the device", justify="right")
    for name in dict.fromkeys(curve.contender for curve in curves):
        own = [curve for curve in curves if curve.contender == name]
        peaks = {curve.frames: f"{curve.peak:.0f}" for curve in own}
        growth = slope(own)
        cells = [peaks.get(length, "–") for length in lengths] + ["–" if growth is None else f"{growth:.2f}"]
        if on_device:
            cells.append(f"{max(max(curve.device, default=0) for curve in own):.0f}")
        table.add_row(name, *cells)
    return table


def _table(title: str) -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")


def as_json(
    bench: TrackerBench,
    setting: Mapping[str, object],
    measured: Sequence[SpeedMeasurement],
    curves: Sequence[MemoryCurve],
) -> dict[str, Any]:
    """Everything that was measured."""
    speed = {
        str(row.objects): {
            "frames_per_second": {name: row.frames_per_second(name) for name in row.seconds},
            "times_faster": {name: row.times_faster(name) for name in row.iou},
            "times_faster_cpu_time": {name: row.times_faster(name, cpu=True) for name in row.iou},
            "mask_iou": row.iou,
            "differing_pixels": row.differing,
            "stages_ms": {stage: 1e3 * seconds for stage, seconds in row.stages.items()},
            "seconds": row.seconds,
            "cpu_seconds": row.cpu_seconds,
        }
        for row in measured
    }
    names = dict.fromkeys(curve.contender for curve in curves)
    memory = {
        name: {
            "peak_mib": {str(curve.frames): curve.peak for curve in curves if curve.contender == name},
            "mib_per_frame": slope([curve for curve in curves if curve.contender == name]),
            "curves": [
                {"frames": curve.frames, "resident_mib": curve.resident, "device_mib": curve.device}
                for curve in curves
                if curve.contender == name
            ],
        }
        for name in names
    }
    asked = {
        "frames": bench.frames,
        "memory_budget": bench.memory_budget,
        "compiled": bench.compiled,
        "sam2_compiled": bench.sam2_compiled,
    }
    return {**setting, **asked, "speed": speed, "memory": memory}


def save_plot(path: Path, measured: Sequence[SpeedMeasurement], curves: Sequence[MemoryCurve]) -> None:
    """Draw frames per second over objects and memory over frames as SVG."""
    speed = {
        name: [(float(row.objects), row.frames_per_second(name)) for row in measured] for name in measured[0].seconds
    }
    longest = {
        curve.contender: [(float(n), mib) for n, mib in enumerate(curve.resident)]
        for curve in sorted(curves, key=lambda curve: curve.frames)
    }
    panels = [draw_panel(speed, "objects", "frames per second", dots=True, whole=True)]
    if longest:
        panels.append(draw_panel(longest, "frames", "memory, MiB", dots=False, whole=True))
    save_panels(path, panels)


def save_panels(path: Path, panels: Sequence[str]) -> None:
    """Write diagrams side by side as an SVG file."""
    body = "".join(f'<g transform="translate({60 + 420 * i},40)">{panel}</g>' for i, panel in enumerate(panels))
    write_atomically(path, svg(420 * len(panels) + 40, 340, body))


def svg(width: int, height: int, body: str) -> str:
    """An SVG document of this many pixels: its elements on white."""
    size = f'width="{width}" height="{height}"'
    style = 'font-family="sans-serif" font-size="12" fill="#222"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}><rect width="100%" height="100%" fill="white"/>'
        f"{body}</svg>\n"
    )


_WIDTH, _HEIGHT = 330.0, 230.0


def round_ticks(most: float, *, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from 0 to no more than `most`, five to eleven of them.

    What can be counted has `whole` ones, of which there may be fewer.
    """
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = max(power * factor for factor in (1, 2, 5) if power * factor <= most / 4)
    step = max(step, 1.0) if whole else step
    return [float(f"{step * number:.6g}") for number in range(int(most / step * (1 + 1e-9)) + 1)]


def draw_panel(lines: Mapping[str, Points], across: str, up: str, *, dots: bool, whole: bool = False) -> str:
    """One diagram from 0 on both axes, of named lines through points (x, y), as SVG; `whole` where x is counted."""
    most_x = max((x for points in lines.values() for x, _ in points), default=1) or 1
    most_y = 1.05 * max((y for points in lines.values() for _, y in points), default=1) or 1
    parts = [
        f'<path d="M0 0V{_HEIGHT}H{_WIDTH}" fill="none" stroke="#888"/>',
        f'<text x="0" y="-12">{escape(up)}</text>',
        f'<text x="{_WIDTH}" y="{_HEIGHT + 34}" text-anchor="end">{escape(across)}</text>',
    ]
    for tick in round_ticks(most_y):
        y = _HEIGHT * (1 - tick / most_y)
        parts.append(f'<path d="M0 {y:.1f}H{_WIDTH}" stroke="#eee"/>')
        parts.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in round_ticks(most_x, whole=whole):
        parts.append(f'<text x="{_WIDTH * tick / most_x:.1f}" y="{_HEIGHT + 18}" text-anchor="middle">{tick:g}</text>')
    names: list[str] = []
    for row, (name, points) in enumerate(lines.items()):
        colour = _COLOURS.get(name, _OTHERS[row % len(_OTHERS)])
        places = [(_WIDTH * x / most_x, _HEIGHT * (1 - y / most_y)) for x, y in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places] if dots else []
        names.append(f'<tspan dx="10" fill="{colour}">{escape(name)}</tspan>')
    parts.append(f'<text x="{_WIDTH}" y="-12" text-anchor="end">{"".join(names)}</text>')
    return "".join(parts)
