import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from uamp_model.checkpoint import load_into, load_state_dict, read_metadata, save_state_dict
from uamp_model.errors import CheckpointError
from uamp_model.sam2 import build_model


def small_state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(4, 3, generator=generator),
        "a.bias": torch.randn(4, generator=generator),
        "steps": torch.tensor(7),
    }


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def write_official(path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"model": state}, path)


def write_training(path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"epoch": 3, "model": state, "optimizer": {"lr": 0.1}}, path)


def write_plain(path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, path)


def write_old(path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


def write_safetensors(path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, path)


WRITERS = [write_official, write_training, write_plain, write_old, write_safetensors]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["weights.pt", "weights"])
def test_every_kind_of_file_is_read_whatever_its_name(
    write: Callable[[Path, dict[str, Tensor]], None], name: str, tmp_path: Path
) -> None:
    state = small_state()
    write(tmp_path / name, state)
    assert same(load_state_dict(tmp_path / name), state)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("write", [write_official, write_safetensors])
def test_floats_are_read_as_float32(
    stored: torch.dtype, write: Callable[[Path, dict[str, Tensor]], None], tmp_path: Path
) -> None:
    state = {name: value.to(stored) if value.is_floating_point() else value for name, value in small_state().items()}
    write(tmp_path / "weights", state)
    loaded = load_state_dict(tmp_path / "weights")
    assert loaded["a.weight"].dtype == torch.float32
    assert torch.equal(loaded["a.weight"], state["a.weight"].float())
    assert loaded["steps"].dtype == torch.int64


class Malicious:
    """Runs a command when it is unpickled by anything that runs what a pickle asks for."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("way", ["pickle", "torch", "torch old", "inside model"])
def test_code_in_a_checkpoint_is_refused_and_not_run(way: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = tmp_path / "weights.pt"
    bomb = Malicious(proof)
    if way == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    elif way == "inside model":
        torch.save({"model": {**small_state(), "extra": bomb}}, path)
    else:
        torch.save(bomb, path, _use_new_zipfile_serialization=way == "torch")
    with pytest.raises(CheckpointError, match="might run code, so it was not loaded"):
        load_state_dict(path)
    assert not proof.exists()


def test_the_same_bomb_does_go_off_elsewhere(tmp_path: Path) -> None:
    """Without this, the test above could pass because its bomb is a dud."""
    proof = tmp_path / "proof"
    pickle.loads(pickle.dumps(Malicious(proof)))
    assert proof.exists()


@pytest.mark.parametrize(
    "content",
    [b"Not Found\n", b"<html>" * 100, b"\x00" * 100, b"{}", b"PK\x03\x04" + b"x" * 50, b"\x80\x02", bytes(range(256))],
)
def test_what_is_no_checkpoint_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as raised:
        load_state_dict(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")


def test_an_empty_file_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.touch()
    with pytest.raises(CheckpointError, match="is empty"):
        load_state_dict(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load_state_dict(tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_state_dict(tmp_path)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(
    write: Callable[[Path, dict[str, Tensor]], None], share: float, tmp_path: Path
) -> None:
    path = tmp_path / "weights"
    write(path, {"weight": torch.ones(50, 50)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"damaged|incomplete"):
        load_state_dict(path)


@pytest.mark.parametrize("content", [{}, {"model": 3}, {"weight": [1, 2]}, {1: torch.ones(1)}, torch.ones(3), [1]])
def test_other_contents_are_not_weights(content: object, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not a file of weights"):
        load_state_dict(path)


def test_weights_go_into_their_model(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = build_model("nano")
    torch.manual_seed(2)
    second = build_model("nano")
    write_official(tmp_path / "nano.pt", first.state_dict())
    load_into(second, load_state_dict(tmp_path / "nano.pt"), source="nano.pt")
    assert same(second.state_dict(), first.state_dict())


def test_weights_of_another_model_are_recognised() -> None:
    model = build_model("nano")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as raised:
        load_into(model, build_model("sam2.1-hiera-small").state_dict(), source="small.pt")
    message = str(raised.value)
    assert message.startswith("small.pt is not a checkpoint of nano: ")
    assert "it looks like one of sam2.1-hiera-small" in message
    assert "\n" not in message
    assert same(model.state_dict(), before)


def test_the_two_families_are_told_apart() -> None:
    with pytest.raises(
        CheckpointError, match=r"not a checkpoint of sam2.1-hiera-tiny.*looks like one of sam2-hiera-tiny"
    ):
        load_into(build_model("sam2.1-hiera-tiny"), build_model("sam2-hiera-tiny").state_dict(), source="tiny.pt")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s: s.pop("a.bias"), r"1 weights are missing \(such as a.bias\)"),
        (lambda s: s.update(more=torch.ones(1)), r"1 weights are unknown \(such as more\)"),
        (lambda s: s.update({"a.bias": torch.ones(5)}), r"1 weights are of another shape \(such as a.bias\)"),
    ],
)
def test_every_mismatch_is_named_and_nothing_is_copied(
    change: Callable[[dict[str, Tensor]], object], what: str
) -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 4)})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: torch.zeros_like(value) for name, value in before.items()}
    change(state)
    with pytest.raises(CheckpointError, match=f"is not a checkpoint of this model: {what}; pass another one"):
        load_into(model, state, source="file.pt")
    assert same(model.state_dict(), before)


def test_saved_weights_come_back_with_their_metadata(tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.safetensors"
    shared = torch.arange(12.0)
    tensors = {"whole": shared, "part": shared[:4], "turned": shared.view(3, 4).T, "half": torch.ones(3).half()}
    save_state_dict(path, tensors, {"base": "nano"})
    assert read_metadata(path) == {"base": "nano"}
    assert same(load_state_dict(path), {name: value.float() for name, value in tensors.items()})
    assert [file.name for file in path.parent.iterdir()] == ["weights.safetensors"]


def test_saved_weights_may_be_read_by_whom_other_new_files_may(tmp_path: Path) -> None:
    save_state_dict(tmp_path / "a.safetensors", {"a": torch.ones(1)})
    (tmp_path / "b.txt").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_state_dict(path, {"a": torch.ones(1)})
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_state_dict(path / "inside", {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_state_dict(tmp_path, {"a": torch.zeros(1)})
    assert torch.equal(load_state_dict(path)["a"], torch.ones(1))
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    link, path = tmp_path / "link.safetensors", tmp_path / "weights.safetensors"
    link.symlink_to(path)
    save_state_dict(link, {"a": torch.ones(1)})
    assert link.is_symlink()
    assert torch.equal(load_state_dict(path)["a"], torch.ones(1))
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_state_dict(tmp_path / "round", {"a": torch.ones(1)})


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_pipe_is_not_replaced_by_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=r"cannot be written.*what is there is no file"):
        save_state_dict(tmp_path / "pipe", {"a": torch.ones(1)})


def test_metadata_is_read_whatever_the_file_is_called_and_a_damaged_one_refused(tmp_path: Path) -> None:
    write_plain(tmp_path / "weights.safetensors", small_state())
    assert read_metadata(tmp_path / "weights.safetensors") == {}
    save_state_dict(tmp_path / "weights.pt", small_state(), {"made": "here"})
    assert read_metadata(tmp_path / "weights.pt") == {"made": "here"}
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "weights.pt").read_bytes()[:-1])
    for name in ("cut.safetensors", "gone.safetensors"):
        with pytest.raises(CheckpointError, match=f"{name} is damaged or incomplete"):
            read_metadata(tmp_path / name)
