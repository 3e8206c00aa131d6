from collections.abc import Callable
from pathlib import Path

import pytest
from uamp_train.batches import ClipSource
from uamp_train.config import TrainConfig
from uamp_train.errors import ConfigError
from uamp_train.loop import train
from uamp_train.progress import MetricsFile
from uamp_train.resume import differences

MakeConfig = Callable[..., TrainConfig]


def test_what_changes_learning_is_told(tiny: MakeConfig) -> None:
    before = tiny().model_dump(mode="json")
    assert differences(before, tiny()) == []
    stage = {"steps": 3, "image_size": 32, "num_frames": 2, "batch_size": 2}
    changed = differences(before, tiny(lr=0.5, pool={"clips": 7}, stages=[stage, stage]))
    assert changed[:3] == ["pool.clips is 7, was 400", "stages.0.image_size is 32, was 64", "lr is 0.5, was 0.001"]
    assert "stages.1.image_size is 32, was absent" in changed


def test_how_long_how_often_and_where_may_change(tiny: MakeConfig) -> None:
    before = tiny().model_dump(mode="json")
    stages = [{**before["stages"][0], "steps": 9}]
    values = {"num_epochs": 9, "max_steps": 7, "log_interval": 3, "save_interval": 2, "val_interval": 1}
    folders = {"pool": {"folder": "elsewhere"}, "cache_folder": "elsewhere"}
    assert differences(before, tiny(stages=stages, num_workers=4, use_tensorboard=True, **values, **folders)) == []


ON_DISK = {"dataset": "davis", "dataset_root": "DAVIS"}


@pytest.mark.parametrize(("was", "now"), [(0, 1), (2, 0)])
def test_validation_is_not_switched_where_it_decides_what_is_trained_on(tiny: MakeConfig, was: int, now: int) -> None:
    def told(**values: object) -> list[str]:
        return differences(tiny(val_interval=was, **values).model_dump(mode="json"), tiny(val_interval=now, **values))

    assert told(**ON_DISK) == [f"val_interval is {now}, was {was}, and with 0 no sequence is held out"]
    assert told(dataset="mix", mix={"synthetic": 1, "davis": 1}, dataset_root="DAVIS") != []
    assert told(**ON_DISK, val_sequences=["bear"]) == told(**ON_DISK, val_dataset_root="other") == told() == []


def test_validation_may_become_rarer(tiny: MakeConfig) -> None:
    assert differences(tiny(val_interval=1, **ON_DISK).model_dump(mode="json"), tiny(val_interval=5, **ON_DISK)) == []


def test_a_key_that_is_newer_than_the_checkpoint_had_its_usual_value(tiny: MakeConfig) -> None:
    before = tiny().model_dump(mode="json")
    del before["cache_features"], before["ema_decay"]
    assert differences(before, tiny()) == []
    assert differences(before, tiny(ema_decay=0.5)) == ["ema_decay is 0.5, was 0.999"]


def test_a_run_with_other_settings_is_not_resumed(tiny: MakeConfig, blobs: ClipSource) -> None:
    train(tiny(max_steps=1), blobs)
    with pytest.raises(ConfigError, match=r"seed is 3, was 0, lr is 0.5, was 0.001"):
        train(tiny(lr=0.5, seed=3), blobs, resume=True)


def test_a_long_run_finds_its_rows_by_whole_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path, 0)
    for step in (999_999, 1_000_000, 1_234_567, 1_234_568):
        file.append({"step": step, "loss": 1 / 3})
    MetricsFile(path, 1_234_567)
    rows = [row.split(",") for row in path.read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["999999", "1000000", "1234567"]
    assert {row[5] for row in rows} == {"0.333333"}
