"""The options that the benchmarks of `uamp eval` share: which tracker, and what becomes of its results."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from uamp_cli.model_options import (
    Checkpoint,
    Compile,
    Device,
    ImageSize,
    MemoryBudget,
    Model,
    Precision,
    Rehearse,
    UampCheckpoint,
)

_MODEL, RESULTS = "Model", "Results"

Memory = Annotated[
    list[str] | None,
    typer.Option(
        metavar="uamp|samurai|sam2",
        help="How the tracker remembers. Give it again to compare settings side by side.",
        rich_help_panel=_MODEL,
        show_default="uamp",
    ),
]
Ablate = Annotated[
    bool,
    typer.Option(
        "--ablate", help="Compare SAM 2's memory with each part of UAMP alone and all of them.", rich_help_panel=_MODEL
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the results; by default one in runs/eval, named after data and model. "
        "A run that was stopped goes on there.",
        rich_help_panel=RESULTS,
    ),
]
SaveResults = Annotated[
    bool,
    typer.Option(
        "--save-results/--no-save-results",
        help="Keep the masks once they are scored, as DIR/<memory>/<sequence>/<frame>.png, and what goes on from them.",
        rich_help_panel=RESULTS,
    ),
]
Overwrite = Annotated[
    bool, typer.Option(help="Replace the results that the folder holds already.", rich_help_panel=RESULTS)
]
Submission = Annotated[
    Path | None,
    typer.Option(metavar="FILE.zip", help="Write what the benchmark's server takes.", rich_help_panel=RESULTS),
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the scores here too.", rich_help_panel=RESULTS)
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Processes that score; by default one for each processor.", rich_help_panel=RESULTS
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """Which tracker, see `uamp eval davis --help`."""

    model: Model = "nano"
    memory: Memory = None
    rehearse: Rehearse = 0
    memory_budget: MemoryBudget = 1.0
    image_size: ImageSize = None
    compiled: Compile = False
    ablate: Ablate = False
    checkpoint: Checkpoint = None
    uamp_checkpoint: UampCheckpoint = None
    device: Device = "auto"
    precision: Precision = "auto"

    @property
    def memories(self) -> tuple[str, ...]:
        """The settings of `--memory`."""
        return tuple(self.memory or ("uamp",))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultOptions:
    """What becomes of the results, see `uamp eval davis --help`."""

    output: Output = None
    save_results: SaveResults = True
    overwrite: Overwrite = False
    submission: Submission = None
    json: Json = None
    workers: Workers = None


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of every parameter that is a dataclass, as Typer wants them."""
    parameters = inspect.signature(command).parameters.values()
    groups: dict[str, Any] = {p.name: p.annotation for p in parameters if is_dataclass(p.annotation)}

    def run(**given: Any) -> None:
        made = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        command(**given, **made)

    own = [parameter for parameter in parameters if parameter.name not in groups]
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for group in groups.values()
        for f in fields(group)
    ]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # what Typer looks at
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    return run
