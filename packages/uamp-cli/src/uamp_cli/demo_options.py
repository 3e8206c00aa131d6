"""The options of `uamp demo`, in the groups that its help shows."""

from pathlib import Path
from typing import Annotated

import typer

from uamp_cli.model_options import Checkpoint as Checkpoint
from uamp_cli.model_options import Compile as Compile
from uamp_cli.model_options import Device as Device
from uamp_cli.model_options import ImageSize as ImageSize
from uamp_cli.model_options import MemoryBudget as MemoryBudget
from uamp_cli.model_options import Model as Model
from uamp_cli.model_options import Rehearse as Rehearse
from uamp_cli.model_options import UampCheckpoint as UampCheckpoint

_INPUT, _PROMPTS, _MODEL, _OUTPUT, _REPORT, _PAGE = "Input", "Objects", "Model", "Pictures", "Numbers", "Page"


def _complete_memory(incomplete: str) -> list[str]:
    return [name for name in ("uamp", "samurai", "sam2") if name.startswith(incomplete)]


Input = Annotated[
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
]
MaxFrames = Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after N frames.", rich_help_panel=_INPUT)]
Memory = Annotated[
    str,
    typer.Option(
        metavar="sam2|samurai|uamp",
        help="How the tracker remembers: as SAM 2, by motion as SAMURAI, or as SAM 2 with UAMP's own parts.",
        rich_help_panel=_MODEL,
        autocompletion=_complete_memory,
    ),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="x0,y0,x1,y1",
        help="Box around an object, in pixels; give it again for another object.",
        rich_help_panel=_PROMPTS,
    ),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        metavar="x,y[,0|1]",
        help="Point on the object (1, the default) or beside it (0). All points describe one object together: "
        "the one in the box if there is a --box.",
        rich_help_panel=_PROMPTS,
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        metavar="PNG",
        help="Mask of the video's size: one object per palette index or grey value, 0 is background.",
        rich_help_panel=_PROMPTS,
    ),
]
Prompts = Annotated[
    Path | None,
    typer.Option(
        metavar="JSON",
        help="Prompts for several objects on several frames; docs/prompts.md describes the file.",
        rich_help_panel=_PROMPTS,
    ),
]
Objects = Annotated[
    list[int] | None,
    typer.Option(
        "--object",
        min=1,
        metavar="N",
        help="Follow proposed object N instead of the first; give it again for another. Without any prompt, objects "
        "are proposed, and a picture of them with their numbers is saved beside the output.",
        rich_help_panel=_PROMPTS,
    ),
]
Select = Annotated[
    bool,
    typer.Option("--select", help="Click on objects or drag boxes around them in a window.", rich_help_panel=_PROMPTS),
]
PromptFrame = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="K",
        help="The frame that the prompts are about, from 0. Earlier frames are tracked backwards; they are kept in "
        "a temporary folder meanwhile.",
        rich_help_panel=_PROMPTS,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "--output-video",
        "-o",
        metavar="FILE.mp4",
        help="The video to write, with the input's sound; by default named after the input, in the current folder.",
        rich_help_panel=_OUTPUT,
    ),
]
ShowUncertainty = Annotated[
    bool,
    typer.Option(
        "--show-uncertainty",
        help="Show beside or below each frame, as heat, where the tracker is in doubt.",
        rich_help_panel=_OUTPUT,
    ),
]
SaveMasks = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write each frame's masks as a palette PNG: 00000.png …", rich_help_panel=_OUTPUT),
]
SaveCutout = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Write the objects of each frame alone, on transparency, as a PNG: 00000.png …",
        rich_help_panel=_OUTPUT,
    ),
]
CutoutVideo = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.mov|.webm",
        help="Write the objects alone, on transparency: ProRes 4444 for editors or VP9 for web pages.",
        rich_help_panel=_OUTPUT,
    ),
]
GreenScreen = Annotated[
    Path | None,
    typer.Option(metavar="FILE.mp4", help="Write the objects before a green screen.", rich_help_panel=_OUTPUT),
]
Summary = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="Write one picture that sums the run up: frames with the objects, scores and uncertainty over time.",
        rich_help_panel=_OUTPUT,
    ),
]
Json = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write boxes, areas, scores and uncertainty of every frame; - is standard output.",
        rich_help_panel=_REPORT,
    ),
]
Coco = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.json",
        help="Write the masks as a COCO data set with run-length encoding.",
        rich_help_panel=_REPORT,
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(metavar="FILE.csv", help="Write a table with a row per frame and object.", rich_help_panel=_REPORT),
]
Ui = Annotated[
    bool,
    typer.Option(
        "--ui",
        help="Open a page in the browser to click on objects, track, correct and download. Only this machine can "
        r"reach it. Needs uamp-cli\[ui].",
        rich_help_panel=_PAGE,
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=1, max=65535, help="Where the page listens; by default 7860 or a free one.", rich_help_panel=_PAGE
    ),
]
NoBrowser = Annotated[
    bool, typer.Option("--no-browser", help="Print the page's address without opening it.", rich_help_panel=_PAGE)
]
