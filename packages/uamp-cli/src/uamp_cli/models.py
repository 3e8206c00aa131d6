"""`uamp models`: what can be tracked with, and fetching it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uamp_cli.terminal import err_console, out_console

if TYPE_CHECKING:
    from uamp_model.catalog import ModelSpec

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, describe and download models.")

_NAME = typer.Argument(metavar="NAME", help="A model, in any of its spellings: sam2.1-hiera-large, sam2.1_hiera_l …")


@app.command("list")
def list_models() -> None:
    """List every model and whether its weights are here."""
    from rich.table import Table
    from uamp_model.catalog import MODELS

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("weights", no_wrap=True)
    table.add_column("what it is")
    for spec in MODELS.values():
        table.add_row(spec.name, f"{spec.parameters / 1e6:.1f} M", _state(spec), spec.note)
    out_console().print(table, highlight=False)


@app.command()
def info(name: Annotated[str, _NAME]) -> None:
    """Describe one model: size, input, licence and where its weights are."""
    from uamp_model.catalog import find_model

    spec = find_model(name)
    where = weights_path(spec)
    rows = {
        "model": spec.name,
        "note": spec.note,
        "parameters": f"{spec.parameters:,}",
        "input": f"{spec.image_size}×{spec.image_size} pixels",
        "licence": spec.licence,
        "address": spec.url or "comes with uamp-model",
        "size": "unknown" if spec.size_bytes is None else f"{spec.size_bytes / 1e6:.0f} MB",
        "sha256": spec.sha256 or "unknown",
        "weights": str(where) if where.is_file() else f"not here yet: {_missing(spec)}",
    }
    for key, value in rows.items():
        out_console().print(f"{key:<11} {value}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def download(
    name: Annotated[str, _NAME],
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to put the file in, instead of UAMP's own.")
    ] = None,
) -> None:
    """Fetch a model's weights; an interrupted download goes on where it stopped."""
    out_console().print(str(fetch_weights(name, output)), highlight=False, markup=False, soft_wrap=True)


def fetch_weights(name: str, folder: Path | None = None) -> Path:
    """The file with a model's weights, downloaded with a progress bar if it is neither bundled nor here yet.

    Raises:
        UampError: if there is no such model or its weights cannot be had.
    """
    from uamp_model.catalog import find_model
    from uamp_model.download import download_checkpoint

    spec = find_model(name)
    path = weights_path(spec)
    if path.is_file() and (spec.bundled or folder is None):
        return path
    with _download_bar(spec) as progress:
        return download_checkpoint(spec, folder, progress=progress)


def weights_path(spec: "ModelSpec") -> Path:
    """Where a model's weights are, or will be once downloaded."""
    from importlib.resources import files

    from uamp_model.download import checkpoint_folder

    if spec.bundled:
        return Path(str(files("uamp_model").joinpath(spec.checkpoint)))
    return checkpoint_folder() / spec.checkpoint


def _state(spec: "ModelSpec") -> str:
    if weights_path(spec).is_file():
        return "bundled" if spec.bundled else "downloaded"
    return "missing" if spec.bundled or spec.size_bytes is None else f"{spec.size_bytes / 1e6:.0f} MB"


def _missing(spec: "ModelSpec") -> str:
    return "install uamp-model again" if spec.bundled else f"run uamp models download {spec.name}"


@contextmanager
def _download_bar(spec: "ModelSpec") -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr that is moved by calling what it yields with bytes done and bytes in all."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err_console(), transient=True) as bar:
        task = bar.add_task(spec.name, total=spec.size_bytes)
        yield lambda done, total: bar.update(task, completed=done, total=total)
