"""What outlines and learned layers cost: operations of a tracked frame with and without them, and time, in turns.

    uv run python benchmarks/layers_cost.py --model nano
    uv run python benchmarks/layers_cost.py --model sam2.1-hiera-large --frames 3 --operations-only

Weights are random where there are none; the layers are random too, so that none is left out. It asserts nothing.
"""

import argparse
import time
from itertools import chain
from statistics import median

import numpy as np
import operation_counts  # noqa: F401 - the counter learns of products by it
import torch
from torch.utils.flop_counter import FlopCounterMode
from uamp_model import Prompt, VideoTracker, build_model
from uamp_model.layers import LayerSizes, UampLayers
from uamp_model.presets import SAM2, MemorySettings

SETTINGS = {
    "sam2": SAM2,
    "outlines": MemorySettings(outline=1),
    "adapter": MemorySettings(adapt=1),
    "head": MemorySettings(learned=1),
    "refiner": MemorySettings(refine=1),
    "second look": MemorySettings(second_look=1),
    "all": MemorySettings(adapt=1, learned=1, refine=1, second_look=1),
}


def acting_layers(tracker: VideoTracker) -> UampLayers:
    """Layers that say something."""
    layers = UampLayers(tracker.base, LayerSizes.of(tracker.base))
    for end in chain.from_iterable(layers.last_weights.values()):
        torch.nn.init.normal_(end, std=0.01)
    return layers.requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--operations-only", action="store_true")
    options = parser.parse_args()
    if options.frames < 10 and not options.operations_only:
        parser.error("--frames must be 10 or more: the first nine do not count.")
    torch.manual_seed(0)
    model = build_model(options.model).requires_grad_(False)
    plain = VideoTracker(model, name=options.model, memory="sam2")
    layers = acting_layers(plain)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (480, 854, 3), dtype=np.uint8) for _ in range(options.frames)]
    sessions = {
        name: VideoTracker(model, name=options.model, memory=name, settings=numbers, layers=layers).start()
        for name, numbers in SETTINGS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    operations: dict[str, int] = {}
    region = np.zeros((480, 854), bool)
    region[150:300, 300:500] = True
    for number, frame in enumerate(frames):
        features = plain.encode(frame)
        prompts = {1: Prompt.mask(region)} if number == 0 else None
        for name, session in sessions.items():
            if number == len(frames) - 1:
                with FlopCounterMode(display=False) as counter:
                    session.step(frame, prompts)  # the image encoder too
                operations[name] = counter.get_total_flops()
                continue
            began = time.process_time()
            _ = session.step(frame, prompts, features=features).masks
            seconds[name].append(time.process_time() - began)
    encoder = 0.0
    if not options.operations_only:
        began = time.process_time()
        for frame in frames[:10]:
            plain.encode(frame)
        encoder = (time.process_time() - began) / len(frames[:10])
    for name in sessions:
        more = 100 * (operations[name] / operations["sam2"] - 1)
        line = f"{name}: {operations[name] / 1e9:.1f} GFLOP a frame ({more:+.1f} %)"
        if not options.operations_only:
            own = [s + encoder for s in seconds[name][8:]]
            pairs = [(a + encoder) / (b + encoder) for a, b in zip(seconds[name][8:], seconds["sam2"][8:], strict=True)]
            line += f", {1000 * median(own):.1f} ms of processor time ({100 * (median(pairs) - 1):+.1f} %)"
        print(line)


if __name__ == "__main__":
    main()
