"""A tracker from its name; names, devices and precisions that are not there."""

from pathlib import Path

import numpy as np
import pytest
import torch
import uamp_model
from uamp_model import CheckpointError, DeviceError, InputError, Prompt, load_tracker
from uamp_model.devices import choose_device, choose_dtype


def test_nano_comes_with_the_package_and_follows_a_disc() -> None:
    """The bundled weights are trained: a striped disc that moves over a textured ground is kept."""
    tracker = load_tracker("nano", device="cpu")
    rng = np.random.default_rng(1)
    ground = rng.integers(60, 120, (24, 24, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    y, x = np.mgrid[:192, :192]
    session, overlaps = tracker.start(), []
    for t in range(8):
        disc = (y - 90) ** 2 + (x - 60 - 4 * t) ** 2 < 40**2
        frame = ground.copy()
        frame[disc] = (230, 60, 40)
        frame[disc & ((x - 4 * t) // 10 % 2 == 0)] = (240, 200, 60)
        result = session.step(frame, {1: Prompt.mask(disc)} if t == 0 else None)
        mask = result.masks[0].numpy()
        overlaps.append((mask & disc).sum() / (mask | disc).sum())
    assert min(overlaps) > 0.7


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(InputError, match="nano"):
        load_tracker("nanno")
    with pytest.raises(InputError, match="sam2"):
        load_tracker("nano", memory="sam3")
    with pytest.raises(InputError, match="samurai"):
        load_tracker("nano", memory="samuray")
    with pytest.raises(InputError, match="no model called None"):
        load_tracker(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Unknown memory setting None"):
        load_tracker("nano", memory=None)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        load_tracker("nano", uamp_checkpoint="x.safetensors")


def test_what_is_exact_by_itself() -> None:
    """A share of the memory is nothing the package's predictor reads, and the exact form of it takes longer."""
    assert load_tracker("nano", device="cpu", precision="fp32").exact
    assert not load_tracker("nano", device="cpu", precision="fp32", memory_budget=0.5).exact
    assert load_tracker("nano", device="cpu", precision="fp32", memory_budget=0.5, exact=True).exact


def test_an_input_side_may_be_any_whole_number() -> None:
    assert load_tracker("nano", device="cpu", image_size=np.int64(64)).image_size == 64  # type: ignore[arg-type]


def test_the_package_lists_its_names() -> None:
    assert set(uamp_model.__all__) <= set(dir(uamp_model))


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pt"):
        load_tracker("nano", checkpoint=tmp_path / "absent.pt")


def test_the_input_can_be_larger_and_smaller() -> None:
    """The same weights read frames of another side, in a session as well."""
    own, small = load_tracker("nano", device="cpu"), load_tracker("nano", device="cpu", image_size=256)
    assert (own.image_size, small.image_size) == (448, 256)
    assert all(torch.equal(w, small.model.state_dict()[name]) for name, w in own.model.state_dict().items())
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:60] = True
    session = small.start()
    frame = np.where(mask[..., None], 255, np.uint8(30)).astype(np.uint8).repeat(3, axis=2)
    assert session.step(frame, {1: Prompt.mask(mask)}).masks.shape == (1, 60, 80)
    assert (session.step(frame).masks[0].numpy() & mask).sum() > 0.8 * mask.sum()


@pytest.mark.parametrize("side", [0, -32, 100, 4096, "448", 448.0])
def test_sides_that_no_model_reads_are_named(side: int) -> None:
    with pytest.raises(InputError, match=f"{side} must be a multiple of 32, 2048 at most"):
        load_tracker("nano", image_size=side)


def test_devices_that_are_not_there_are_named() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="Unknown device"):
        choose_device("gpu9")
    if not torch.cuda.is_available():
        assert choose_device("auto").type in ("cpu", "mps")
        with pytest.raises(DeviceError, match="cpu"):
            choose_device("cuda")


def test_precision_follows_the_wish() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype("fp32", cpu, image_size=1024) == torch.float32
    assert choose_dtype("bf16", cpu, image_size=256) == torch.bfloat16
    assert choose_dtype("auto", cpu, image_size=256) == torch.float32
    with pytest.raises(InputError, match="precision"):
        choose_dtype("fp8", cpu, image_size=256)  # type: ignore[arg-type]


def test_bfloat16_gives_nearly_the_masks_of_float32() -> None:
    rng = np.random.default_rng(2)
    frames = [rng.integers(0, 255, (80, 96, 3), dtype=np.uint8) for _ in range(3)]
    region = np.zeros((80, 96), bool)
    region[20:60, 20:60] = True
    masks = []
    for precision in ("fp32", "bf16"):
        session = load_tracker("nano", device="cpu", precision=precision).start()
        session.step(frames[0], {1: Prompt.mask(region)})
        masks.append(session.step(frames[1]).logits)
    agreement = ((masks[0] > 0) == (masks[1] > 0)).float().mean()
    assert float(agreement) > 0.97
