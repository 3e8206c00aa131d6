"""What runs of one recipe have in common: how far their corrections move each part of the network, and how alike.

    uv run python benchmarks/layers_movement.py runs/one/uamp_finetuned.safetensors runs/two/uamp_finetuned.safetensors

For each part the size of the corrections in percent of its weights' (Frobenius norms, the runs' mean square), and the
cosine between the corrections of two runs, averaged over pairs: 1 if all learned the same, 0 if each went its own way.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from uamp_model import load_tracker
from uamp_model.layers_file import load_layers
from uamp_model.sam2 import Sam2

PARTS = {
    "image_encoder.trunk": "image encoder, trunk",
    "image_encoder.neck": "image encoder, neck",
    "memory_attention": "memory attention",
    "memory_encoder": "memory encoder",
    "sam_mask_decoder": "mask decoder",
}


@dataclass
class Movement:
    """Sums over a part's layers.

    Attributes:
        weights: squares of the network's weights.
        change: squares of the corrections, the mean over runs.
        shared: products of the corrections of two runs, the mean over pairs.
    """

    weights: float = 0.0
    change: float = 0.0
    shared: float = 0.0


@torch.no_grad()
def corrections(model: Sam2, path: Path, name: str) -> dict[str, Tensor]:
    """What a file's adapter adds to each weight."""
    layers = load_layers(path, model, base_model=name)
    return {key: weight - model.get_parameter(key) for key, weight in layers.adapter.weights(model).items()}


def movements(model: Sam2, runs: Sequence[Mapping[str, Tensor]]) -> dict[str, Movement]:
    """By part, how far and how alike two or more runs went."""
    found: dict[str, Movement] = defaultdict(Movement)
    pairs = list(combinations(runs, 2))
    for key in runs[0]:
        part = found[next(title for start, title in PARTS.items() if key.startswith(start))]
        part.weights += float(model.get_parameter(key).square().sum())
        part.change += sum(float(run[key].square().sum()) for run in runs) / len(runs)
        part.shared += sum(float((one[key] * other[key]).sum()) for one, other in pairs) / len(pairs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--checkpoint", type=Path, help="weights other than the published ones")
    options = parser.parse_args()
    if len(options.files) < 2:
        parser.error("name at least two files: what is compared are runs.")
    model = load_tracker(options.model, checkpoint=options.checkpoint, device="cpu").base
    for title, part in movements(model, [corrections(model, path, options.model) for path in options.files]).items():
        size, alike = 100 * (part.change / part.weights) ** 0.5, part.shared / part.change
        print(f"{title:22} moved by {size:4.1f} % of its weights, cosine between runs {alike:5.2f}")


if __name__ == "__main__":
    main()
