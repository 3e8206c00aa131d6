"""`uamp bench tracker`: check what was asked for, measure, and say what came out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from uamp_data.words import counted
from uamp_model.catalog import check_image_size, find_model
from uamp_model.errors import InputError

from uamp_cli.model_options import Device, ImageSize, Model, Precision
from uamp_cli.outputs import check_ending, check_outputs
from uamp_cli.sizes import parse_size
from uamp_cli.terminal import err_console, out_console

if TYPE_CHECKING:
    from torch import Tensor
    from uamp_model import VideoTracker

    from uamp_cli.bench_tracker import MemoryCurve, SpeedMeasurement, TrackerBench

_WORK, _MODEL, _THEIRS, _RESULTS = "What is measured", "Model", "The sam2 package's predictor", "Results"
_WARM_UP = 8
"""Tracked frames before the clock runs: by then, memory has its full size but for a few pointers."""
_WARM_UP_ON_GPU = 20
"""Until pointers are complete too, frames differ in shape, and kernels may be prepared for each; then come graphs."""
_MOST_OBJECTS = 64


def tracker(
    model: Model = "nano",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            "--sam2-checkpoint",
            metavar="PT",
            help="Weights of the model; without it those that are at hand, else random ones.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    objects: Annotated[
        str, typer.Option(metavar="N,N...", help="Numbers of objects to compare.", rich_help_panel=_WORK)
    ] = "1,4,16",
    frames: Annotated[
        int, typer.Option(min=1, metavar="N", help="Frames to time for each number of objects.", rich_help_panel=_WORK)
    ] = 20,
    memory_frames: Annotated[
        str,
        typer.Option(
            metavar="N,N...",
            help="Lengths of videos whose memory is measured, each in a process of its own; 0 for none. "
            "The sam2 package's predictor holds all frames: 1600 at 1024×1024 take 20 GB.",
            rich_help_panel=_WORK,
        ),
    ] = "40,80",
    precision: Precision = "auto",
    device: Device = "auto",
    memory_budget: Annotated[
        float,
        typer.Option(
            min=0.2, max=1.0, metavar="SHARE", help="Share of the memory that ours reads.", rich_help_panel=_MODEL
        ),
    ] = 1.0,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile ours for this machine first.", rich_help_panel=_MODEL)
    ] = False,
    image_size: ImageSize = None,
    sam2_compiled: Annotated[
        bool,
        typer.Option(
            "--sam2-compiled/--no-sam2-compiled",
            help="On CUDA, measure the package's compiled predictor too, which takes minutes to compile.",
            rich_help_panel=_THEIRS,
        ),
    ] = True,
    sam2_compile_mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help="How that is compiled: max-autotune as the package asks for, reduce-overhead or default.",
            rich_help_panel=_THEIRS,
        ),
    ] = "max-autotune",
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="CPU threads; by default torch's.", rich_help_panel=_MODEL)
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            "--video",
            "--input",
            metavar="FILE|DIR",
            help="Frames to track; without it a clip is generated.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Size of the generated clip.", rich_help_panel=_WORK)
    ] = "854x480",
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the numbers here too.", rich_help_panel=_RESULTS)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw frames per second and memory here.", rich_help_panel=_RESULTS),
    ] = None,
) -> None:
    """Time the tracker beside the sam2 package's own video predictor, on the same weights, frames and prompts.

    Both track in turns, frame by frame, and their masks are compared. On CUDA the package's compiled predictor takes
    part too.
    """
    find_model(model)
    check_image_size(image_size)
    counts = parse_counts(objects, "--objects", least=1)
    lengths = tuple(n for n in parse_counts(memory_frames, "--memory-frames", least=0) if n > 0)
    if max(counts) > _MOST_OBJECTS:
        raise InputError(f"--objects {objects} is too many: {_MOST_OBJECTS} at most.")
    check_ending("--plot", plot, (".svg",))
    if video is not None and not video.exists():
        raise InputError(f"--video {video} does not exist: check the path.")
    from uamp_data.reader import local_files

    read = [] if video is None else local_files(str(video))
    check_outputs({"--json": json, "--plot": plot}, {"--checkpoint": checkpoint}, {"--video": read})
    shape = parse_size(size)
    import torch  # takes seconds: whatever is wrong with the options is found before
    from uamp_model import devices
    from uamp_model.forms import check_compiler
    from uamp_model.reference_predictor import CompileMode

    from uamp_cli.bench_tracker import TrackerBench

    in_what: devices.Precision = _one_of(get_args(devices.Precision), precision, "precision")
    mode: CompileMode = _one_of(get_args(CompileMode), sam2_compile_mode, "--sam2-compile-mode")
    place = devices.choose_device(device)
    if compiled:
        check_compiler(place)
    if threads is not None:
        torch.set_num_threads(threads)
    bench = TrackerBench(
        model=model,
        checkpoint=checkpoint,
        objects=counts,
        frames=frames,
        warm_up=_WARM_UP_ON_GPU if place.type == "cuda" else _WARM_UP,
        memory_frames=lengths,
        precision=in_what,
        device=device,
        memory_budget=memory_budget,
        compiled=compiled,
        image_size=image_size,
        sam2_compiled=mode if sam2_compiled and place.type == "cuda" else None,
        video=video,
        size=shape,
        threads=threads,
    )
    _measure_and_print(bench, json, plot)


def _one_of(choices: tuple[Any, ...], text: str, what: str) -> Any:
    """The choice of that name.

    Raises:
        InputError: if there is none.
    """
    if text not in choices:
        raise InputError(f"Unknown {what} {text!r}: choose {', '.join(choices)}.")
    return text


def _measure_and_print(bench: "TrackerBench", json: Path | None, plot: Path | None) -> None:
    from uamp_cli.bench_tracker import make_tracker, weights_of

    weights, source = weights_of(bench)
    tracker = make_tracker(bench, weights)
    measured: list[SpeedMeasurement] = []
    curves: list[MemoryCurve] = []
    try:
        _measure(bench, weights, measured, curves)
    finally:  # after Ctrl-C or an error, what was measured before is still reported
        if measured:
            _report(bench, json, plot, tracker, source, measured, curves)


def _measure(
    bench: "TrackerBench",
    weights: "dict[str, Tensor]",
    measured: "list[SpeedMeasurement]",
    curves: "list[MemoryCurve]",
) -> None:
    """Add to what was measured."""
    from uamp_model.devices import choose_device, enough_memory

    from uamp_cli.bench_tracker import OURS, THEIRS, measure_memory, measure_speed
    from uamp_cli.progress import frame_progress

    with frame_progress(err_console()) as progress, enough_memory(choose_device(bench.device)):
        for count in bench.objects:
            progress.begin(f"Tracking {counted(count, 'object')}", bench.steps)
            measured.append(measure_speed(bench, weights, count, progress.advance))
        if bench.memory_frames:
            progress.begin("Measuring memory", 2 * len(bench.memory_frames), "videos")
        for length in bench.memory_frames:
            for contender in (OURS, THEIRS):
                curves.append(measure_memory(bench, contender, length, min(bench.objects)))
                progress.advance()


def _report(
    bench: "TrackerBench",
    json: Path | None,
    plot: Path | None,
    tracker: "VideoTracker",
    source: str,
    measured: "list[SpeedMeasurement]",
    curves: "list[MemoryCurve]",
) -> None:
    """Save and print."""
    from uamp_eval.results_files import write_json

    from uamp_cli.bench_tracker_report import as_json, memory_table, save_plot, speed_table, stage_table

    setting = _setting(tracker.device.type, str(tracker.dtype).removeprefix("torch."))
    if json is not None:
        described = {"model": tracker.name, "weights": source, "image_size": tracker.image_size, **setting}
        write_json(json, as_json(bench, described, measured, curves))
    if plot is not None:
        save_plot(plot, measured, curves)
    out = out_console()
    out.print(speed_table(measured), highlight=False)
    out.print(stage_table(measured), highlight=False)
    if curves:
        out.print(memory_table(curves), highlight=False)
    frames = f"median of {counted(bench.frames, 'frame')} after {1 + bench.warm_up}"
    model = f"{tracker.name} ({source}) at {tracker.image_size} px"
    text = f"{model}, {', '.join(setting.values())}; {frames}, all contenders in turns frame by frame."
    out.print(text, highlight=False, markup=False, soft_wrap=True)
    if tracker.device.type != "cuda":
        sentence = "There is no CUDA device in use: the compiled predictor of the sam2 package is left out."
        out.print(sentence, highlight=False, soft_wrap=True)


def _setting(device: str, dtype: str) -> dict[str, str]:
    import torch

    threads = counted(torch.get_num_threads(), "thread")
    name = torch.cuda.get_device_name() if device == "cuda" else f"{device} with {threads}"
    return {"device": name, "precision": dtype, "torch": f"torch {torch.__version__}"}


def parse_counts(text: str, option: str, *, least: int) -> tuple[int, ...]:
    """Numbers of "1,4,16".

    Raises:
        InputError: if it is no such text, or a number is below `least`.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 9 and int(part) >= least for part in parts):
        raise InputError(f"{option} {text} must be numbers from {least} on, separated by commas, like 1,4,16.")
    return tuple(dict.fromkeys(int(part) for part in parts))
