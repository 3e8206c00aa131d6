"""Times the tracker beside the sam2 package's own video predictor: same weights, frames, prompts and run."""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from uamp_eval.protocols import merge_logits
from uamp_model import Prompt, VideoTracker, build_model, find_model, load_tracker
from uamp_model.devices import Precision, choose_device, choose_dtype
from uamp_model.download import find_checkpoint
from uamp_model.errors import CheckpointError, InputError
from uamp_model.reference_predictor import CompileMode, ReferencePredictor
from uamp_model.stages import STAGES, StageClock, timed_stages

Image = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint8]

OURS, THEIRS, COMPILED = "uamp", "sam2", "sam2 compiled"
READ, WRITE = "read", "write"
ALL_STAGES = (READ, *STAGES, WRITE)
_MOST_IN_A_CLIP = 8
_CLIP_FRAMES = 24
_FRAME_RATE = 24
_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerBench:
    """What is to be measured; see `uamp bench tracker --help`.

    Attributes:
        frames: tracked frames that are timed, after the warm-up.
        memory_frames: lengths of the videos whose memory is measured, in processes of their own.
        threads: of the CPU, or None to leave torch's choice.
        sam2_compiled: how the package's compiled predictor, which takes part where there is CUDA, is compiled; None to
            leave it out.
    """

    model: str
    objects: tuple[int, ...]
    frames: int
    warm_up: int
    checkpoint: Path | None = None
    memory_frames: tuple[int, ...] = ()
    precision: Precision = "auto"
    device: str = "auto"
    memory_budget: float = 1.0
    compiled: bool = False
    image_size: int | None = None
    video: Path | None = None
    size: tuple[int, int] = (480, 854)
    threads: int | None = None
    sam2_compiled: CompileMode | None = "max-autotune"

    @property
    def steps(self) -> int:
        """Frames that ours tracks: the prompted one, the warm-up, those that are timed whole and those by stage."""
        return 1 + self.warm_up + 2 * self.frames


@dataclass(frozen=True, slots=True)
class SpeedMeasurement:
    """What one number of objects came to.

    Attributes:
        objects: how many were tracked.
        seconds: by contender, of each timed frame.
        cpu_seconds: the same, of this process's time on all cores.
        stages: by stage of ours, seconds for a frame: the median, but the mean for reading and writing; on a CPU
            these are of processor time.
        iou: by other contender, mean IoU of its masks and ours, over frames and objects.
        differing: by other contender, share of pixels whose masks differ.
    """

    objects: int
    seconds: dict[str, list[float]]
    cpu_seconds: dict[str, list[float]]
    stages: dict[str, float]
    iou: dict[str, float]
    differing: dict[str, float]

    def frames_per_second(self, name: str) -> float:
        """Of the median frame."""
        return 1 / statistics.median(self.seconds[name])

    def times_faster(self, name: str, *, cpu: bool = False) -> float:
        """Median over frames of the other contender's time divided by ours for the same frame."""
        times = self.cpu_seconds if cpu else self.seconds
        return statistics.median(other / own for other, own in zip(times[name], times[OURS], strict=True))


@dataclass(frozen=True, slots=True)
class MemoryCurve:
    """Memory of one contender over one video, MiB after each frame; `device` is empty without CUDA."""

    contender: str
    frames: int
    resident: list[float]
    device: list[float] = field(default_factory=list)

    @property
    def peak(self) -> float:
        """The most resident memory, MiB."""
        return max(self.resident, default=0.0)


def weights_of(bench: TrackerBench) -> tuple[dict[str, Tensor], str]:
    """The model's weights where there are any, else random ones, and which they are."""
    spec = find_model(bench.model)
    try:
        path = find_checkpoint(spec, bench.checkpoint)
    except CheckpointError:
        if bench.checkpoint is not None:
            raise
        return random_weights(spec.name), "random weights"
    tracker = load_tracker(spec.name, checkpoint=path, device="cpu", precision="fp32")
    return dict(tracker.model.state_dict()), path.name


def random_weights(name: str) -> dict[str, Tensor]:
    """Seeded weights that take objects to be in view, so that there are masks to compare."""
    torch.manual_seed(0)
    model = build_model(name)
    head = "sam_mask_decoder.pred_obj_score_head.layers.2.bias"
    state: dict[str, Tensor] = model.state_dict()
    if head in state:
        state[head].fill_(3)
    return state


def make_tracker(bench: TrackerBench, weights: dict[str, Tensor]) -> VideoTracker:
    """Ours on these weights."""
    spec, place = find_model(bench.model), choose_device(bench.device)
    model = build_model(spec.name, image_size=bench.image_size)
    model.load_state_dict(weights)
    model.requires_grad_(False).to(place)
    dtype = choose_dtype(bench.precision, place, image_size=model.image_size)
    return VideoTracker(
        model,
        name=spec.name,
        memory="sam2",
        dtype=dtype,
        compiled=bench.compiled,
        memory_budget=bench.memory_budget,
    )


def make_reference(bench: TrackerBench, weights: dict[str, Tensor], contender: str) -> ReferencePredictor:
    """Theirs on these weights, in our precision."""
    compiled = bench.sam2_compiled if contender == COMPILED else None
    spec, place = find_model(bench.model), choose_device(bench.device)
    dtype = choose_dtype(bench.precision, place, image_size=bench.image_size or spec.image_size)
    return ReferencePredictor(
        spec.name, weights, device=place, dtype=dtype, compiled=compiled, image_size=bench.image_size
    )


def make_clip(bench: TrackerBench, count: int) -> tuple[list[Image], npt.NDArray[np.uint8] | None]:
    """`count` frames, of the video or generated, played there and back if they are too few; and the first id map."""
    if bench.video is not None:
        from uamp_data.reader import open_video

        with open_video(bench.video) as video:
            images, truth = [frame.image for frame in islice(video, count)], None
    else:
        from uamp_data.synthetic import generate_clip

        most = min(max(bench.objects), _MOST_IN_A_CLIP)
        clip = generate_clip(0, num_frames=min(count, _CLIP_FRAMES), size=bench.size, num_objects=most)
        images, truth = list(clip.frames), clip.masks[0]
    there_and_back = images + images[-2:0:-1] if len(images) > 2 else images
    return [there_and_back[i % len(there_and_back)] for i in range(count)], truth


def make_prompts(frame: Image, truth: npt.NDArray[np.uint8] | None, count: int) -> dict[int, Prompt]:
    """The true masks of the first objects, and boxes on a grid for the others."""
    ids = [] if truth is None else [int(i) for i in np.unique(truth) if i > 0][:count]
    prompts = {n: Prompt.mask(truth == i) for n, i in enumerate(ids, 1)} if truth is not None else {}
    height, width = frame.shape[:2]
    side = int(np.ceil(np.sqrt(count)))
    for n in range(len(prompts) + 1, count + 1):
        y, x = divmod(n - 1, side)
        x0, y0, w, h = width * (x + 0.2) / side, height * (y + 0.2) / side, 0.6 * width / side, 0.6 * height / side
        prompts[n] = Prompt.box(x0, y0, x0 + w, y0 + h)
    return prompts


Found = tuple[tuple[int, ...], Tensor]
"""Object ids and N×H×W bool masks."""


def track(tracker: VideoTracker, frames: Sequence[Image], prompts: dict[int, Prompt]) -> Iterator[Found]:
    """Ours over a video, a frame at each step."""
    session = tracker.start(num_frames=len(frames))
    for index, frame in enumerate(frames):
        result = session.step(frame, prompts if index == 0 else None)
        yield result.object_ids, result.masks


def measure_speed(
    bench: TrackerBench,
    weights: dict[str, Tensor],
    count: int,
    on_frame: Callable[[], None] = lambda: None,
) -> SpeedMeasurement:
    """Track `count` objects with all contenders, frame by frame in turns, and compare times and masks.

    In turns, because what slows the machine down for a while then slows all of them down. Theirs has read and resized
    all frames before; ours resizes while the clock runs. The stages of ours are timed on further frames, since timing
    them makes a GPU wait after each stage.
    """
    frames, truth = make_clip(bench, bench.steps)
    prompts = make_prompts(frames[0], truth, count)
    tracker = make_tracker(bench, weights)
    names = [THEIRS, COMPILED] if tracker.device.type == "cuda" and bench.sam2_compiled is not None else [THEIRS]
    others = {name: make_reference(bench, weights, name) for name in names}
    seconds: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    ious: dict[str, list[float]] = defaultdict(list)
    differing: dict[str, list[float]] = defaultdict(list)
    found: list[Ids] = []
    clock = StageClock(tracker.device)
    with ExitStack() as stack:
        running = {name: stack.enter_context(other.open(frames, prompts)) for name, other in others.items()}
        running[OURS] = track(tracker, frames, prompts)
        for index in range(1 + bench.warm_up + bench.frames):
            masks: dict[str, Tensor] = {}
            # every second frame in the other order, so that nobody always finds the caches warm
            for name in sorted(running, reverse=index % 2 == 1):
                start, start_cpu = clock.now(), time.process_time()
                _, masks[name] = next(running[name])
                spent, spent_cpu = clock.now() - start, time.process_time() - start_cpu
                if index > bench.warm_up:
                    seconds[name].append(spent)
                    cpu[name].append(spent_cpu)
            found.append(merge_logits(masks[OURS].float() - 0.5, tuple(prompts)).cpu().numpy())
            for name in others:
                iou, share = _agreement(masks[OURS], masks[name])
                ious[name].append(iou)
                differing[name].append(share)
            on_frame()
        stages = time_stages(running[OURS], tracker.device, on_frame)
    files = time_files(bench.video, frames[: len(found)], found, stage_time(tracker.device))
    return SpeedMeasurement(
        count,
        dict(seconds),
        dict(cpu),
        stages | files,
        {name: statistics.mean(values) for name, values in ious.items()},
        {name: statistics.mean(values) for name, values in differing.items()},
    )


def time_stages(
    steps: Iterator[Found], device: torch.device, on_frame: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Median seconds of each stage, over all frames that are left."""
    took: dict[str, list[float]] = {part: [] for part in STAGES}
    while True:
        with timed_stages(device, stage_time(device)) as clock:
            if next(steps, None) is None:
                return {part: statistics.median(seconds) for part, seconds in took.items()}
        for part, seconds in took.items():
            seconds.append(clock.seconds[part])
        on_frame()


def stage_time(device: torch.device) -> Callable[[], float]:
    """What tells a stage's seconds: on a CPU processor time, which other programs disturb less."""
    return time.process_time if device.type == "cpu" else time.perf_counter


def _agreement(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Mean IoU over objects, 1 where both masks are empty, and the share of pixels that differ."""
    both, either = (ours & theirs).flatten(1).sum(1).float(), (ours | theirs).flatten(1).sum(1).float()
    iou = torch.where(either > 0, both / either.clamp_min(1), torch.ones_like(both))
    return float(iou.mean()), float((ours != theirs).float().mean())


def time_files(
    video: Path | None, frames: Sequence[Image], found: Sequence[Ids], time_of: Callable[[], float]
) -> dict[str, float]:
    """Mean seconds to write a frame with its objects drawn in, and to read one: of the video, or what was written."""
    from uamp_data.reader import open_video
    from uamp_data.writer import VideoWriter

    from uamp_cli.overlay import draw_overlay

    with TemporaryDirectory() as folder:
        written = Path(folder) / "written.mp4"
        start = time_of()
        with VideoWriter(written, frame_rate=_FRAME_RATE, size=frames[0].shape[:2]) as writer:
            for frame, ids in zip(frames, found, strict=True):
                writer.write(draw_overlay(frame, ids))
        writing = (time_of() - start) / len(frames)
        start = time_of()
        with open_video(video or written) as reader:
            count = sum(1 for _ in islice(reader, len(frames)))
        return {READ: (time_of() - start) / count, WRITE: writing}


def measure_memory(bench: TrackerBench, contender: str, frames: int, count: int) -> MemoryCurve:
    """Track a video of so many frames in a fresh process and note its memory after each.

    Raises:
        InputError: if that process was killed, as systems do when memory runs out.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_memory_curve, bench, contender, frames, count).result()
        except BrokenProcessPool as error:
            raise InputError(
                f"The process that tracked {frames} frames with {contender} was ended from outside, perhaps because "
                "memory ran out: give smaller --memory-frames."
            ) from error


def _memory_curve(bench: TrackerBench, contender: str, length: int, count: int) -> MemoryCurve:
    if bench.threads is not None:
        torch.set_num_threads(bench.threads)
    weights, _ = weights_of(bench)
    frames, truth = make_clip(bench, length)
    prompts = make_prompts(frames[0], truth, count)
    resident, used = [resident_mib()], []
    if contender == OURS:
        tracker = make_tracker(bench, weights)
        del weights
        for _ in track(tracker, frames, prompts):
            resident.append(resident_mib())
            used += _device_mib(tracker.device)
    else:
        reference = make_reference(bench, weights, contender)
        del weights
        with reference.open(frames, prompts) as running:
            for _ in chain([None], running):
                resident.append(resident_mib())
                used += _device_mib(reference.device)
    return MemoryCurve(contender, length, resident, used)


def resident_mib() -> float:
    """Memory of this process, MiB; where the system does not tell, the most there ever was."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import os

        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (_MIB if sys.platform == "darwin" else 1024)


def _device_mib(device: torch.device) -> list[float]:
    """Memory of the GPU that is not free for others: also what torch keeps in reserve, as for CUDA graphs."""
    return [torch.cuda.memory_reserved(device) / _MIB] if device.type == "cuda" else []


def slope(curves: Sequence[MemoryCurve]) -> float | None:
    """MiB of peak memory for each further frame, fitted over videos of several lengths; None of a single one."""
    if len({curve.frames for curve in curves}) < 2:
        return None
    fitted = np.polyfit([curve.frames for curve in curves], [curve.peak for curve in curves], 1)
    return float(fitted[0])
