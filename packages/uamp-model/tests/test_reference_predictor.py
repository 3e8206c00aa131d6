"""The sam2 package's predictor as it is measured against."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only
from uamp_model import Prompt, load_tracker, reference_predictor
from uamp_model.errors import InputError
from uamp_model.reference_predictor import ReferencePredictor

CPU = torch.device("cpu")


class WrittenOver:
    """Stands for `torch.compile` with CUDA graphs: what a part gave is written over when the next is called."""

    def __init__(self) -> None:
        self.modes: list[str] = []
        self._given: list[Tensor] = []

    def __call__(self, function: Callable[..., Any], *, mode: str, **asked: object) -> Callable[..., Any]:
        self.modes.append(mode)

        def part(*given: Any, **named: Any) -> Any:
            # what it is given of the one before is read first
            given, named = tree_map_only(Tensor, Tensor.clone, (given, named))
            for tensor in self._given:
                tensor.fill_(-1000)
            said = tree_map_only(Tensor, Tensor.clone, function(*given, **named))
            self._given = [leaf for leaf in tree_leaves(said) if isinstance(leaf, Tensor)]
            return said

        return part


@pytest.fixture
def frames() -> list[npt.NDArray[np.uint8]]:
    noise = np.random.default_rng(0).integers(0, 60, (64, 96, 3), dtype=np.uint8)
    made = []
    for index in range(4):
        frame = noise.copy()
        frame[20:44, 20 + 4 * index : 50 + 4 * index] += np.array([150, 120, 30], dtype=np.uint8)
        made.append(frame)
    return made


def test_no_part_of_the_compiled_predictor_reads_what_was_written_over(
    frames: list[npt.NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = dict(load_tracker("nano", device="cpu", precision="fp32").model.state_dict())
    predictor = ReferencePredictor("nano", weights, device=CPU)
    prompts = {7: Prompt.box(20, 20, 50, 44)}
    with predictor.open(frames, prompts) as plain:
        expected = list(plain)
    compiler = WrittenOver()
    monkeypatch.setattr(torch, "compile", compiler)
    compiled = reference_predictor._make_predictor("nano", "reduce-overhead")
    compiled.load_state_dict(weights)
    predictor._predictor = compiled.eval()
    with predictor.open(frames, prompts) as running:
        found = list(running)
    assert compiler.modes == ["reduce-overhead"] * 5
    assert len(found) == len(expected) == 4
    for (ids, masks), (same_ids, same) in zip(found, expected, strict=True):
        assert ids == same_ids == (7,)
        assert 100 < int(same.sum()) < 3000
        assert torch.equal(masks, same)


def test_compiled_on_a_cpu() -> None:
    with pytest.raises(InputError, match="needs a CUDA device"):
        ReferencePredictor("nano", {}, device=CPU, compiled="max-autotune")
