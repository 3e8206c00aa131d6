"""What Apple's GPUs can compute, held without one: torch's own list of kernels, and no float64 but the filter's."""

import traceback
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from uamp_model import Prompt, attention, blocks, hiera, linear, load_tracker, rotation, two_way
from uamp_model.devices import exact_device

_OLD = torch.torch_version.TorchVersion(torch.__version__) < "2.8"
"""Has no kernel for Apple's GPUs that resizes as SAM 2 does."""
_FILTER = {"motion.py", "propagation.py"}
"""Where float64 is computed, on the `exact_device`."""


class _Operations(TorchDispatchMode):
    """Which of torch's operations are called, and which of our files hand float64 to one."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()
        self.doubled: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:  # what is made of other operations is looked into
            out = func.decompose(*args, **(kwargs or {}))
        if out is not NotImplemented:
            return out
        out = func(*args, **(kwargs or {}))
        overload = func._schema.overload_name
        self.names.add(func._schema.name.removeprefix("aten::") + (f".{overload}" if overload else ""))
        leaves = tree_leaves((args, kwargs, out))
        if any(isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64 for leaf in leaves):
            ours = [Path(call.filename) for call in traceback.extract_stack() if "uamp_model" in call.filename]
            self.doubled.add(ours[-1].name)
        return out


@cache
def _known() -> dict[str, dict[str, Any]]:
    listed = Path(torch.__file__).parents[1] / "torchgen/packaged/ATen/native/native_functions.yaml"
    return {entry["func"].partition("(")[0]: entry for entry in yaml.safe_load(listed.read_text())}


def _runs_on_mps(name: str) -> bool:
    entry = _known()[name]
    keys = _keys(entry)
    if (other := entry.get("structured_delegate")) is not None:
        keys |= _keys(_known()[other])
    return not keys or any(key == "MPS" or key.startswith("Composite") for key in keys)


def _keys(entry: dict[str, Any]) -> set[str]:
    return {key.strip() for keys in entry.get("dispatch") or {} for key in keys.split(",")}


def _tracked(memory: str) -> _Operations:
    made = np.random.default_rng(0)
    frames = made.integers(0, 256, (4, 96, 128, 3), np.uint8)
    mask = np.zeros((96, 128), bool)
    mask[40:80, 60:110] = True
    tracker = load_tracker("nano", memory=memory, device="cpu", precision="fp32", exact=False)
    session = tracker.start()
    found = _Operations()
    with found:
        tracker.suggest_prompts(frames[0])
        session.step(frames[0], {1: Prompt.box(20, 20, 60, 60), 2: Prompt.points([(100, 50)], [1])})
        _ = session.step(frames[1]).uncertainty
        session.step(frames[2], {3: Prompt.mask(mask)})
        _ = session.step(frames[3]).uncertainty
    return found


@pytest.mark.skipif(_OLD, reason="Apple's GPUs need a newer torch")
@pytest.mark.parametrize("memory", ["sam2", "samurai", "uamp"])
def test_apples_gpus_have_every_operation(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (attention, blocks, hiera, linear, rotation, two_way):
        monkeypatch.setattr(module, "by_hand", lambda x: False)  # as on a GPU
    found = _tracked(memory)
    assert found.names
    asked = {name for name in found.names if not name.endswith("_for_cpu")}  # others have their own in its place
    assert [name for name in sorted(asked) if not _runs_on_mps(name)] == []
    assert found.doubled == (_FILTER if memory == "samurai" else set())


def test_float64_is_computed_on_the_cpu_where_the_device_has_none() -> None:
    assert exact_device(torch.device("mps")) == torch.device("cpu")
    assert exact_device(torch.device("cuda:1")) == torch.device("cuda:1")
