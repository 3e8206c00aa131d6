import torch
from uamp_model.devices import steady_attention


def test_a_gpu_attends_without_cudnn_meanwhile_and_a_cpu_as_ever() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    with steady_attention(torch.device("cuda")):
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == before
    with steady_attention(torch.device("cpu")):
        assert torch.backends.cuda.cudnn_sdp_enabled() == before


def test_cudnn_may_attend_where_there_is_one_shape() -> None:
    with steady_attention(torch.device("cuda"), one_shape=True):
        assert torch.backends.cuda.cudnn_sdp_enabled()
