"""`uamp bench`: this machine, side by side with others' code."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from uamp_data.words import counted

from uamp_cli.bench_tracker_command import tracker
from uamp_cli.sizes import parse_size
from uamp_cli.terminal import EXIT_FAILED, err_console, out_console

if TYPE_CHECKING:
    from rich.table import Table

    from uamp_cli.bench_metrics import Measurement

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Measure speed on this machine.")

_MOST_OBJECTS = 254


@app.callback()
def _bench() -> None:
    """Measure speed on this machine."""


app.command()(tracker)


@app.command()
def metrics(
    objects: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=_MOST_OBJECTS,
            metavar="N",
            help="Objects in a frame. Give it again to compare numbers.",
            show_default="1, 3 and 10",
        ),
    ] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "854x480",
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="Frames for each number of objects.")] = 8,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the numbers here too.")] = None,
) -> None:
    """Time J and F on one core, beside the official algorithm written plainly and, if installed, vos-benchmark.

    All of them score the same generated masks in turns and must give the same scores, or the exit code is 1.
    """
    height, width = parse_size(size)
    from uamp_cli.bench_metrics import AGREEMENT, REPETITIONS, VOS_BENCHMARK, contenders, make_masks, measure
    from uamp_cli.outputs import check_outputs
    from uamp_cli.progress import frame_progress

    check_outputs({"--json": json}, {})
    scores = contenders()
    measured = []
    with frame_progress(err_console()) as progress:
        for count in objects or [1, 3, 10]:
            progress.begin(f"Masks of {counted(count, 'object')}", frames)
            masks = []
            for pair in make_masks(count, frames, (height, width)):
                masks.append(pair)
                progress.advance()
            measured.append(measure(masks, count, scores))

    if json is not None:
        _save(json, measured, (height, width), frames)
    out = out_console()
    for table in (_speeds(measured, list(scores)), _stages(measured)):
        out.print(table, highlight=False)
    measured_on = f"{counted(frames, 'frame')} of {width}×{height} pixels"
    setting = f"{measured_on} (their median, each the best of {REPETITIONS}), one core"
    out.print(f"{setting}, boundaries matched within {measured[0].radius} px.", highlight=False, soft_wrap=True)
    if VOS_BENCHMARK not in scores:
        out.print("vos-benchmark is not installed, so it is left out: pip install vos-benchmark", soft_wrap=True)
    difference = max(measurement.difference for measurement in measured)
    if difference > AGREEMENT:
        typer.echo(f"Error: the scores differ by up to {difference:.2g}, more than {AGREEMENT:g} allows.", err=True)
        raise typer.Exit(EXIT_FAILED)
    out.print(f"All give the same J and F, to {AGREEMENT:g}.", highlight=False, soft_wrap=True)


def _speeds(measured: "list[Measurement]", names: list[str]) -> "Table":
    """Milliseconds for a frame with all its objects, and how many times ours that is."""
    from rich.table import Table

    from uamp_cli.bench_metrics import OURS

    title = "Milliseconds for J and F of a frame"
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for name in ("objects", "J", "F"):
        table.add_column(name, justify="right")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
        if name != OURS:
            table.add_column("×", justify="right", no_wrap=True)
    for row in measured:
        cells = [str(row.objects), f"{row.j:.3f}", f"{row.f:.3f}"]
        for name in names:
            cells.append(f"{row.milliseconds[name]:.2f}")
            if name != OURS:
                cells.append(f"{row.times_faster(name):.1f}")
        table.add_row(*cells)
    return table


def _stages(measured: "list[Measurement]") -> "Table":
    """Where our time goes."""
    from rich.table import Table

    from uamp_cli.bench_metrics import STAGES

    table = Table(box=None, pad_edge=False, header_style="bold", title="Where uamp's time goes", title_justify="left")
    table.add_column("objects", justify="right")
    for stage in STAGES:
        table.add_column(stage, justify="right")
    for row in measured:
        whole = sum(row.stages.values())
        parts = [f"{row.stages[stage]:.2f} ms {row.stages[stage] / whole:4.0%}" for stage in STAGES]
        table.add_row(str(row.objects), *parts)
    return table


def _save(path: Path, measured: "list[Measurement]", size: tuple[int, int], frames: int) -> None:
    from uamp_eval.results_files import write_json

    from uamp_cli.bench_metrics import OURS

    height, width = size
    by_objects = {
        str(row.objects): {
            "milliseconds": row.milliseconds,
            "times_faster": {name: row.times_faster(name) for name in row.milliseconds if name != OURS},
            "differences": row.differences,
            "stages": row.stages,
            "J-Mean": row.j,
            "F-Mean": row.f,
        }
        for row in measured
    }
    write_json(
        path,
        {"width": width, "height": height, "radius": measured[0].radius, "frames": frames, "objects": by_objects},
    )
