"""`uamp data check`: everything that is wrong with a data set, in one table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uamp_cli.terminal import EXIT_BAD_INPUT, err_console, out_console

if TYPE_CHECKING:
    from uamp_data.check import TreeReport


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A DAVIS or YouTube-VOS tree, or one like it.")],
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the list as JSON.")] = None,
) -> None:
    """List everything missing, damaged or mismatched in a data set.

    Every picture and mask is decoded. The exit code is 0 if all is well and 2 if anything is not.
    """
    from uamp_data.check import inspect_tree

    from uamp_cli.outputs import check_outputs
    from uamp_cli.progress import frame_progress

    if json_file is not None:
        check_outputs({"--json": json_file}, {}, data=(folder,))
    with frame_progress(err_console()) as progress:

        def advance(frames: int) -> None:
            for _ in range(frames):
                progress.advance()

        report = inspect_tree(folder, on_begin=lambda total: progress.begin("Frames", total), on_done=advance)
    if json_file is not None:
        _save(json_file, report)
    if report.problems:
        _print_table(report)
    _print_summary(report)
    if report.problems:
        raise typer.Exit(EXIT_BAD_INPUT)


def _print_table(report: "TreeReport") -> None:
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text
    from uamp_eval.visible import visible

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("path", overflow="fold")
    table.add_column("problem", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for problem in report.problems:
        path = problem.path.relative_to(report.root) if problem.path.is_relative_to(report.root) else problem.path
        table.add_row(*(Text(visible(cell)) for cell in (str(path), problem.problem, problem.remedy)))
    console = out_console()
    if not console.is_terminal:  # whoever searches a file wants each problem on one line
        console.width = Measurement.get(console, console.options.update(max_width=100_000), table).maximum
    console.print(table, highlight=False)


def _print_summary(report: "TreeReport") -> None:
    from uamp_data.words import counted

    held = ", ".join((counted(report.videos, "video"), counted(report.frames, "frame"), counted(report.masks, "mask")))
    found = counted(len(report.problems), "problem") if report.problems else "no problems"
    text = f"{report.root} ({report.layout.value}): {held}, {found}."
    out_console().print(text, highlight=False, markup=False, soft_wrap=True)


def _save(path: Path, report: "TreeReport") -> None:
    from uamp_eval.results_files import write_json

    content = {
        "root": str(report.root),
        "layout": report.layout.value,
        "videos": report.videos,
        "frames": report.frames,
        "masks": report.masks,
        "problems": [
            {"path": str(problem.path), "problem": problem.problem, "what_to_do": problem.remedy}
            for problem in report.problems
        ],
    }
    write_json(path, content)
