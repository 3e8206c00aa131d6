"""Linear layers by one kernel are the plain ones, with their activation."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from uamp_model import linear as fused
from uamp_model.devices import inference
from uamp_model.linear import Activation, linear

CPU = torch.device("cpu")


class Seen(TorchFunctionMode):
    """Counts calls of plain linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.linear += func is F.linear
        return func(*args, **(kwargs or {}))


def expected(layer: nn.Linear, x: Tensor, activation: Activation | None) -> Tensor:
    plain: Tensor = layer(x)
    return plain if activation is None else activation(plain)


@pytest.mark.parametrize("activation", [None, F.relu, nn.ReLU(), nn.GELU(), nn.GELU("tanh"), torch.tanh])
@pytest.mark.parametrize("shape", [(5, 32), (2, 3, 4, 32)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_equal(activation: Activation | None, shape: tuple[int, ...], dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(32, 48, bias=bias), torch.randn(shape)
    with inference(CPU, dtype, plainly=False):
        found, plain = linear(layer, x, activation), expected(layer, x, activation)
    assert found.dtype == plain.dtype
    rounding = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, plain, rtol=rounding, atol=rounding)


def test_parts_of_a_larger_tensor() -> None:
    layer, x = nn.Linear(32, 48), torch.randn(6, 2, 40)[:, 1, 4:36]
    with inference(CPU, torch.float32, plainly=False):
        torch.testing.assert_close(linear(layer, x, nn.GELU()), nn.GELU()(layer(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("better", [True, False])
def test_onednn_is_asked_where_it_is_better(better: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(fused, "onednn_is_better", lambda: better)
    with Seen() as seen, inference(CPU, torch.float32, plainly=False):
        linear(nn.Linear(32, 48), torch.randn(5, 32), nn.GELU())
    assert seen.linear == (0 if better else 1)


def test_gradients_flow_as_ever() -> None:
    layer, x = nn.Linear(32, 48), torch.randn(5, 32)
    linear(layer, x, F.relu).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0
