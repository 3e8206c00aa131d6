"""`uamp bench`: this machine, side by side with others' code."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uamp_cli.model_options import Device, Model, Precision
from uamp_cli.sizes import parse_size
from uamp_cli.terminal import EXIT_FAILED, err_console, out_console

if TYPE_CHECKING:
    from rich.table import Table

    from uamp_cli.bench_metrics import Measurement

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Measure speed on this machine.")

_MOST_OBJECTS = 254
_WORK, _MODEL, _THEIRS, _RESULTS = "What is measured", "Model", "The sam2 package's predictor", "Results"


@app.callback()
def _bench() -> None:
    """Measure speed on this machine."""


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
            progress.begin(f"Masks of {count} object{'s' if count > 1 else ''}", frames)
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
    setting = f"{frames} frames of {width}×{height} pixels (their median, each the best of {REPETITIONS}), one core"
    out.print(f"{setting}, boundaries matched within {measured[0].radius} px.", highlight=False, soft_wrap=True)
    if VOS_BENCHMARK not in scores:
        out.print("vos-benchmark is not installed, so it is left out: pip install vos-benchmark", soft_wrap=True)
    difference = max(measurement.difference for measurement in measured)
    if difference > AGREEMENT:
        typer.echo(f"Error: the scores differ by up to {difference:.2g}, more than {AGREEMENT:g} allows.", err=True)
        raise typer.Exit(EXIT_FAILED)
    out.print(f"All give the same J and F, to {AGREEMENT:g}.", highlight=False, soft_wrap=True)


@app.command()
def tracker(
    model: Model = "nano",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "--sam2-checkpoint",
            metavar="PT",
            help="Weights of the model; without it those that are at hand, else random ones.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    objects: Annotated[
        str, typer.Option(metavar="N,N...", help="Numbers of objects to compare.", rich_help_panel=_WORK)
    ] = "1,4,16",
    frames: Annotated[
        int, typer.Option(min=1, metavar="N", help="Frames to time for each number of objects.", rich_help_panel=_WORK)
    ] = 20,
    memory_frames: Annotated[
        str,
        typer.Option(
            metavar="N,N...",
            help="Lengths of videos whose memory is measured, each in a process of its own; 0 for none. "
            "The sam2 package's predictor holds all frames: 1600 at 1024×1024 take 20 GB.",
            rich_help_panel=_WORK,
        ),
    ] = "40,80",
    precision: Precision = "auto",
    device: Device = "auto",
    memory_budget: Annotated[
        float,
        typer.Option(
            min=0.2, max=1.0, metavar="SHARE", help="Share of the memory that ours reads.", rich_help_panel=_MODEL
        ),
    ] = 1.0,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile ours for this machine first.", rich_help_panel=_MODEL)
    ] = False,
    sam2_compiled: Annotated[
        bool,
        typer.Option(
            "--sam2-compiled/--no-sam2-compiled",
            help="On CUDA, measure the package's compiled predictor too, which takes minutes to compile.",
            rich_help_panel=_THEIRS,
        ),
    ] = True,
    sam2_compile_mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="How that is compiled: max-autotune as the package asks for, reduce-overhead or default.",
            rich_help_panel=_THEIRS,
        ),
    ] = "max-autotune",
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="CPU threads; by default torch's.", rich_help_panel=_MODEL)
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            "--video",
            "--input",
            metavar="FILE|DIR",
            help="Frames to track; without it a clip is generated.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Size of the generated clip.", rich_help_panel=_WORK)
    ] = "854x480",
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the numbers here too.", rich_help_panel=_RESULTS)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw frames per second and memory here.", rich_help_panel=_RESULTS),
    ] = None,
) -> None:
    """Time the tracker beside the sam2 package's own video predictor, on the same weights, frames and prompts.

    Both track in turns, frame by frame, and their masks are compared. On CUDA the package's compiled predictor takes
    part too.
    """
    from uamp_cli.bench_tracker_command import TrackerOptions, run_tracker_bench

    options = TrackerOptions(
        model,
        checkpoint,
        objects,
        frames,
        memory_frames,
        precision,
        device,
        memory_budget,
        compiled,
        sam2_compiled,
        sam2_compile_mode,
        threads,
        video,
        size,
        json,
        plot,
    )
    run_tracker_bench(options)


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
