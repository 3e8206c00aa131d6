"""The work of `uamp bench tracker`: check what was asked for, measure, and say what came out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from uamp_model.catalog import find_model
from uamp_model.errors import InputError

from uamp_cli.outputs import check_ending, check_outputs
from uamp_cli.progress import frame_progress
from uamp_cli.sizes import parse_size
from uamp_cli.terminal import err_console, out_console

if TYPE_CHECKING:
    from torch import Tensor
    from uamp_model import VideoTracker

    from uamp_cli.bench_tracker import MemoryCurve, SpeedMeasurement, TrackerBench

_WARM_UP = 8
"""Tracked frames before the clock runs: by then, memory has its full size but for a few pointers."""
_WARM_UP_ON_GPU = 20
"""Until pointers are complete too, frames differ in shape, and kernels may be prepared for each; then come graphs."""
_MOST_OBJECTS = 64


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Everything the command was asked for; see `uamp bench tracker --help`."""

    model: str
    checkpoint: Path | None
    objects: str
    frames: int
    memory_frames: str
    precision: str
    device: str
    memory_budget: float
    compiled: bool
    sam2_compiled: bool
    sam2_compile_mode: str
    threads: int | None
    video: Path | None
    size: str
    json: Path | None
    plot: Path | None


def run_tracker_bench(options: TrackerOptions) -> None:
    """Measure and print.

    Raises:
        InputError: if something cannot be done as it was asked for.
    """
    find_model(options.model)
    objects = parse_counts(options.objects, "--objects", least=1)
    lengths = tuple(n for n in parse_counts(options.memory_frames, "--memory-frames", least=0) if n > 0)
    if max(objects) > _MOST_OBJECTS:
        raise InputError(f"--objects {options.objects} is too many: {_MOST_OBJECTS} at most.")
    check_ending("--plot", options.plot, (".svg",))
    if options.video is not None and not options.video.exists():
        raise InputError(f"--video {options.video} does not exist: check the path.")
    _check_files(options)
    height, width = parse_size(options.size)
    import torch  # takes seconds: whatever is wrong with the options is found before
    from uamp_model.devices import Precision, choose_device
    from uamp_model.forms import check_compiler
    from uamp_model.reference_predictor import CompileMode

    from uamp_cli.bench_tracker import TrackerBench

    precision: Precision = _one_of(get_args(Precision), options.precision, "precision")
    mode: CompileMode = _one_of(get_args(CompileMode), options.sam2_compile_mode, "--sam2-compile-mode")
    device = choose_device(options.device)
    if options.compiled:
        check_compiler(device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    bench = TrackerBench(
        model=options.model,
        checkpoint=options.checkpoint,
        objects=objects,
        frames=options.frames,
        warm_up=_WARM_UP_ON_GPU if device.type == "cuda" else _WARM_UP,
        memory_frames=lengths,
        precision=precision,
        device=options.device,
        memory_budget=options.memory_budget,
        compiled=options.compiled,
        sam2_compiled=mode if options.sam2_compiled and device.type == "cuda" else None,
        video=options.video,
        size=(height, width),
        threads=options.threads,
    )
    _measure_and_print(bench, options)


def _check_files(options: TrackerOptions) -> None:
    from uamp_data.reader import local_files

    check_outputs(
        {"--json": options.json, "--plot": options.plot},
        {"--checkpoint": options.checkpoint},
        {"--video": [] if options.video is None else local_files(str(options.video))},
    )


def _one_of(choices: tuple[Any, ...], text: str, what: str) -> Any:
    """The choice of that name.

    Raises:
        InputError: if there is none.
    """
    if text not in choices:
        raise InputError(f"Unknown {what} {text!r}: choose {', '.join(choices)}.")
    return text


def _measure_and_print(bench: "TrackerBench", options: TrackerOptions) -> None:
    from uamp_cli.bench_tracker import make_tracker, weights_of

    weights, source = weights_of(bench)
    tracker = make_tracker(bench, weights)
    measured: list[SpeedMeasurement] = []
    curves: list[MemoryCurve] = []
    try:
        _measure(bench, weights, measured, curves)
    finally:  # after Ctrl-C or an error, what was measured before is still reported
        if measured:
            _report(bench, options, tracker, source, measured, curves)


def _measure(
    bench: "TrackerBench",
    weights: "dict[str, Tensor]",
    measured: "list[SpeedMeasurement]",
    curves: "list[MemoryCurve]",
) -> None:
    """Add to what was measured."""
    from uamp_cli.bench_tracker import OURS, THEIRS, measure_memory, measure_speed

    with frame_progress(err_console()) as progress:
        for count in bench.objects:
            progress.begin(f"Tracking {count} object{'s' if count > 1 else ''}", bench.steps)
            measured.append(measure_speed(bench, weights, count, progress.advance))
        if bench.memory_frames:
            progress.begin("Measuring memory", 2 * len(bench.memory_frames), "videos")
        for length in bench.memory_frames:
            for contender in (OURS, THEIRS):
                curves.append(measure_memory(bench, contender, length, min(bench.objects)))
                progress.advance()


def _report(
    bench: "TrackerBench",
    options: TrackerOptions,
    tracker: "VideoTracker",
    source: str,
    measured: "list[SpeedMeasurement]",
    curves: "list[MemoryCurve]",
) -> None:
    """Save and print."""
    from uamp_eval.results_files import write_json

    from uamp_cli.bench_tracker_report import as_json, memory_table, save_plot, speed_table, stage_table

    setting = _setting(tracker.device.type, str(tracker.dtype).removeprefix("torch."))
    if options.json is not None:
        described = {"model": tracker.name, "weights": source, **setting}
        write_json(options.json, as_json(bench, described, measured, curves))
    if options.plot is not None:
        save_plot(options.plot, measured, curves)
    out = out_console()
    out.print(speed_table(measured), highlight=False)
    out.print(stage_table(measured), highlight=False)
    if curves:
        out.print(memory_table(curves), highlight=False)
    frames = f"median of {bench.frames} frames after {1 + bench.warm_up}, all contenders in turns frame by frame"
    text = f"{tracker.name} ({source}), {', '.join(setting.values())}; {frames}."
    out.print(text, highlight=False, markup=False, soft_wrap=True)
    if tracker.device.type != "cuda":
        sentence = "There is no CUDA device in use: the compiled predictor of the sam2 package is left out."
        out.print(sentence, highlight=False, soft_wrap=True)


def _setting(device: str, dtype: str) -> dict[str, str]:
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else f"{device} with {torch.get_num_threads()} threads"
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
