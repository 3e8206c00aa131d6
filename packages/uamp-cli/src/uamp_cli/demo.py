"""`uamp demo`: follow objects through a video and write it with the objects marked. Its work is in `demo_run`."""

from pathlib import Path
from typing import Annotated

import typer

from uamp_cli.terminal import EXIT_INTERRUPTED

_INPUT, _PROMPTS, _MODEL, _OUTPUT = "Input", "Objects", "Model", "Output"


def demo(
    input: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            "--input",
            "--input-video",
            "-i",
            metavar="FILE|DIR|CAM|URL",
            help="Video file, folder of frames, camera number or stream address. "
            "Without it, a clip is generated and the score against its known truth is printed.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "--output-video",
            "-o",
            metavar="FILE.mp4",
            help="The video to write; by default named after the input, in the current folder.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "--sam2-model-type", help="A model of `uamp models list`.", rich_help_panel=_MODEL),
    ] = "nano",
    memory: Annotated[
        str,
        typer.Option(
            metavar="sam2|samurai|uamp",
            help="How the tracker remembers: as SAM 2, by motion as SAMURAI, or by motion and uncertainty.",
            rich_help_panel=_MODEL,
        ),
    ] = "uamp",
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.", rich_help_panel=_MODEL)
    ] = "auto",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "--sam2-checkpoint",
            metavar="PT",
            help="Weights of the model, instead of the bundled or downloaded ones.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    uamp_checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Fine-tuned UAMP layers.", rich_help_panel=_MODEL)
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="x0,y0,x1,y1",
            help="Box around an object, in pixels; give it again for another object.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="x,y[,0|1]",
            help="Point on the object (1, the default) or beside it (0). All points describe one object together: "
            "the one in the box if there is a --box.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG",
            help="Mask of the video's size: one object per palette index or grey value, 0 is background.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            help="Prompts for several objects on several frames; the package's README shows the format.",
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    prompt_frame: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="K",
            help="The frame that the prompts are about, from 0. Earlier frames are tracked backwards; they are kept in "
            "a temporary folder meanwhile.",
            rich_help_panel=_PROMPTS,
        ),
    ] = 0,
    save_masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write each frame's masks as a palette PNG: 00000.png …", rich_help_panel=_OUTPUT
        ),
    ] = None,
    show_uncertainty: Annotated[
        bool,
        typer.Option(
            "--show-uncertainty",
            help="Show beside or below each frame, as heat, where the tracker is in doubt.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write boxes, areas, scores and uncertainty of every frame.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N frames.", rich_help_panel=_INPUT)
    ] = None,
) -> None:
    """Follow objects through a video and write it with the objects marked.

    Point at objects with --box, --point, --mask or --prompts. Without any, the most prominent object is proposed and
    named. Without --input, a generated clip is tracked from its true first mask and scored.
    """
    from uamp_cli.demo_settings import DemoSettings, read_settings
    from uamp_cli.sources import default_output

    settings = DemoSettings(
        input=input,
        output=output if output is not None else default_output(input),
        model=model,
        memory=memory,
        device=device,
        checkpoint=checkpoint,
        uamp_checkpoint=uamp_checkpoint,
        boxes=tuple(box or ()),
        points=tuple(point or ()),
        mask=mask,
        prompts=prompts,
        prompt_frame=prompt_frame,
        save_masks=save_masks,
        show_uncertainty=show_uncertainty,
        json=json,
        max_frames=max_frames,
    )
    plan = read_settings(settings)
    from uamp_cli.demo_run import run_demo  # imports av, which wrong options need not wait for

    tally = run_demo(settings, plan)
    if tally.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
