"""`uamp data`: fetch, check and make data sets."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from uamp_data.words import counted
from uamp_model.errors import InputError

from uamp_cli.data_check import check
from uamp_cli.data_download import download
from uamp_cli.interrupts import kill_is_ctrl_c
from uamp_cli.sizes import parse_size
from uamp_cli.terminal import err_console, out_console

if TYPE_CHECKING:
    from uamp_data.synthetic import SyntheticClip

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Fetch, check and make data sets.")

_RESOLUTION = "480p"
"""DAVIS calls its folder of pictures so, and readers of the layout look there whatever the size is."""

_MOST_OBJECTS, _JPEG_QUALITY = 8, 95


@app.callback()
def _data() -> None:
    """Fetch, check and make data sets."""


app.command()(check)
app.command()(download)


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the tree is written; created if need be.")],
    clips: Annotated[int, typer.Option(min=1, metavar="N", help="How many clips.")] = 8,
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="Frames in each clip.")] = 24,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "768x432",
    family: Annotated[
        str,
        typer.Option(
            help="What the clips show: occlusion, lookalike, fast, reentry, scale, light, calm, or mixed: all of them."
        ),
    ] = "mixed",
    objects: Annotated[
        int | None, typer.Option(min=1, max=_MOST_OBJECTS, metavar="N", help="Objects in each clip; drawn if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first clip; the next ones count up.")] = 0,
) -> None:
    """Write generated clips with exact masks as a DAVIS-like tree.

    DIR holds JPEGImages/480p/NAME/00000.jpg, Annotations/480p/NAME/00000.png and ImageSets/2017/val.txt. The same
    options always give the same clips. All of them appear at the end; after Ctrl-C or `kill` there are none.
    """
    from uamp_cli.progress import frame_progress
    from uamp_cli.writers.files import AtomicFolder

    height, width = parse_size(size)
    _check_family(family)
    _check_empty(folder)
    from uamp_data.synthetic import generate_clip

    names = []
    with kill_is_ctrl_c(), AtomicFolder(folder) as tree, frame_progress(err_console()) as progress:
        progress.begin("Making", clips, "clips")
        for number in range(seed, seed + clips):
            clip = generate_clip(number, num_frames=frames, size=(height, width), family=family, num_objects=objects)
            tree.add(f"JPEGImages/{_RESOLUTION}/{clip.name}", partial(_write_frames, clip))
            tree.add(f"Annotations/{_RESOLUTION}/{clip.name}", partial(_write_masks, clip))
            names.append(clip.name)
            progress.advance()
        tree.add("ImageSets/2017/val.txt", partial(_write_list, names))
    text = f"{counted(clips, 'clip')} of {counted(frames, 'frame')}: {folder}"
    out_console().print(text, highlight=False, markup=False, soft_wrap=True)


def _check_family(family: str) -> None:
    from difflib import get_close_matches

    from uamp_data.synthetic import FAMILIES

    if family not in FAMILIES:
        near = get_close_matches(family, FAMILIES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(FAMILIES)}."
        raise InputError(f"There is no family {family!r}; {hint}")


def _check_empty(folder: Path) -> None:
    """Clips of another run in the same tree would be mixed up with these."""
    try:
        occupied = folder.exists() and any(folder.iterdir())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{folder} cannot be written to ({reason}): choose another folder.") from error
    if occupied:
        raise InputError(f"{folder} is not empty: choose a new folder for the clips.")


def _write_frames(clip: "SyntheticClip", folder: Path) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    for index, image in enumerate(clip.frames):
        Image.fromarray(image).save(folder / f"{index:05d}.jpg", quality=_JPEG_QUALITY)


def _write_masks(clip: "SyntheticClip", folder: Path) -> None:
    from uamp_data.masks import write_mask

    for index, ids in enumerate(clip.masks):
        write_mask(folder / f"{index:05d}.png", ids)


def _write_list(names: Sequence[str], path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
