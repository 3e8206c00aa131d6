"""The options about the network that `uamp demo`, `uamp eval` and `uamp bench` share."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer
from uamp_model.errors import InputError

from uamp_cli.models import complete_model

_MODEL = "Model"


def _complete_device(incomplete: str) -> list[str]:
    return [name for name in ("auto", "cpu", "cuda", "mps") if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "--sam2-model-type",
        metavar="NAME",
        help="A model of `uamp models list`.",
        rich_help_panel=_MODEL,
        autocompletion=complete_model,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|mps",
        help="Where to compute.",
        rich_help_panel=_MODEL,
        autocompletion=_complete_device,
    ),
]
Precision = Annotated[str, typer.Option(metavar="auto|fp32|bf16", help="What to compute in.", rich_help_panel=_MODEL)]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network for this machine first, which takes minutes: meant for long videos on a GPU.",
        rich_help_panel=_MODEL,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        "--sam2-checkpoint",
        metavar="PT",
        help="Weights of the model, instead of the bundled or downloaded ones.",
        rich_help_panel=_MODEL,
    ),
]
MemoryBudget = Annotated[
    float,
    typer.Option(
        min=0.2,
        max=1.0,
        metavar="SHARE",
        help="Share of the memory that is read: 0.5 or 0.25 are faster where objects are many or the model is large.",
        rich_help_panel=_MODEL,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Side of the square that frames are resized to, a multiple of 32: larger is finer and slower.",
        show_default="the model's own",
        rich_help_panel=_MODEL,
    ),
]
Rehearse = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="STEPS",
        help="Learn these very objects from the video first, in so many steps of about three seconds of a core; 40 is "
        "a good number. Needs a mask to learn from and a video to look ahead in.",
        rich_help_panel=_MODEL,
    ),
]
UampCheckpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Trained UAMP layers for memory uamp, as `uamp train` writes them.", rich_help_panel=_MODEL
    ),
]


def check_layers(layers: Path | None, memories: Collection[str]) -> None:
    """Raise InputError if there are no such layers, or none of the memory settings uses any."""
    if layers is None:
        return
    if not layers.exists():
        raise InputError(f"There is no file {layers} for --uamp-checkpoint: check the path.")
    if memories and set(memories) <= {"sam2", "samurai"}:
        raise InputError("--uamp-checkpoint is a part of memory uamp: leave it out with other memories.")


def check_rehearsal(steps: int, memories: Collection[str]) -> None:
    """Raise InputError if none of the memory settings has anything to rehearse with."""
    if steps and set(memories) <= {"sam2", "samurai"}:
        raise InputError("--rehearse is a part of memory uamp: leave it out with other memories and --ablate.")
