from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Event, Thread

import pytest
import torch
from uamp_model import DeviceError
from uamp_model.devices import choose_device, choose_dtype, enough_memory, has_kernels, inference, steady_attention


def test_a_gpu_attends_without_cudnn_meanwhile_and_a_cpu_as_ever() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    with steady_attention(torch.device("cuda")):
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == before
    with steady_attention(torch.device("cpu")):
        assert torch.backends.cuda.cudnn_sdp_enabled() == before


@pytest.mark.parametrize(("version", "may"), [(91501, True), (91500, False), (None, False)])
def test_cudnn_may_attend_where_there_is_one_shape(
    version: int | None, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)
    with steady_attention(torch.device("cuda"), one_shape=True):
        assert torch.backends.cuda.cudnn_sdp_enabled() == may


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", torch.device("cuda"), image_size=448) == dtype


WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
"""What torch 2.15 from the registry is built for."""


@pytest.mark.parametrize(
    ("capability", "built_for", "computes"),
    [
        ((7, 0), WHEEL, False),  # V100
        ((6, 1), WHEEL, False),  # GTX 1080
        ((7, 5), WHEEL, True),
        ((8, 9), WHEEL, True),  # by what is built for 8.6
        ((9, 0), WHEEL, True),
        ((12, 1), WHEEL, True),
        ((13, 0), WHEEL, False),
        ((13, 0), [*WHEEL, "compute_120"], True),
        ((9, 0), ["sm_80", "sm_90a"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 4), ["gfx942"], True),
        ((8, 0), [], True),
    ],
)
def test_gpus_that_torch_has_kernels_for(capability: tuple[int, int], built_for: list[str], computes: bool) -> None:
    assert has_kernels(capability, built_for) == computes


def test_a_gpu_that_torch_has_no_kernels_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: WHEEL)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 0))
    assert choose_device("auto").type != "cuda"
    with pytest.raises(DeviceError, match=r"no kernels for Tesla V100, which has compute capability 7\.0.*use cpu"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 0))
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")


def track(device: torch.device) -> AbstractContextManager[None]:
    return inference(device, torch.float32, plainly=False)


@pytest.mark.parametrize(("kind", "waits"), [("cuda", True), ("cpu", False)])
@pytest.mark.parametrize("other_one", [track, steady_attention], ids=["tracking", "learning"])
def test_threads_take_turns_on_a_gpu(
    kind: str, waits: bool, other_one: Callable[[torch.device], AbstractContextManager[None]]
) -> None:
    entered, device = Event(), torch.device(kind)

    def enter() -> None:
        with other_one(device):
            entered.set()

    other = Thread(target=enter)
    with track(device), track(device):
        other.start()
        assert entered.wait(0.2 if waits else 10) != waits
    assert entered.wait(10)
    other.join()


def test_an_allocation_that_fails_says_what_to_do() -> None:
    with pytest.raises(DeviceError, match="Memory ran out on cpu: follow fewer objects"), track(torch.device("cpu")):
        torch.empty(2**50)
    for error in (torch.OutOfMemoryError("CUDA"), RuntimeError("MPS backend out of memory"), MemoryError()):
        with pytest.raises(DeviceError, match="another device"), enough_memory(torch.device("cpu")):
            raise error
    with pytest.raises(RuntimeError, match="shape"), enough_memory(torch.device("cpu")):
        torch.ones(2).view(3)
