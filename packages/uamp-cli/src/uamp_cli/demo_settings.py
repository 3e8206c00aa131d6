"""What `uamp demo` was asked for, and what can be found wrong with it before any model is loaded."""

from dataclasses import dataclass
from pathlib import Path

from uamp_model.catalog import find_model
from uamp_model.download import find_checkpoint
from uamp_model.errors import InputError

from uamp_cli.outputs import check_outputs
from uamp_cli.prompts import Plan, read_plan


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
    save_masks: Path | None
    show_uncertainty: bool
    json: Path | None
    max_frames: int | None


def read_settings(settings: DemoSettings) -> Plan:
    """Check options and paths against each other, without torch, and read the prompts.

    Raises:
        InputError: if something cannot be done as it was asked for.
    """
    given = {
        "--box": settings.boxes,
        "--point": settings.points,
        "--mask": settings.mask,
        "--prompts": settings.prompts,
        "--prompt-frame": settings.prompt_frame,
    }
    if settings.input is None:
        for option, value in given.items():
            if value:
                raise InputError(f"{option} is about a video of yours: name it with --input.")
    if settings.output.suffix.lower() != ".mp4":
        raise InputError(f"--output {settings.output} must end in .mp4: that is how it is written.")
    if settings.max_frames is not None and settings.prompt_frame >= settings.max_frames:
        raise InputError(f"--prompt-frame {settings.prompt_frame} lies beyond --max-frames {settings.max_frames}.")
    _check_model(settings)
    check_outputs(
        {"--output": settings.output, "--save-masks": settings.save_masks, "--json": settings.json},
        {
            "--input": Path(settings.input) if settings.input is not None else None,
            "--mask": settings.mask,
            "--prompts": settings.prompts,
            "--checkpoint": settings.checkpoint,
        },
    )
    return read_plan(settings.boxes, settings.points, settings.mask, settings.prompts, settings.prompt_frame)


def _check_model(settings: DemoSettings) -> None:
    spec = find_model(settings.model)
    if settings.checkpoint is not None:
        find_checkpoint(spec, settings.checkpoint)
    if settings.uamp_checkpoint is not None and not settings.uamp_checkpoint.exists():
        raise InputError(f"There is no file {settings.uamp_checkpoint} for --uamp-checkpoint.")
