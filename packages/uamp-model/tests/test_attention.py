"""The fast form of memory attention and of the memory encoder is the plain one, up to rounding."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from uamp_model import memory_encoder
from uamp_model.attention import Glance, average, average_pieces, kernel_averages_narrow, pieces_of
from uamp_model.blocks import in_parts
from uamp_model.budget import Share, share_of
from uamp_model.devices import inference, steady_attention
from uamp_model.forms import FAST
from uamp_model.sam2 import (
    ImageFeatures,
    MemoryTokens,
    Sam2,
    attend_memory,
    build_model,
    encode_image,
    encode_memory,
)

SIZE = 64


@pytest.fixture(scope="module", params=["nano", "sam2-hiera-tiny", "sam2.1-hiera-tiny"])
def model(request: pytest.FixtureRequest) -> Sam2:
    torch.manual_seed(0)
    return build_model(request.param, image_size=SIZE)


def remembered(model: Sam2, objects: int, *, memories: int = 3, pointers: int = 5, bias: bool = False) -> MemoryTokens:
    cells = SIZE // 16
    recency = torch.tensor([0, *range(7 - memories, 6)][:memories]).expand(objects, -1)
    return MemoryTokens(
        torch.randn(objects, memories, model.mem_dim, cells, cells),
        recency,
        torch.randn(objects, pointers, model.hidden_dim),
        torch.rand(1, pointers),
        -torch.rand(objects, memories, cells, cells) if bias else None,
    )


def seen(model: Sam2, images: int = 1) -> ImageFeatures:
    with torch.inference_mode():
        return encode_image(model, torch.randn(images, 3, SIZE, SIZE))


@pytest.mark.parametrize("objects", [1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_objects_of_one_image(model: Sam2, objects: int, bias: bool) -> None:
    features, memory = seen(model).expand(objects), remembered(model, objects, bias=bias)
    with torch.inference_mode():
        plain, fast = (attend_memory(model, features, memory, fast=fast_form) for fast_form in (None, FAST))
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objects", [1, 3])
def test_what_a_gpu_takes_whole(model: Sam2, objects: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("attention", "rotation", "blocks", "linear"):
        monkeypatch.setattr(f"uamp_model.{user}.by_hand", lambda x: False)
    monkeypatch.setattr("uamp_model.linear._gpu_ends", lambda x: True)
    features, memory = seen(model).expand(objects), remembered(model, objects)
    with torch.inference_mode():
        plain, fast = (attend_memory(model, features, memory, fast=fast_form) for fast_form in (None, FAST))
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_objects_of_many_images(model: Sam2) -> None:
    features, memory = seen(model, 2), remembered(model, 2)
    with torch.inference_mode():
        plain, fast = (attend_memory(model, features, memory, fast=fast_form) for fast_form in (None, FAST))
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_blocks_of_rows(model: Sam2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_model.attention._SCORES", 1)
    monkeypatch.setattr("uamp_model.attention.FEWEST_ROWS", 3)
    monkeypatch.setattr("uamp_model.blocks.FEWEST_ROWS", 3)
    features, memory = seen(model).expand(2), remembered(model, 2)
    with torch.inference_mode():
        plain, fast = (attend_memory(model, features, memory, fast=fast_form) for fast_form in (None, FAST))
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prompted", [False, True])
def test_memory_of_objects_of_one_image(model: Sam2, prompted: bool) -> None:
    features, logits = seen(model).expand(3), 5 * torch.randn(3, 1, SIZE // 4, SIZE // 4)
    present = torch.tensor([[1.0], [0.0], [1.0]])
    with torch.inference_mode():
        plain, fast = (
            encode_memory(model, features, logits, present, prompted=prompted, fast=fast_form)
            for fast_form in (None, FAST)
        )
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_memory_of_many_objects_is_encoded_some_at_a_time(model: Sam2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_encoder, "_PIXELS", 2 * SIZE**2)
    features, logits = seen(model).expand(5), 5 * torch.randn(5, 1, SIZE // 4, SIZE // 4)
    with torch.inference_mode():
        plain, fast = (
            encode_memory(model, features, logits, torch.ones(5, 1), prompted=False, fast=form) for form in (None, FAST)
        )
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_bfloat16(model: Sam2) -> None:
    features, memory = seen(model).expand(2), remembered(model, 2)
    with torch.inference_mode():
        plain = attend_memory(model, features, memory)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fast = attend_memory(model, features, memory, fast=FAST)
            theirs = attend_memory(model, features, memory)
    off, theirs_off = (fast.float() - plain).abs().mean(), (theirs.float() - plain).abs().mean()
    assert off < 1.5 * theirs_off


def test_image_features_with_channels_last(model: Sam2) -> None:
    images = torch.randn(1, 3, SIZE, SIZE)
    with torch.inference_mode():
        plain, fast = (encode_image(model, images, fast=fast_form) for fast_form in (None, FAST))
    for name in ("stride16", "stride8", "stride4"):
        torch.testing.assert_close(getattr(fast, name), getattr(plain, name), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [2, 4, 6, 10, 20])
def test_what_is_done_in_parts_is_what_is_done_at_once(count: int) -> None:
    x = torch.randn(10, 3)
    assert torch.equal(in_parts(lambda part: 2 * part, x, count), 2 * x)
    assert torch.equal(in_parts(lambda part: part[::2] + part[1::2], x, count), x[::2] + x[1::2]), "half as many"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norm_over_few_channels(dtype: torch.dtype) -> None:
    x, weight, bias = 5 + 3 * torch.randn(2, 3, 4, 16).to(dtype), torch.randn(16), torch.randn(16)
    found = memory_encoder.short_layer_norm(x, weight, bias, 1e-6)
    torch.testing.assert_close(found, torch.nn.functional.layer_norm(x.float(), (16,), weight, bias, 1e-6))


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_what_is_read_in_pieces(pieces: int) -> None:
    q, k, v = 3 * torch.randn(2, 7, 16), torch.randn(2, 20, 16), torch.randn(2, 20, 4)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = q @ k.transpose(-1, -2) / 4
        return scores.softmax(-1) @ v, scores.logsumexp(-1, keepdim=True)

    found = average_pieces(q, k, v, pieces, attend)
    torch.testing.assert_close(found, torch.nn.functional.scaled_dot_product_attention(q, k, v))


def test_a_cpus_kernel_wants_values_as_wide_as_keys(model: Sam2) -> None:
    assert not kernel_averages_narrow(model.memory_attention, torch.randn(1, 8, model.mem_dim))


def test_pieces_are_of_equal_length_and_fewer_with_more_objects() -> None:
    full = 7 * 4096 + 64
    assert [pieces_of(objects, 4096, full) for objects in (1, 2, 4, 16)] == [4, 2, 1, 1]
    assert pieces_of(1, 784, 7 * 784 + 64) == 8
    assert pieces_of(1, 784, 7 * 784 + 63) == 7
    assert pieces_of(1, 784, 5557) == 1  # a prime number


class LaidOut(TorchFunctionMode):
    """Checks what cuDNN wants of queries: it lays its result out as they are, and wants its rows in one piece."""

    asked = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        attends = (torch.nn.functional.scaled_dot_product_attention, torch.ops.aten._scaled_dot_product_cudnn_attention)
        if func in attends:
            self.asked += 1
            q, _, v = args[:3]
            shape, stride, next_stride = (*q.shape[:3], v.shape[3]), [0] * 4, 1
            for axis in sorted(range(4), key=q.stride):
                stride[axis], next_stride = next_stride, next_stride * shape[axis]
            assert stride[3] == 1, f"queries {tuple(q.shape)} have strides {q.stride()}"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("objects", [1, 3, 24])
@pytest.mark.parametrize("budget", [1.0, 0.25])
@pytest.mark.parametrize("cudnn", [True, False])
def test_what_a_gpu_is_asked(objects: int, budget: float, cudnn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forms for GPUs with shapes alone, of which no GPU is needed to know."""
    monkeypatch.setattr("uamp_model.attention.cudnn_attends", lambda values, keys: cudnn)
    model, bare = build_model("nano"), torch.device("meta")
    cells, count = 28, model.num_maskmem
    features = ImageFeatures(*(torch.empty(1, model.hidden_dim, cells, cells, device=bare) for _ in range(4)))
    memory = MemoryTokens(
        torch.empty(objects, count, model.mem_dim, cells, cells, device=bare),
        torch.arange(count, device=bare).expand(objects, -1),
        torch.empty(objects, 16, model.hidden_dim, device=bare),
        torch.empty(1, 16, device=bare),
        glance=bare_glance(share_of(budget, cells**2, count), objects, cells**2),
    )
    with torch.inference_mode(), LaidOut() as looked:
        found = attend_memory(model.to(bare), features.expand(objects), memory, fast=FAST)
    assert found.shape == (objects, model.hidden_dim, cells, cells)
    assert looked.asked >= 2 * len(model.memory_attention.layers)


def bare_glance(share: Share | None, objects: int, cells: int) -> Glance | None:
    """One of shapes alone."""
    if share is None:
        return None

    def empty(count: int) -> torch.Tensor:
        return torch.empty(objects, count, dtype=torch.long, device="meta")

    read = share.given + sum(share.tracked)
    return Glance(
        empty(share.doubtful), empty(cells - share.doubtful), empty(read), empty(read).float(), empty(share.own)[0]
    )


@pytest.mark.parametrize("sharpness", [1.0, 30.0, 300.0])
@pytest.mark.parametrize("row", [0, 7])
def test_attention_however_sharp(sharpness: float, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_model.attention._SCORES", 1)
    monkeypatch.setattr("uamp_model.attention.FEWEST_ROWS", 3)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, length, width) for length, width in ((10, 32), (40, 32), (40, 8)))
    q[1, row] *= sharpness  # in the first block of several, or in a later one
    with torch.inference_mode():
        found = average(q, k, v)
    torch.testing.assert_close(found, torch.nn.functional.scaled_dot_product_attention(q, k, v), rtol=1e-3, atol=1e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("objects", [1, 3, 24])
@pytest.mark.parametrize("width", [64, 256])
def test_attention_where_cudnn_attends(objects: int, width: int) -> None:
    place = torch.device("cuda")
    queries, length = 784, 7 * 784 + 64
    q, k, v = (
        torch.randn(*shape, device=place)
        for shape in ((1, queries, 256), (objects, length, 256), (objects, length, width))
    )
    k *= torch.linspace(0, 3, length, device=place).view(1, -1, 1)  # so that pieces differ in what they weigh
    exact = torch.nn.functional.scaled_dot_product_attention(q.double().expand(objects, -1, -1), k.double(), v.double())
    with inference(place, torch.bfloat16, plainly=False), steady_attention(place, one_shape=True):
        found = average(*(x.bfloat16() for x in (q, k, v)))
    assert float((found.double() - exact).norm() / exact.norm()) < 0.02
