"""`uamp models`: what can be tracked with, and fetching it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from uamp_data.words import counted

from uamp_cli.terminal import err_console, out_console

if TYPE_CHECKING:
    from rich.console import Console
    from uamp_model.catalog import ModelSpec

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, describe and download models.")


def complete_model(incomplete: str) -> list[tuple[str, str]]:
    """Names that a shell offers, with what they are."""
    from uamp_model.catalog import MODELS

    return [(spec.name, spec.note) for spec in MODELS.values() if spec.name.startswith(incomplete.lower())]


_NAME = typer.Argument(
    metavar="NAME",
    help="A model, in any of its spellings: sam2.1-hiera-large, sam2.1_hiera_l …",
    autocompletion=complete_model,
)
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("list")
def list_models(as_json: _AsJson = False) -> None:
    """List every model: its size, its licence and whether its weights are here."""
    from rich.table import Table
    from uamp_model.catalog import MODELS

    if as_json:
        _print_json([_facts(spec) for spec in MODELS.values()])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("model", "left"), ("parameters", "right"), ("file", "right"), ("licence", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # the two are literals
    table.add_column("weights", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for spec in MODELS.values():
        parameters = f"{spec.parameters / 1e6:.1f} M"
        table.add_row(spec.name, parameters, _megabytes(spec), spec.licence, _state(spec), spec.note)
    out_console().print(table, highlight=False)


@app.command()
def info(
    name: Annotated[str, _NAME],
    speed: Annotated[
        bool, typer.Option("--speed/--no-speed", help="Measure how fast it is on this machine, in some seconds.")
    ] = True,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to measure.")] = "auto",
    as_json: _AsJson = False,
) -> None:
    """Describe one model: size, input, licence, where its weights are, and its speed on this machine."""
    from uamp_model.catalog import find_model
    from uamp_model.download import checkpoint_path

    spec = find_model(name)
    if as_json:
        facts = _facts(spec)
        _print_json(facts | {"speed": asdict(_measure(spec, device))} if speed else facts)
        return
    where = checkpoint_path(spec)
    rows = {
        "model": spec.name,
        "note": spec.note,
        "parameters": f"{spec.parameters:,}",
        "input": f"{spec.image_size}×{spec.image_size} pixels",
        "licence": spec.licence,
        "address": spec.url or "comes with uamp-model",
        "size": _megabytes(spec),
        "sha256": spec.sha256 or "none: it comes with the package",
        "weights": str(where) if where.is_file() else f"not here yet: {_missing(spec)}",
    }
    for key, value in rows.items():
        _print_row(key, value)
    if speed:
        found = _measure(spec, device)
        rate, took = found.frames_per_second, 1 / found.frames_per_second
        each = f"{rate:.1f} frames/s" if rate >= 1 else f"{took:.1f} s a frame"
        over = counted(found.frames, "frame")
        _print_row("speed", f"about {each} for one object on {found.device} in {found.dtype}, over {over}")


@app.command()
def download(
    name: Annotated[str, _NAME],
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to put the file in, instead of UAMP's own.")
    ] = None,
) -> None:
    """Fetch a model's weights and print where they are; an interrupted download goes on where it stopped."""
    from uamp_model.catalog import find_model
    from uamp_model.download import checkpoint_path
    from uamp_model.errors import InputError

    spec = find_model(name)
    if spec.bundled and output is not None:
        where = checkpoint_path(spec)
        raise InputError(f"{spec.name} comes with UAMP and is not downloaded: leave out --output, or copy {where}.")
    out_console().print(str(fetch_weights(name, output)), highlight=False, markup=False, soft_wrap=True)


def tell_of_compiling(console: "Console") -> None:
    """Say why nothing seems to happen at first."""
    text = "The network is compiled for this machine at the first frames: that takes a minute or more, longer on a CPU."
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def fetch_weights(name: str, folder: Path | None = None, *, silently: bool = False) -> Path:
    """The file with a model's weights, downloaded with a progress bar if it is neither bundled nor here yet.

    Raises:
        UampError: if there is no such model or its weights cannot be had.
    """
    from uamp_model.catalog import find_model
    from uamp_model.download import checkpoint_folder, checkpoint_path, download_checkpoint

    from uamp_cli.byte_progress import ByteProgress
    from uamp_cli.outputs import no_empty_folders

    spec = find_model(name)
    path = checkpoint_path(spec)
    if path.is_file() and (spec.bundled or folder is None):
        return path
    with no_empty_folders(checkpoint_folder() if folder is None else folder):
        if silently:
            return download_checkpoint(spec, folder)
        with ByteProgress(err_console()) as progress:
            progress.begin(spec.name)
            return download_checkpoint(spec, folder, progress=progress.update)


def fetch_weights_together(name: str) -> None:
    """`fetch_weights` in each of several processes: one of them downloads, the first shows how far it is."""
    from uamp_eval.distributed import launched

    fetch_weights(name, silently=launched()[0] > 0)


def _facts(spec: "ModelSpec") -> dict[str, Any]:
    from uamp_model.download import checkpoint_path

    where = checkpoint_path(spec)
    return {
        "name": spec.name,
        "note": spec.note,
        "parameters": spec.parameters,
        "image_size": spec.image_size,
        "licence": spec.licence,
        "url": spec.url,
        "size_bytes": _size(spec),
        "sha256": spec.sha256,
        "weights": str(where) if where.is_file() else None,
    }


def _measure(spec: "ModelSpec", device: str) -> Any:
    with err_console().status(f"Measuring the speed of {spec.name} on this machine"):
        from uamp_cli.model_speed import measure_speed

        return measure_speed(spec.name, device)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=1))


def _print_row(key: str, value: str) -> None:
    out_console().print(f"{key:<11} {value}", highlight=False, markup=False, soft_wrap=True)


def _size(spec: "ModelSpec") -> int | None:
    """Bytes of the weights' file; that of a bundled model is looked at."""
    from uamp_model.download import checkpoint_path

    where = checkpoint_path(spec)
    return spec.size_bytes or (where.stat().st_size if where.is_file() else None)


def _megabytes(spec: "ModelSpec") -> str:
    size = _size(spec)
    return "unknown" if size is None else f"{size / 1e6:.0f} MB"


def _state(spec: "ModelSpec") -> str:
    from uamp_model.download import checkpoint_path

    if checkpoint_path(spec).is_file():
        return "bundled" if spec.bundled else "downloaded"
    return "missing" if spec.bundled else "not here"


def _missing(spec: "ModelSpec") -> str:
    return "install uamp-model again" if spec.bundled else f"run uamp models download {spec.name}"
