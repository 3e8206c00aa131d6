import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import torch
from uamp_model.budget import SMALLEST_BUDGET
from uamp_model.layers import LayerSizes
from uamp_model.losses import LossWeights
from uamp_train.config import TrainConfig
from uamp_train.config_loading import OTHER_NAMES, dump_config, flat, load_config, parse_config
from uamp_train.config_table import config_table
from uamp_train.errors import ConfigError

SEED_KEYS = """
experiment_name: baseline
device: cpu
seed: 42
num_workers: 4
save_dir: runs
dataset: synthetic
dataset_root: data
batch_size: 2
num_frames: 8
image_size: 512
sam2_checkpoint: weights.pt
sam2_model_type: sam2_hiera_l
freeze_sam2_backbone: true
freeze_sam2_image_encoder: true
freeze_sam2_mask_decoder: false
lr: 1e-4
weight_decay: 0.05
num_epochs: 20
warmup_epochs: 2
lr_scheduler: cosine
optimizer: adamw
log_interval: 10
val_interval: 1
use_wandb: false
"""


def load(text: str, tmp_path: Path, *overrides: str, environment: dict[str, str] | None = None) -> TrainConfig:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_config(path, overrides, environment or {})


def test_the_established_keys_are_all_known(tmp_path: Path) -> None:
    config = load(SEED_KEYS, tmp_path)
    assert (config.lr, config.model_name, config.num_epochs) == (1e-4, "sam2_hiera_l", 20)


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    environment = {"UAMP_LR": "2e-4", "UAMP_SEED": "5", "UAMP_POOL__CLIPS": "7", "UAMP_CACHE": "x", "HOME": "y"}
    config = load("lr: 1e-4\nseed: 3\nbatch_size: 9\n", tmp_path, "lr=3e-4", environment=environment)
    assert (config.lr, config.seed, config.batch_size, config.pool.clips) == (3e-4, 5, 9, 7)
    assert config.num_frames == TrainConfig().num_frames


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "+1e-4", "0.0001", "1.e-4", "1.0e-04"])
def test_numbers_are_numbers(number: str, tmp_path: Path) -> None:
    assert load(f"lr: {number}", tmp_path).lr == 1e-4
    assert load("", tmp_path, f"lr={number}").lr == 1e-4


def test_nested_keys_and_list_items_can_be_set(tmp_path: Path) -> None:
    text = "stages:\n- {steps: 5, image_size: 64, num_frames: 2, batch_size: 1}\n"
    config = load(text, tmp_path, "stages.0.steps=7", "prompt_shares.mask=0", "pool.folder=elsewhere")
    assert (config.stages[0].steps, config.prompt_shares.mask, config.pool.folder) == (7, 0, Path("elsewhere"))


def test_what_is_dumped_is_read_back(tmp_path: Path) -> None:
    config = load(SEED_KEYS, tmp_path, "stages=[{steps: 5, image_size: 64, num_frames: 2, batch_size: 1}]")
    assert load(dump_config(config), tmp_path) == config


@pytest.mark.parametrize(
    ("text", "overrides", "says"),
    [
        ("learning: 1", (), "'learning'.*did you mean"),
        ("bach_size: 1", (), "'bach_size'.*'batch_size'"),
        ("learning_rte: 1", (), "'learning_rte'.*'lr'"),
        ("", ("learning_rate=1",), "'learning_rate'.*'lr'"),
        ("Epochs: 1", (), "'Epochs'.*'num_epochs'"),
        ("iterations: 1", (), "'iterations'.*'max_steps'"),
        ("pool: {clip: 3}", (), r"'pool\.clip'.*'pool\.clips'"),
        ("stages: [{step: 3}]", (), r"'stages\.0\."),
        ("lr: fast", (), "'lr' has a wrong value.*'fast'"),
        ("lr: -1", (), "'lr' has a wrong value.*greater than 0"),
        ("image_size: 100", (), "'image_size'.*multiple of 32"),
        ("image_size: 2080", (), "'image_size'.*2048"),
        ("val_image_size: 4096", (), "'val_image_size'.*2048"),
        ("optimizer: sgd", (), "'optimizer'.*'adamw'"),
        ("prompt_shares: {box: 0, point: 0, points: 0}", (), "'prompt_shares'.*cannot all be 0"),
        ("- 1", (), "must hold keys and values"),
        ("a: [", (), "not valid YAML"),
        ("a: &a [*a]", (), "not valid YAML: a value is nested too deeply or holds itself"),
        ("", ("layers=&a {hidden: *a}",), "cannot be used: circular reference"),
        ("a: " + "[" * 3000, (), "not valid YAML: a value is nested too deeply"),
        ("", ("lr=" + "[" * 3000,), "'lr' has a wrong value"),
        ("experiment_name: 2024-02-30", (), "not valid YAML: day is out of range"),
        ("2024-02-03: 1", (), "cannot be used: keys must be"),
        ("seed: 99999999999999999999999", (), "'seed' has a wrong value.*less than or equal to 18446744073709551615"),
        ("lr: .inf", (), "'lr' has a wrong value.*finite"),
        ("lr: 1e999", (), "'lr' has a wrong value.*finite"),
        ("weight_decay: .nan", (), "'weight_decay' has a wrong value.*finite"),
        ("", ("loss.dice=.inf",), r"'loss\.dice' has a wrong value.*finite"),
        ("", ("lr",), "key=value"),
        ("", ("lr.x=1",), "lr"),
        ("stages: []", ("stages.0.steps=1",), "stages.0.steps"),
    ],
)
def test_mistakes_are_told_in_one_sentence(text: str, overrides: tuple[str, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load(text, tmp_path, *overrides)
    assert "\n" not in str(caught.value)
    assert str(caught.value)[-1] in ".?"


def test_other_names_are_of_keys_that_there_are() -> None:
    assert OTHER_NAMES.keys() <= TrainConfig.model_fields.keys()
    assert not {name for names in OTHER_NAMES.values() for name in names} & TrainConfig.model_fields.keys()


def test_a_missing_file_is_named_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml \(No such file.*\): check the path; `uamp train --keys`"):
        load_config(tmp_path / "none.yaml", (), {})


def test_without_stages_the_plain_keys_make_one() -> None:
    config = parse_config({"num_epochs": 3, "batch_size": 4, "num_frames": 2, "image_size": 64})
    (stage,) = config.curriculum(clips=40, processes=2)
    assert (stage.steps, stage.batch_size, stage.num_frames, stage.image_size) == (15, 4, 2, 64)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("UAMP_LRR", "UAMP_LR"), ("UAMP_LEARNING_RATE", "UAMP_LR"), ("UAMP_POOLS__CLIPS", "UAMP_POOL__CLIPS")],
)
def test_a_mistyped_variable_is_not_passed_over(variable: str, meant: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{variable} is no training key: did you mean {meant}\\?"):
        load("", tmp_path, environment={variable: "3e-4"})
    assert load("", tmp_path, environment={"UAMP_CACHE": "x", "UAMP_TRIAL": "1"}) == load("", tmp_path)


@pytest.mark.parametrize(
    ("text", "overrides", "environment", "where"),
    [
        ("seed: 1\n\nbach_size: 1", (), {}, r"config\.yaml, line 3"),
        ("pool:\n  clips: 3\n  frames: many", (), {}, r"'pool\.frames'.*config\.yaml, line 3"),
        ("stages:\n- {steps: 1, image_size: 64,\n   num_frames: 2, batch_size: 0}", (), {}, r"config\.yaml, line 3"),
        ("stages:\n- {steps: 1,\n   image_size: 64}", (), {}, r"'stages\.0\..*config\.yaml, line 2"),
        ("seed: 1\nlr: 2", ("lr=fast",), {}, r"--set lr"),
        ("seed: 1\nlr: 2", (), {"UAMP_LR": "fast"}, "the variable UAMP_LR"),
        ("pool: {clips: -1}", ("pool={clips: -1}",), {}, r"'pool\.clips'.*--set pool"),
        ("seed: 1\ncache_features: true", (), {}, r"'cache_features' in .*config\.yaml, line 2 cannot be so"),
    ],
)
def test_mistakes_are_told_with_their_place(
    text: str, overrides: tuple[str, ...], environment: dict[str, str], where: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=where):
        load(text, tmp_path, *overrides, environment=environment)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'lr' is given twice.*line 3"):
        load("lr: 1\nseed: 2\nlr: 3", tmp_path)


@pytest.mark.parametrize("text", ["lr: true", "batch_size: '2'", "use_wandb: 1", "seed: 1.0", "val_sequences: bear"])
def test_values_of_another_type_are_not_bent(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has a wrong value"):
        load(text, tmp_path)


FROZEN = "freeze_sam2_backbone: true\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dataset: davis", "set dataset_root to its folder"),
        ("dataset: mix", "a mix needs the key mix"),
        ("dataset: davis\ndataset_root: d\nmix: {synthetic: 1}", "set dataset to mix"),
        ("dataset: mix\nmix: {synthetic: 1, davis: 1}", "davis lies on disk"),
        ("num_frames: 25", "'num_frames'.*line 1.*have 24 frames, so ask for 1 to 24, not 25"),
        ("pool: {frames: 8}\nstages: [{steps: 1, image_size: 32, num_frames: 9, batch_size: 1}]", "'stages'.*not 9"),
        ("val_sequences: [bear]", "'val_sequences'.*no sequence names"),
        ("train_sequences: [bear]", "'train_sequences'.*no sequence names"),
        ("dataset: davis\ndataset_root: d\ntrain_sequences: [a, b]\nval_sequences: [b]", "b is in train_sequences too"),
        ("cache_features: true\naugment: false", "set freeze_sam2_backbone to true"),
        (FROZEN + "cache_features: true", "set augment to false"),
        (
            FROZEN + "cache_features: true\naugment: false\nlayers: {adapter_encoder: true}",
            "set layers.adapter_encoder to false",
        ),
        (FROZEN + "cache_features: true\naugment: {crop: 0, affine: 0, colour: 0}", "set augment to false"),
        ("model: sam2.1-hiera-tiny\nsam2_model_type: sam2.1-hiera-large", "leave one of the two out"),
    ],
)
def test_what_cannot_go_together_is_said(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load(text, tmp_path)
    assert "\n" not in str(caught.value)


def test_what_can_go_together_is_taken(tmp_path: Path) -> None:
    assert load(FROZEN + "cache_features: true\naugment: false", tmp_path).cache_features
    flips = load(FROZEN + "cache_features: true\naugment: {crop: 0, affine: 0, colour: 0, grey: 0}", tmp_path)
    assert flips.augment.flip == 0.5
    assert load("num_frames: 25\naugment: false", tmp_path).num_frames == 25
    assert load("num_frames: 25\nstill_share: 1", tmp_path).num_frames == 25
    assert load("num_frames: 25\ndataset: davis\ndataset_root: d", tmp_path).num_frames == 25
    assert load("val_dataset_root: d\nval_sequences: [bear]", tmp_path).val_sequences == ("bear",)


def test_a_mix_in_short_and_written_out_are_the_same(tmp_path: Path) -> None:
    short = load("dataset: mix\nmix: {synthetic: 1, YouTube-VOS: 3}\ndataset_root: d", tmp_path)
    long = (
        "dataset: mix\nmix:\n- {dataset: synthetic, weight: 1}\n- {dataset: ytvos, weight: 3, root: e, split: valid}\n"
    )
    parts = load(long + "dataset_root: d", tmp_path).parts
    assert [(part.dataset, part.weight) for part in short.parts] == [("synthetic", 1), ("youtube_vos", 3)]
    assert [(part.root, part.split) for part in short.parts] == [(Path("d"), "train")] * 2
    assert [(part.root, part.split) for part in parts] == [(Path("d"), "train"), (Path("e"), "valid")]
    assert load(dump_config(short), tmp_path) == short


def test_one_augmentation_can_be_switched_off_and_all(tmp_path: Path) -> None:
    augment = load("augment: {crop: 0}", tmp_path).augment
    assert (augment.crop, augment.flip) == (0, 0.5)
    assert load("", tmp_path, "augment.flip=0.1").augment.flip == 0.1
    assert not load("augment: false", tmp_path).augment.is_endless
    assert load("augment: true", tmp_path).augment == TrainConfig().augment


def test_one_augmentation_can_be_set_beside_a_switch(tmp_path: Path) -> None:
    environment = {"UAMP_AUGMENT": "false"}
    flips = TrainConfig(augment=False).augment.model_copy(update={"flip": 0.5})
    assert load("augment: false", tmp_path, "augment.flip=0.5").augment == flips
    assert load("augment: {crop: 1}", tmp_path, "augment.flip=0.5", environment=environment).augment == flips
    assert load("", tmp_path, "augment=false", "augment.flip=0.5").augment == flips
    assert load("", tmp_path, environment={**environment, "UAMP_AUGMENT__FLIP": "0.5"}).augment == flips
    assert load("augment: true", tmp_path, "augment.crop=0").augment == load("augment: {crop: 0}", tmp_path).augment
    assert load("augment: {crop: 1}", tmp_path, "augment.crop=0", "augment=false").augment.flip == 0
    with pytest.raises(ConfigError, match=r"'augment\.flip' has a wrong value in --set augment\.flip"):
        load("augment: false", tmp_path, "augment.flip=2")


PATHS = {
    *("sam2_checkpoint", "uamp_checkpoint", "save_dir", "dataset_root", "val_dataset_root", "cache_folder"),
    *("pool.folder", "mix.0.root"),
}


def test_paths_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    text = "dataset: mix\nmix: [{dataset: davis, root: ~/x}]\npool: {folder: ~/x}\nexperiment_name: ~/x\n"
    tops = sorted(name for name in PATHS if "." not in name)
    by_file = load(text + "".join(f"{name}: ~/x\n" for name in tops), tmp_path)
    by_option = load(text, tmp_path, *(f"{name}=~/x" for name in tops))
    by_variable = load(text, tmp_path, environment={f"UAMP_{name.upper()}": "~/x" for name in tops})
    expected = {name: str(tmp_path / "x") for name in PATHS}
    for config in (by_file, by_option, by_variable):
        found = flat(config.model_dump(mode="json"))
        assert {name: found[name] for name in PATHS} == expected
        assert found["experiment_name"] == "~/x"
    assert load("save_dir: '~'", tmp_path).save_dir == tmp_path
    assert load("save_dir: a~/~", tmp_path).save_dir == Path("a~/~")
    assert {line.split("`")[1] for line in config_table().splitlines() if "| path |" in line} == {
        name.replace(".0.", "[].") for name in PATHS
    }


def test_the_largest_seed_is_torch_s(tmp_path: Path) -> None:
    largest = load(f"seed: {2**64 - 1}", tmp_path).seed
    with torch.random.fork_rng():
        torch.manual_seed(largest)
        with pytest.raises((ValueError, RuntimeError)):
            torch.manual_seed(largest + 1)


def test_defaults_that_uamp_model_has_too_are_the_same() -> None:
    """They are written out, since reading a configuration does not import torch."""
    assert TrainConfig().loss.model_dump() == asdict(LossWeights())
    widths = {field.name: field.default for field in fields(LayerSizes)}
    layers = TrainConfig().layers
    assert (layers.hidden, layers.adapter_rank) == (widths["hidden"], widths["rank"])
    assert layers.doubt_input == widths["doubt_input"]


def test_reading_a_configuration_does_not_import_torch() -> None:
    code = "import sys, uamp_train.config_loading, uamp_train.config_table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_smallest_budget_is_the_tracker_s() -> None:
    """The key's bound is written out, since reading a configuration does not import torch."""
    assert TrainConfig(memory_budget=SMALLEST_BUDGET).memory_budget == SMALLEST_BUDGET
    with pytest.raises(ValueError, match=r"greater than or equal to 0\.2"):
        TrainConfig(memory_budget=SMALLEST_BUDGET - 0.01)
