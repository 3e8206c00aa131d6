"""What of the demo's options the page takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from uamp_model.catalog import check_image_size, find_model
from uamp_model.errors import InputError
from uamp_model.presets import memory_settings

from uamp_cli.demo_settings import DemoSettings
from uamp_cli.sources import default_output
from uamp_cli.terminal import STDOUT


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What `uamp demo --ui` was asked for.

    Attributes:
        input: a video to open in every new tab, or None.
        model: name of the model to start with.
        memory: name of the memory setting to start with.
        device: where to compute.
        checkpoints: by model name, weights to use instead of the bundled or downloaded ones.
        layers: by model name, fine-tuned UAMP layers.
        memory_budget: share of the memory that is read.
        image_size: side of the square that frames are resized to; None is the model's own.
        compiled: whether the network is compiled.
        port: where to listen; None takes the usual one, or a free one if that is taken.
        opens_browser: whether to open the page in the browser.
    """

    input: str | None = None
    model: str = "nano"
    memory: str = "uamp"
    device: str = "auto"
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    layers: Mapping[str, Path] = field(default_factory=dict)
    memory_budget: float = 1.0
    image_size: int | None = None
    compiled: bool = False
    port: int | None = None
    opens_browser: bool = True


def page_settings(demo: DemoSettings, *, port: int | None, opens_browser: bool) -> PageSettings:
    """The page's settings; objects and files are chosen there, so options about them are refused.

    Raises:
        InputError: if an option has no meaning for the page, or a name is unknown.
    """
    elsewhere = {
        "--box": demo.boxes,
        "--point": demo.points,
        "--mask": demo.mask,
        "--prompts": demo.prompts,
        "--prompt-frame": demo.prompt_frame,
        "--object": demo.objects,
        "--select": demo.select,
        "--show-uncertainty": demo.show_uncertainty,
        **demo.outputs,
        **dict.fromkeys(demo.printed, STDOUT),
        "--output": demo.output if demo.output != default_output(demo.input) else None,
    }
    for option, value in elsewhere.items():
        if value:
            raise InputError(f"{option} cannot be combined with --ui: that is chosen on the page.")
    for option, value in {"--max-frames": demo.max_frames, "--rehearse": demo.rehearse}.items():
        if value:
            raise InputError(f"The page has no {option}: leave out one of {option} and --ui.")
    spec = find_model(demo.model)
    memory_settings(demo.memory)
    check_image_size(demo.image_size)
    return PageSettings(
        demo.input,
        spec.name,
        demo.memory,
        demo.device,
        {} if demo.checkpoint is None else {spec.name: demo.checkpoint},
        {} if demo.uamp_checkpoint is None else {spec.name: demo.uamp_checkpoint},
        demo.memory_budget,
        demo.image_size,
        demo.compiled,
        port,
        opens_browser,
    )


def open_page(demo: DemoSettings, *, port: int | None, opens_browser: bool) -> None:
    """Show the page until Ctrl-C.

    Raises:
        InputError: if an option has no meaning for the page, Gradio is not installed, or the input cannot be read.
    """
    from uamp_cli.page.server import serve

    serve(page_settings(demo, port=port, opens_browser=opens_browser))
