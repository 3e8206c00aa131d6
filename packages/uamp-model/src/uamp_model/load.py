"""From a model's name to a tracker that is ready."""

from pathlib import Path

import torch
from tqdm import tqdm

from uamp_model.budget import FULL, check_budget
from uamp_model.catalog import ModelSpec, find_model
from uamp_model.checkpoint import load_into, load_state_dict
from uamp_model.devices import Precision, check_default_dtype, choose_device, choose_dtype, enough_memory
from uamp_model.download import checkpoint_path, download_checkpoint, find_checkpoint
from uamp_model.forms import check_compiler
from uamp_model.layers_file import load_layers
from uamp_model.presets import memory_settings
from uamp_model.sam2 import build_model
from uamp_model.tracker import VideoTracker


def load_tracker(
    name: str = "nano",
    *,
    checkpoint: str | Path | None = None,
    uamp_checkpoint: str | Path | None = None,
    memory: str = "uamp",
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    exact: bool | None = None,
    compiled: bool = False,
    memory_budget: float = 1.0,
    image_size: int | None = None,
) -> VideoTracker:
    """Load a model and make a tracker of it.

    Args:
        name: a model of the catalog (`uamp_model.MODELS`), also by its file's spelling; "nano" comes with the package.
        checkpoint: a file of weights, an official `.pt` or safetensors; without it those that are bundled or published,
            which are downloaded once, with a progress bar, into `$UAMP_CACHE` (`~/.cache/uamp`).
        uamp_checkpoint: fine-tuned UAMP layers, which `memory="uamp"` uses; without, its parts that learn do nothing.
        memory: which memory setting to track with.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: "auto" (bfloat16 where it is fast), "fp32" or "bf16".
        exact: compute as the sam2 package does, for masks equal to its predictor's; slower, see `VideoTracker`. By
            default where "fp32" is asked for on a CPU, all of memory is read and nothing is compiled.
        compiled: let torch compile the heavy parts for this machine, which takes minutes before the first results.
        memory_budget: share of the memory that is read, from 0.2 to 1, where less is faster.
        image_size: another side of the square that frames are resized to than the model's own, a multiple of 32: a
            larger one shows finer things and takes longer.

    Raises:
        InputError: if a name or a setting is unknown, or torch's default dtype is not float32.
        CheckpointError: if the weights are missing, damaged or of another model, or cannot be downloaded.
        DeviceError: if the device is not there or too small, or nothing can be compiled for it.
    """
    check_default_dtype()
    memory_settings(memory)
    check_budget(memory_budget)
    spec = find_model(name)
    place = choose_device(str(device))
    if compiled:
        check_compiler(place)
    if checkpoint is None and not spec.bundled and not checkpoint_path(spec).is_file():
        _download(spec)
    path = find_checkpoint(spec, checkpoint)
    # what is made in inference mode could not be learned through by a rehearsal
    with enough_memory(place), torch.inference_mode(False):
        state = load_state_dict(path)
        model = build_model(spec.name, image_size=image_size)
        load_into(model, state, source=str(path))
        model.requires_grad_(False).to(place)
        layers = None
        if uamp_checkpoint is not None:
            layers = load_layers(Path(uamp_checkpoint), model, base_model=spec.name).to(place)
    dtype = choose_dtype(precision, place, image_size=model.image_size)
    if exact is None:
        exact = precision == "fp32" and place.type == "cpu" and not compiled and memory_budget == FULL
    return VideoTracker(
        model,
        name=spec.name,
        memory=memory,
        dtype=dtype,
        layers=layers,
        exact=exact,
        compiled=compiled,
        memory_budget=memory_budget,
    )


def _download(spec: ModelSpec) -> None:
    with tqdm(desc=spec.name, unit="B", unit_scale=True) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        download_checkpoint(spec, progress=show)
