"""Fast products are exact enough, and leave torch's setting as it was."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch
from uamp_model import products
from uamp_model.devices import inference
from uamp_model.products import fast_products

CPU = torch.device("cpu")


@pytest.fixture(params=["here", "as on another maker's CPU"])
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where MKL is as wide as oneDNN nothing is set: see that what is done elsewhere holds there too."""
    if request.param != "here":
        monkeypatch.setattr(products, "mkl_is_wide", lambda: False)
    products.onednn_is_better.cache_clear()
    yield
    products.onednn_is_better.cache_clear()


on_both = pytest.mark.usefixtures("maker")


@on_both
def test_intels_own_products_are_left_to_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(products, "mkl_is_wide", lambda: True)
    with fast_products(CPU):
        assert torch.get_float32_matmul_precision() == before


def test_so_are_products_where_there_is_nothing_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    products.mkl_is_wide.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert products.mkl_is_wide() == torch.backends.mkl.is_available()
    products.mkl_is_wide.cache_clear()


@on_both
@pytest.mark.parametrize("shape", [(4096, 384, 1536), (64, 32, 96), (256, 128, 1824)])
def test_products_are_full(shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    torch.manual_seed(0)
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    with fast_products(CPU):
        found = a @ b
    assert (found - a.double() @ b.double()).abs().max() < 1e-3  # bfloat16 would be off by 0.1 and more


@on_both
def test_what_is_better_here_does_not_depend_on_the_precision_of_who_asks_first() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = products.onednn_is_better()
    products.onednn_is_better.cache_clear()
    assert within == products.onednn_is_better()


@on_both
def test_the_setting_is_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError), fast_products(CPU), fast_products(CPU):
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("setting", ["fp32_precision", "mkldnn.fp32_precision", "mkldnn.matmul.fp32_precision"])
def test_newer_settings_are_no_obstacle_and_stay(setting: str) -> None:
    """torch refuses to say its older setting where newer ones differ; in a process of its own, as both are global."""
    program = f"""
import torch
from uamp_model import products
products.mkl_is_wide = lambda: False

def state():
    own = torch.backends.mkldnn
    return torch.backends.fp32_precision, own.fp32_precision, own.matmul.fp32_precision

for value in ("ieee", "tf32"):
    torch.backends.{setting} = value
    before = state()
    with products.fast_products(torch.device("cpu")):
        torch.ones(4, 4) @ torch.ones(4, 4)
    assert state() == before, (before, state())
torch.backends.mkldnn.matmul.fp32_precision = "none"
torch.backends.fp32_precision = torch.backends.mkldnn.fp32_precision = "bf16"
with products.fast_products(torch.device("cpu")):
    pass
torch.backends.fp32_precision = torch.backends.mkldnn.fp32_precision = "ieee"
assert torch.backends.mkldnn.matmul.fp32_precision == "ieee", "it follows the general ones as before"
"""
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("this torch has no such settings")
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr


@on_both
def test_threads_that_overlap_put_it_back_together() -> None:
    before = torch.get_float32_matmul_precision()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with fast_products(CPU):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with fast_products(CPU):
        thread.start()
        assert entered.wait(10)
    leave.set()
    thread.join()
    assert torch.get_float32_matmul_precision() == before


@on_both
def test_plain_computing_leaves_products_alone() -> None:
    before = torch.get_float32_matmul_precision()
    with inference(CPU, torch.float32, plainly=True):
        assert torch.get_float32_matmul_precision() == before
