"""The fast forms of image encoder and mask decoder are the plain ones, up to rounding."""

import pytest
import torch
from uamp_model.forms import FAST, Forms
from uamp_model.hiera import trunk_levels
from uamp_model.sam2 import ImageFeatures, Sam2, build_model, decode_masks, encode_image

MODELS = ["nano", "sam2-hiera-tiny", "sam2.1-hiera-tiny"]


def built(name: str, size: int) -> Sam2:
    """A model whose small tables, which start at zero, are random like all of it."""
    torch.manual_seed(0)
    model = build_model(name, image_size=size)
    with torch.no_grad():
        for table in (model.image_encoder.trunk.pos_embed, model.image_encoder.trunk.pos_embed_window):
            table.normal_(std=0.1)
    return model


@pytest.mark.parametrize("name", [*MODELS, "sam2.1-hiera-base-plus"])
@pytest.mark.parametrize("size", [128, 224])
@pytest.mark.parametrize("fused", [False, True], ids=["products", "fused"])
def test_image_features(name: str, size: int, fused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_model.hiera.mkl_is_wide", lambda: fused)
    model, images = built(name, size), torch.randn(2, 3, size, size)
    with torch.inference_mode():
        plain, fast = (encode_image(model, images, fast=fast_form) for fast_form in (None, FAST))
    for level in ("stride16", "stride8", "stride4", "position"):
        torch.testing.assert_close(getattr(fast, level), getattr(plain, level), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", [None, FAST])
def test_more_images_than_a_kernel_takes(form: Forms | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = built("nano", 64), torch.randn(5, 3, 64, 64)
    with torch.inference_mode():
        whole = encode_image(model, images, fast=form)
        monkeypatch.setattr("uamp_model.sam2.MOST_WINDOWS", 8)  # two images of four windows each
        parted = encode_image(model, images, fast=form)
    for level in ("stride16", "stride8", "stride4", "position"):
        torch.testing.assert_close(getattr(parted, level), getattr(whole, level), rtol=1e-4, atol=1e-5)


def test_attention_over_the_whole_image_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_model.hiera._WHOLE_SCORES", 1)
    monkeypatch.setattr("uamp_model.hiera.mkl_is_wide", lambda: False)
    trunk, images = built("sam2.1-hiera-tiny", 128).image_encoder.trunk, torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        for fast, plain in zip(trunk_levels(trunk, images), trunk(images), strict=True):
            torch.testing.assert_close(fast.permute(0, 3, 1, 2), plain, rtol=1e-3, atol=1e-4)


def seen(model: Sam2, objects: int, *, one_image: bool) -> tuple[torch.Tensor, ImageFeatures]:
    cells, width = model.image_size // 16, model.hidden_dim
    images = 1 if one_image else objects
    features = ImageFeatures(
        torch.randn(images, width, cells, cells),
        torch.randn(images, width // 4, 2 * cells, 2 * cells),
        torch.randn(images, width // 8, 4 * cells, 4 * cells),
        torch.randn(1, width, cells, cells),
    )
    return torch.randn(objects, width, cells, cells), features.expand(objects) if one_image else features


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("one_image", [False, True])
@pytest.mark.parametrize("prompted", ["not", "points", "points and mask"])
def test_masks(name: str, multimask: bool, one_image: bool, prompted: str) -> None:
    model = built(name, 64)
    conditioned, features = seen(model, 3, one_image=one_image)
    points = None if prompted == "not" else (64 * torch.rand(3, 2, 2), torch.tensor([[1, 0]] * 3))
    start = torch.randn(3, 1, 16, 16) if "mask" in prompted else None
    with torch.inference_mode():
        plain, fast = (
            decode_masks(model, conditioned, features, points, start, multimask=multimask, fast=fast_form)
            for fast_form in (None, FAST)
        )
    for part in ("hypotheses", "ious", "presence", "tokens"):
        assert getattr(fast, part).shape == getattr(plain, part).shape
        torch.testing.assert_close(getattr(fast, part), getattr(plain, part), rtol=1e-3, atol=1e-4)


def test_bfloat16() -> None:
    model, images = built("nano", 128), torch.randn(1, 3, 128, 128)
    conditioned, given = seen(model, 2, one_image=True)
    with torch.inference_mode():
        features = encode_image(model, images)
        masks = decode_masks(model, conditioned, given, None, None, multimask=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            encoded = [encode_image(model, images, fast=fast_form).stride16 for fast_form in (None, FAST)]
            decoded = [
                decode_masks(model, conditioned, given, None, None, multimask=True, fast=fast_form).hypotheses
                for fast_form in (None, FAST)
            ]
    for truth, (plain, fast) in ((features.stride16, encoded), (masks.hypotheses, decoded)):
        off, plain_off = ((found.float() - truth).abs().mean() for found in (fast, plain))
        assert off < 1.5 * plain_off
