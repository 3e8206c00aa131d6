"""What `uamp demo` was asked for, and what can be found wrong with it before any model is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uamp_model.catalog import check_image_size, find_model
from uamp_model.download import find_checkpoint
from uamp_model.errors import InputError
from uamp_model.presets import memory_settings

from uamp_cli.model_options import check_layers, check_rehearsal
from uamp_cli.outputs import check_ending, check_outputs
from uamp_cli.prompts import Plan, read_plan
from uamp_cli.terminal import STDOUT

_PRINTABLE = ("--json", "--coco", "--csv")
_CUTOUT_ENDINGS = (".mov", ".webm")


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Everything the command was asked for; see `uamp demo --help`."""

    input: str | None
    output: Path
    model: str
    memory: str
    device: str
    checkpoint: Path | None
    uamp_checkpoint: Path | None
    boxes: tuple[str, ...]
    points: tuple[str, ...]
    mask: Path | None
    prompts: Path | None
    prompt_frame: int
    objects: tuple[int, ...]
    select: bool
    save_masks: Path | None
    save_cutout: Path | None
    cutout_video: Path | None
    green_screen: Path | None
    summary: Path | None
    show_uncertainty: bool
    json: Path | None
    coco: Path | None
    csv: Path | None
    max_frames: int | None
    rehearse: int = 0
    memory_budget: float = 1.0
    image_size: int | None = None
    compiled: bool = False

    @property
    def printed(self) -> list[str]:
        """Options whose result goes to stdout, so that nothing else may go there."""
        asked = zip(_PRINTABLE, (self.json, self.coco, self.csv), strict=True)
        return [option for option, path in asked if path == STDOUT]

    @property
    def proposals(self) -> Path:
        """Where the picture of proposed objects goes."""
        return self.output.with_name(f"{self.output.stem}_objects.png")

    @property
    def outputs(self) -> Mapping[str, Path | None]:
        """Files and folders to write, by option."""
        files: dict[str, Path | None] = {
            "--output": self.output,
            "--save-masks": self.save_masks,
            "--save-cutout": self.save_cutout,
            "--cutout-video": self.cutout_video,
            "--green-screen": self.green_screen,
            "--summary": self.summary,
            "--json": self.json,
            "--coco": self.coco,
            "--csv": self.csv,
        }
        return files | dict.fromkeys(self.printed)

    @property
    def proposes(self) -> bool:
        """Whether objects are proposed, and a picture of them is written."""
        asked = (self.boxes, self.points, self.mask, self.prompts, self.select)
        return self.input is not None and not any(asked)


def read_settings(settings: DemoSettings) -> Plan:
    """Check options and paths against each other, without torch, and read the prompts.

    Raises:
        InputError: if something cannot be done as it was asked for.
    """
    _check_prompts(settings)
    _check_endings(settings)
    _check_model(settings)
    plan = read_plan(settings.boxes, settings.points, settings.mask, settings.prompts, settings.prompt_frame)
    _check_files(settings, plan)
    if settings.select:
        from uamp_cli.selection import check_window

        check_window()
    return plan


def _check_files(settings: DemoSettings, plan: Plan) -> None:
    from uamp_data.reader import local_files

    if len(settings.printed) > 1:
        first, second = settings.printed[:2]
        raise InputError(f"{first} and {second} cannot both go to standard output: name a file for one of them.")
    check_outputs(
        {**settings.outputs, "the picture of proposed objects": settings.proposals if settings.proposes else None},
        {
            "--input": None if settings.input is None else Path(settings.input),
            "--mask": settings.mask,
            "--prompts": settings.prompts,
            "--checkpoint": settings.checkpoint,
            "--uamp-checkpoint": settings.uamp_checkpoint,
        },
        {
            "--input": [] if settings.input is None else local_files(settings.input),
            "the mask": [prompt.file for prompt in plan.prompts if prompt.file is not None],
        },
    )


def _check_prompts(settings: DemoSettings) -> None:
    given = {
        "--box": settings.boxes,
        "--point": settings.points,
        "--mask": settings.mask,
        "--prompts": settings.prompts,
        "--select": settings.select,
        "--object": settings.objects,
    }
    used = [option for option, value in given.items() if value]
    if settings.input is None and (used or settings.prompt_frame):
        option = used[0] if used else "--prompt-frame"
        raise InputError(f"{option} is about a video of yours: name it with --input.")
    if len(used) > 1 and used[-1] == "--object":
        raise InputError(f"--object picks one of the proposed objects, and {used[0]} is given: leave out one of them.")
    if len(used) > 1 and used[-1] == "--select":
        raise InputError(f"--select cannot be combined with {used[0]}: give one of them.")
    if settings.max_frames is not None and settings.prompt_frame >= settings.max_frames:
        raise InputError(f"--prompt-frame {settings.prompt_frame} lies beyond --max-frames {settings.max_frames}.")


def _check_endings(settings: DemoSettings) -> None:
    check_ending("--output", settings.output, (".mp4",))
    wanted = {
        "--cutout-video": _CUTOUT_ENDINGS,
        "--green-screen": (".mp4",),
        "--summary": (".png",),
        "--coco": (".json",),
        "--csv": (".csv",),
    }
    for option, endings in wanted.items():
        check_ending(option, settings.outputs[option], endings)


def _check_model(settings: DemoSettings) -> None:
    check_rehearsal(settings.rehearse, (settings.memory,))
    check_layers(settings.uamp_checkpoint, (settings.memory,))
    spec = find_model(settings.model)
    memory_settings(settings.memory, spec.name)
    check_image_size(settings.image_size)
    if settings.checkpoint is not None:
        find_checkpoint(spec, settings.checkpoint)
