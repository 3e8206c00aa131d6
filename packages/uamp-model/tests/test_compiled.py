"""What torch compiles gives the same masks, and is not compiled again from frame to frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from uamp_model import DeviceError, InputError, Prompt, VideoTracker, build_model, load_tracker
from uamp_model.forms import FAST, check_compiler, compiled_forms

pytestmark = [
    pytest.mark.timeout(1200),  # the longest takes 60 s on two busy cores
    pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0"),
]
SIZE = 128


@pytest.fixture(autouse=True)
def forget_what_was_compiled() -> Iterator[None]:
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def frames(count: int) -> list[np.ndarray]:
    made = np.random.default_rng(0)
    return [made.integers(0, 255, (96, 128, 3), dtype=np.uint8) for _ in range(count)]


def tracker(backend: str | None, *, budget: float = 1.0) -> VideoTracker:
    torch.manual_seed(0)
    model = build_model("nano", image_size=SIZE)
    made = VideoTracker(model, name="nano", memory="sam2", memory_budget=budget)
    made.forms = FAST if backend is None else compiled_forms(backend)
    return made


def boxes(*ids: int) -> dict[int, Prompt]:
    return {i: Prompt.box(10 * i, 10, 10 * i + 40, 60) for i in ids}


def compilations() -> int:
    return int(counters["stats"]["unique_graphs"])


def assert_masks_agree(compiled: list[Tensor], plain: list[Tensor]) -> None:
    for one, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-2)


# the backend is what follows after a graph is found; whether a new one is needed does not depend on it
def test_nothing_is_compiled_again_while_objects_come_and_go() -> None:
    video = frames(14)

    def masks(made: VideoTracker) -> tuple[list[Tensor], list[int]]:
        session, found, compiled = made.start(), [], []
        for index, frame in enumerate(video):
            prompts = {0: boxes(1, 2, 3), 9: boxes(4, 5, 6)}.get(index)
            if index == 11:
                session.remove(2)
            found.append(session.step(frame, prompts).logits)
            compiled.append(compilations())
        return found, compiled

    found, compiled = masks(tracker("eager"))
    assert compiled[2:] == compiled[2:3] * 12
    assert compiled[2] > 0
    assert_masks_agree(found, masks(tracker(None))[0])


def test_nothing_is_compiled_again_while_memory_fills_up() -> None:
    session = tracker("eager", budget=0.5).start()
    video = frames(20)
    session.step(video[0], boxes(1))
    for frame in video[1:3]:
        session.step(frame)
    before = compilations()
    for frame in video[3:]:
        session.step(frame)
    assert compilations() == before > 0


@pytest.mark.slow
def test_masks_are_those_that_were_not_compiled() -> None:
    video = frames(4)
    found = []
    for backend in ("inductor", None):
        session = tracker(backend).start()
        found.append([session.step(frame, boxes(1, 2) if i == 0 else None).logits for i, frame in enumerate(video)])
    assert_masks_agree(*found)


def test_what_is_compiled_is_not_exact() -> None:
    with pytest.raises(InputError, match="not exact: choose one"):
        load_tracker("nano", device="cpu", exact=True, compiled=True)


def test_fp32_on_a_cpu_can_be_compiled() -> None:
    made = load_tracker("nano", device="cpu", precision="fp32", compiled=True)
    assert made.compiled
    assert not made.exact


def test_a_machine_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(DeviceError, match=r"needs a C\+\+ compiler such as g\+\+"):
        load_tracker("nano", device="cpu", compiled=True)


def test_a_device_that_nothing_is_compiled_for() -> None:
    with pytest.raises(DeviceError, match="cpu and cuda, not mps"):
        check_compiler(torch.device("mps"))
