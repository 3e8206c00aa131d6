"""UAMP layers that do what several runs have learned, on average: weights averaged as in Wortsman et al. (2022).

    uv run python benchmarks/average_layers.py runs/one/uamp_finetuned.safetensors runs/two/uamp_finetuned.safetensors \
        --out both.safetensors

The adapter's corrections B·A are averaged exactly, by putting the thin matrices side by side: two files of rank 8 give
one of rank 16. `--rank` keeps the best approximation of a lower rank (Eckart and Young 1936) and says how much of the
corrections it holds. All other weights are averaged as they are.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from uamp_model import load_tracker
from uamp_model.layers import UampLayers
from uamp_model.layers_file import load_layers, save_layers, weights_digest
from uamp_model.sam2 import Sam2


def write_average(
    out: Path, files: Sequence[Path], model: Sam2, base: str, rank: int | None = None
) -> tuple[int, float]:
    """Write the average of several files' layers.

    Args:
        out: the file to write.
        files: at least one.
        model: the network that all of them are for.
        base: its name.
        rank: of the corrections' best approximation, None for the exact average.

    Returns:
        The corrections' rank, and the share of their squares that the file holds.
    """
    layers, held = average(model, [load_layers(file, model, base_model=base) for file in files]), 1.0
    if rank is not None:
        layers, held = of_rank(model, layers, rank)
    save_layers(out, layers, base_model=base, base_digest=weights_digest(model))
    return layers.sizes.rank, held


def average(model: Sam2, layers: Sequence[UampLayers]) -> UampLayers:
    """Layers whose corrections are the means of those of several.

    Args:
        model: the network that all of them are for.
        layers: at least one; they may differ in rank alone.
    """
    sizes = [replace(each.sizes, rank=0) for each in layers]
    if any(size != sizes[0] for size in sizes):
        raise SystemExit("The files hold layers of different sizes: average those of one configuration.")
    together = UampLayers(model, replace(layers[0].sizes, rank=sum(each.sizes.rank for each in layers)))
    states = [each.state_dict() for each in layers]
    together.load_state_dict({name: _mean(name, [state[name] for state in states]) for name in states[0]})
    return together


@torch.no_grad()
def of_rank(model: Sam2, layers: UampLayers, rank: int) -> tuple[UampLayers, float]:
    """The same layers with corrections of a lower rank, and the share of the corrections' squares that they hold.

    Each B·A = U·S·Vᵀ becomes U·√S times √S·Vᵀ of its largest singular values, so that both matrices learn alike.
    """
    state, total, held = layers.state_dict(), 0.0, 0.0
    for key, up in layers.adapter.up.items():
        left, values, right = torch.linalg.svd(up @ layers.adapter.down[key], full_matrices=False)
        total, held = total + float(values.square().sum()), held + float(values[:rank].square().sum())
        fewer = min(rank, len(values))
        thin_up, thin_down = up.new_zeros(len(up), rank), up.new_zeros(rank, right.shape[1])
        thin_up[:, :fewer] = left[:, :fewer] * values[:fewer].sqrt()
        thin_down[:fewer] = values[:fewer, None].sqrt() * right[:fewer]
        state[f"adapter.up.{key}"], state[f"adapter.down.{key}"] = thin_up, thin_down
    thinner = UampLayers(model, replace(layers.sizes, rank=rank))
    thinner.load_state_dict(state)
    return thinner, held / total if total else 1.0


def _mean(name: str, weights: Sequence[Tensor]) -> Tensor:
    if name.startswith("adapter.down."):
        return torch.cat(list(weights))
    if name.startswith("adapter.up."):
        return torch.cat(list(weights), dim=1) / len(weights)
    return torch.stack(list(weights)).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", type=int, help="of the corrections' best approximation (default: exact)")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--checkpoint", type=Path, help="weights other than the published ones")
    options = parser.parse_args()
    if options.rank is not None and options.rank < 1:
        parser.error("--rank must be 1 or more; left out, the average is exact.")
    model = load_tracker(options.model, checkpoint=options.checkpoint, device="cpu").base
    rank, held = write_average(options.out, options.files, model, options.model, options.rank)
    print(f"{options.out}: {len(options.files)} files, rank {rank}, {100 * held:.2f} % of the corrections' squares")


if __name__ == "__main__":
    main()
