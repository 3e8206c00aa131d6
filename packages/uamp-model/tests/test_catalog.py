import dataclasses
import re
from importlib.resources import files

import pytest
from omegaconf import OmegaConf
from uamp_model.catalog import MODELS, ModelSpec, find_model
from uamp_model.errors import InputError
from uamp_model.sam2 import build_model

OFFICIAL = [spec for spec in MODELS.values() if not spec.bundled]


def test_eight_official_models_and_one_bundled() -> None:
    assert {spec.name for spec in OFFICIAL} == {
        f"{family}-hiera-{size}" for family in ("sam2", "sam2.1") for size in ("tiny", "small", "base-plus", "large")
    }
    assert [spec.name for spec in MODELS.values() if spec.bundled] == ["nano"]


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_the_configuration_exists_and_says_what_the_catalog_says(spec: ModelSpec) -> None:
    home = files("uamp_model" if spec.bundled else "sam2")
    model = OmegaConf.create(home.joinpath(spec.config).read_text(encoding="utf-8")).model
    trunk = model.image_encoder.trunk
    assert model.image_size == spec.image_size
    # Hiera's own defaults, where a configuration leaves them out
    assert trunk.get("embed_dim", 96) == spec.trunk_width
    assert sum(trunk.get("stages", [2, 3, 16, 3])) == spec.trunk_blocks
    assert bool(model.get("no_obj_embed_spatial", False)) == (not spec.name.startswith("sam2-"))


@pytest.mark.parametrize("name", ["nano", "sam2.1-hiera-tiny", "sam2-hiera-tiny"])
def test_parameters_are_counted_right(name: str) -> None:
    assert sum(value.numel() for value in build_model(name).parameters()) == find_model(name).parameters


@pytest.mark.parametrize("spec", OFFICIAL, ids=lambda spec: spec.name)
def test_published_files_are_described_in_full(spec: ModelSpec) -> None:
    published = "092824" if spec.name.startswith("sam2.1") else "072824"
    assert spec.url == f"https://dl.fbaipublicfiles.com/segment_anything_2/{published}/{spec.checkpoint}"
    assert spec.sha256 is not None
    assert re.fullmatch("[0-9a-f]{64}", spec.sha256)
    # four bytes a weight, a little more for names and framing
    assert spec.size_bytes is not None
    assert 1.0 < spec.size_bytes / (4 * spec.parameters) < 1.01


def test_digests_and_addresses_are_all_different() -> None:
    assert len({spec.sha256 for spec in OFFICIAL}) == len({spec.url for spec in OFFICIAL}) == len(OFFICIAL)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("nano", "nano"),
        ("NANO", "nano"),
        ("nano.safetensors", "nano"),
        ("sam2_hiera_l", "sam2-hiera-large"),
        ("sam2_hiera_large", "sam2-hiera-large"),
        ("sam2.1_hiera_b+", "sam2.1-hiera-base-plus"),
        ("sam2.1_hiera_b+.yaml", "sam2.1-hiera-base-plus"),
        ("sam2.1_hiera_base_plus", "sam2.1-hiera-base-plus"),
        ("sam2.1_hiera_base_plus.pt", "sam2.1-hiera-base-plus"),
        ("SAM2.1-Hiera_Small", "sam2.1-hiera-small"),
        ("facebook/sam2.1-hiera-large", "sam2.1-hiera-large"),
        ("configs/sam2.1/sam2.1_hiera_t.yaml", "sam2.1-hiera-tiny"),
        (" sam2-hiera-tiny ", "sam2-hiera-tiny"),
    ],
)
def test_every_spelling_finds_its_model(spelling: str, name: str) -> None:
    assert find_model(spelling) is MODELS[name]


@pytest.mark.parametrize(
    ("spelling", "near"),
    [
        ("sam2.1-hiera-larg", "sam2.1-hiera-large"),
        ("sam2.1-tiny", "sam2.1-hiera-tiny"),
        ("nanno", "nano"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(spelling: str, near: str) -> None:
    with pytest.raises(InputError, match=f"choose one of {re.escape(near)}, "):
        find_model(spelling)


@pytest.mark.parametrize("spelling", ["", "/", "vit_h_of_something_else"])
def test_a_name_like_none_is_told_all(spelling: str) -> None:
    with pytest.raises(InputError) as raised:
        find_model(spelling)
    assert "nano" in str(raised.value)
    assert "sam2.1-hiera-large" in str(raised.value)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MODELS["nano"].name = "other"  # type: ignore[misc]
