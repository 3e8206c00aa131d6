"""Rotary positions: each form of the rotation is the plain one, and the plain one sam2's."""

import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch
from torch import Tensor
from uamp_model import rotation
from uamp_model.rotation import InPlace, rotate, rotate_keys, rotate_plainly

CPU = torch.device("cpu")


def table(places: int, width: int) -> Tensor:
    return torch.polar(torch.ones(places, width // 2), 9 * torch.randn(places, width // 2))


def test_pairs_are_turned_by_their_angle() -> None:
    turn = torch.polar(torch.ones(2, 1), torch.tensor([[0.0], [torch.pi / 2]]))
    x = torch.tensor([[[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [3.0, 4.0], [5.0, 6.0]]])
    expected = torch.tensor([[[1.0, 2.0], [-2.0, 1.0], [3.0, 4.0], [-4.0, 3.0], [5.0, 6.0]]])
    torch.testing.assert_close(rotate_keys(x.clone(), turn, 4), expected)
    torch.testing.assert_close(rotate(x[:, :2].clone(), turn), expected[:, :2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_some_rows_at_a_time(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x, turn = torch.randn(3, 20, 16).to(dtype), table(9, 16)
    expected = rotate_plainly(x.clone(), turn, 18)
    monkeypatch.setattr(rotation, "BETWEEN", 32)
    assert torch.equal(rotate_keys(x, turn, 18), expected)


INTERPRETED = """
import torch
from uamp_model.rotation import rotate_plainly
from uamp_model.rotation_kernel import rotate_in_place

torch.manual_seed(0)
# as one frame's queries, as keys of some objects' frames with pointers behind them, and of several blocks
for dtype, rounded in ((torch.float32, 0), (torch.float16, 0), (torch.bfloat16, 2**-7)):
    for count, frames, places, width, pointers in ((1, 1, 16, 16, 0), (3, 2, 9, 32, 5), (2, 3, 49, 256, 4)):
        turn = torch.polar(torch.ones(places, width // 2), 9 * torch.randn(places, width // 2))
        x = torch.randn(count, frames * places + pointers, width).to(dtype)
        expected = rotate_plainly(x.clone(), turn, frames * places)
        rotate_in_place(x, turn, frames * places)
        # the interpreter cuts bfloat16 off, a GPU rounds it
        torch.testing.assert_close(x, expected, rtol=rounded, atol=0)
        assert float((x[:, : frames * places] != 0).float().mean()) > 0.99
print("the same")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernel_as_it_is_interpreted() -> None:
    if tuple(int(part) for part in version("triton").split(".")[:2]) < (3, 2):
        pytest.skip("before 3.2 the interpreter stores nothing beside newer NumPys")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ran = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True)
    assert ran.stdout == "the same\n", ran.stderr


def refuses(x: Tensor, turn: Tensor, placed: int) -> None:
    raise RuntimeError("Failed to find C compiler.\nPlease specify it.")


def forgets(x: Tensor, turn: Tensor, placed: int) -> None:
    """Leaves all as it is."""


def turns(x: Tensor, turn: Tensor, placed: int) -> None:
    x.copy_(rotate_plainly(x.clone(), turn, placed))


@pytest.mark.parametrize(("made", "sound"), [(refuses, False), (forgets, False), (turns, True)])
def test_a_kernel_is_tried_before_it_is_used(
    made: InPlace, sound: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    holder = ModuleType("uamp_model.rotation_kernel")
    holder.rotate_in_place = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uamp_model.rotation_kernel", holder)
    found = rotation._kernel_on.__wrapped__(CPU, torch.bfloat16, 16)
    assert found is (made if sound else None)
    assert len(caplog.messages) == (0 if sound else 1)
    if made is refuses:
        assert caplog.messages[0].endswith("which is slower without: Failed to find C compiler.")


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_on_a_gpu(dtype: torch.dtype) -> None:
    place = torch.device("cuda", torch.cuda.current_device())
    assert rotation._kernel_on(place, dtype, 256) is not None
    for count, frames, places, width, pointers in ((1, 1, 4096, 256, 0), (16, 7, 4096, 256, 64), (3, 2, 9, 32, 5)):
        turn = table(places, width).to(place)
        x = torch.randn(count, frames * places + pointers, width, device=place, dtype=dtype)
        expected = rotate_plainly(x.clone(), turn, frames * places)
        assert rotate_keys(x, turn, frames * places) is x
        torch.testing.assert_close(x, expected)
