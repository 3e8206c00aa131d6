"""Cached image features: the same steps with and without what is on disk already, and nothing stale."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from uamp_train.batches import Batch, ClipSource, Place, make_batch, prefetch
from uamp_train.checkpoint import load_state
from uamp_train.config import TrainConfig
from uamp_train.errors import ConfigError
from uamp_train.feature_store import FeatureStore
from uamp_train.learner import Learner
from uamp_train.loop import make_accelerator, train
from uamp_train.resume import begin

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def cached(tiny: MakeConfig, tmp_path: Path) -> MakeConfig:
    """Makes configurations that train the layers on cached features."""
    return lambda **values: tiny(
        **{
            "freeze_sam2_backbone": True,
            "cache_features": True,
            "cache_folder": str(tmp_path / "features"),
            "augment": False,
            "still_share": 0.0,
            "stages": [{"steps": 2, "image_size": 32, "num_frames": 2, "batch_size": 1}],
            **values,
        }
    )


def begun(config: TrainConfig) -> Learner:
    frozen, state = begin(config, resume=False, processes=1)
    return Learner(config, config.stages[0], frozen, state, make_accelerator(config))


def prepared(config: TrainConfig, blobs: ClipSource, learner: Learner) -> Batch:
    return next(prefetch(blobs, config, config.stages[0], [Place(0)], learner.store))[1]


def test_features_are_those_of_the_encoder_and_found_again(cached: MakeConfig, blobs: ClipSource) -> None:
    config = cached()
    learner = begun(config)
    batch = prepared(config, blobs, learner)
    assert [frame.levels for frame in batch.stored] == [None, None]
    plain = learner.module.follow(batch)
    features = learner._features(batch)
    assert features is not None
    from_cache = learner.module.follow(batch, features)
    for one, other in zip(plain, from_cache, strict=True):
        assert torch.allclose(one.hypotheses, other.hypotheses, atol=0.05)
    again = begun(config)
    found = prepared(config, blobs, again)
    assert all(frame.levels is not None for frame in found.stored)
    same = again._features(found)
    assert same is not None
    for level in ("stride16", "stride8", "stride4", "position"):
        assert torch.equal(getattr(features, level), getattr(same, level)), level


def test_a_warm_cache_changes_no_bit_of_a_run(cached: MakeConfig, blobs: ClipSource) -> None:
    cold = load_state(train(cached(experiment_name="cold"), blobs))
    warm = load_state(train(cached(experiment_name="warm", num_workers=2), blobs))
    assert all(torch.equal(cold.model[name], warm.model[name]) for name in cold.model)


def test_a_damaged_file_is_computed_and_written_again(cached: MakeConfig, blobs: ClipSource) -> None:
    config = cached()
    learner = begun(config)
    learner._features(prepared(config, blobs, learner))
    assert learner.store is not None
    files = sorted(learner.store.folder.rglob("*.safetensors"))
    assert len(files) == 2
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:100])
    batch = prepared(config, blobs, learner)
    assert sum(frame.levels is None for frame in batch.stored) == 1
    learner._features(batch)
    assert files[0].read_bytes() == whole


def test_each_encoder_size_and_precision_has_its_own_folder(tmp_path: Path) -> None:
    known = {"encoder": "a", "image_size": "64", "precision": "fp32"}
    changes: list[dict[str, str]] = [{}, {"encoder": "b"}, {"image_size": "96"}, {}]
    stores = [FeatureStore(tmp_path, {**known, **change}) for change in changes]
    assert len({store.folder for store in stores}) == 3
    image = torch.zeros(1, 1, 3, 4, 4, dtype=torch.uint8)
    (missing,) = stores[0].look_up(image)
    levels = {level: torch.ones(1, 1, 1, 1).half() for level in ("stride16", "stride8", "stride4")}
    stores[0].keep(missing.key, levels)
    (kept,) = stores[0].folder.glob("*/*.safetensors")
    assert kept.stat().st_mode == (stores[0].folder / "features.json").stat().st_mode  # others may read it, too
    assert stores[3].look_up(image)[0].levels is not None
    assert stores[1].look_up(image)[0].levels is None
    assert stores[0].look_up(image + 1)[0].levels is None


def test_a_cache_that_cannot_be_written_is_one_sentence_or_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cache_folder"):
        FeatureStore(tmp_path / "file", {})
    store = FeatureStore(tmp_path / "features", {})
    (store.folder / "ab").write_text("in the way of a folder")
    store.keep("ab12", {})
    assert "No more features are cached" in caplog.text


def test_batches_without_a_store_carry_nothing(cached: MakeConfig, blobs: ClipSource) -> None:
    assert make_batch(blobs, cached(), cached().stages[0], Place(0)).stored == ()
