"""`uamp train` on small real data sets: nano's own weights, tiny pictures, few steps."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from evaluation_trees import FRAMES, SIZE, make_davis, make_video, make_youtube
from uamp_cli.train_data import VALIDATION_CLIPS, open_data
from uamp_cli.train_validation import Validation, score_table
from uamp_data.clip_sequence import ClipSequence
from uamp_data.errors import DataError
from uamp_data.masks import write_mask
from uamp_data.pool import ClipPool
from uamp_data.synthetic import FAMILIES
from uamp_data.training_clips import MixedClips, TrainingClips
from uamp_model import load_tracker
from uamp_model.catalog import MODELS
from uamp_model.errors import InputError
from uamp_train.checkpoint import LAST, load_state
from uamp_train.config import Family, TrainConfig
from uamp_train.config_loading import load_config, parse_config
from uamp_train.config_table import config_table
from uamp_train.weights import initial_module, weights_of

Run = Callable[..., Any]
ROOT = Path(__file__).parents[3]
SEED_KEYS = {
    *("experiment_name", "device", "seed", "num_workers", "save_dir", "dataset", "dataset_root", "batch_size"),
    *("num_frames", "image_size", "sam2_checkpoint", "sam2_model_type", "freeze_sam2_backbone"),
    *("freeze_sam2_image_encoder", "freeze_sam2_mask_decoder", "lr", "weight_decay", "num_epochs", "warmup_epochs"),
    *("lr_scheduler", "optimizer", "log_interval", "val_interval", "use_wandb"),
}
SMALL = """
experiment_name: small
freeze_sam2_backbone: true
device: cpu
threads: 1
dataset: davis
dataset_root: DAVIS
batch_size: 2
num_frames: 2
image_size: 64
val_image_size: 64
val_interval: 1
num_epochs: 2
log_interval: 1
prompt_shares: {mask: 1, box: 0.01, point: 0, points: 0}
layers: {hidden: 16}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A configuration and the DAVIS tree that it names, with three training sequences."""
    make_davis(tmp_path / "DAVIS", {"camel": 1, "dogs": 2, "goat": 1}, split="train")
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path / "small.yaml"


def settings(**values: object) -> TrainConfig:
    return parse_config({**yaml.safe_load(SMALL), **values})


def names(clips: object) -> tuple[str, ...]:
    assert isinstance(clips, TrainingClips)
    return clips.names


def test_layers_are_trained_on_davis_validated_resumed_and_loaded(
    run: Run, small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ("--set", "val_sequences=[goat]", "--set", "save_interval=1")
    first = run("train", "--config", small, *options, "--set", "max_steps=1")
    assert first.code == 0, first
    folder = small.parent / "runs" / "small"
    assert f"--uamp-checkpoint {Path('runs/small/uamp_finetuned.safetensors')}" in first.out
    second = run("train", "--config", small, *options, "--set", "max_steps=0", "--resume")
    assert second.code == 0, second

    text = [record.getMessage() for record in caplog.records]
    assert "Validating on 1 sequences held out: goat" in text
    assert any("Training on 2 sequences of davis" in line for line in text)
    table = text[text.index("Validation at step 2, 1 sequences held out") :][1:5]
    assert [row.split()[0] for row in table] == ["memory", "uamp", "sam2", "samurai"]
    assert all(0 <= float(value) <= 100 for row in table[1:] for value in row.split()[1:])
    with (folder / "metrics.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2"]
    resolved = load_config(folder / "config.yaml", (), {})
    assert resolved == load_config(small, ["val_sequences=[goat]", "save_interval=1"], {})
    tracker = load_tracker("nano", uamp_checkpoint=folder / "uamp_finetuned.safetensors", memory="uamp", device="cpu")
    assert tracker.layers is not None


def test_what_cannot_be_trained_is_said_in_one_sentence(run: Run, small: Path) -> None:
    def refused(*options: str) -> str:
        arguments = [part for option in options for part in ("--set", option)]
        sentence: str = run("train", "--config", small, *arguments).refused()
        assert not (small.parent / "runs").exists()
        return sentence

    one = small.parent / "one"
    make_video(one / "JPEGImages" / "still", one / "Annotations" / "still", 1, annotated=[0])
    assert "nowhere does not exist: check the path" in refused("dataset_root=nowhere")
    assert "There is no sequence 'goet' in the training data; did you mean goat?" in refused("val_sequences=[goet]")
    assert "still has 1 annotated frame" in refused("dataset=folders", f"dataset_root={one}")
    assert "no sequence to train on" in refused("val_sequences=[camel, dogs, goat]")
    assert "'bach_size' in --set bach_size: did you mean 'batch_size'" in refused("bach_size=1")
    assert "missing.yaml" in run("train", "--config", "missing.yaml").refused()


def test_what_is_wrong_with_a_run_is_said_before_a_pool_is_built(run: Run, tmp_path: Path) -> None:
    (tmp_path / "generated.yaml").write_text(SMALL.replace("dataset: davis", "pool: {clips: 1, frames: 3, size: 32}"))
    begun = tmp_path / "runs" / "begun" / "last.safetensors"
    begun.parent.mkdir(parents=True)
    begun.touch()

    def refused(setting: str, *options: str) -> str:
        sentence: str = run("train", "--config", "generated.yaml", "--set", setting, *options).refused()
        assert not (tmp_path / "runs" / "pool").exists()
        assert not (tmp_path / "runs" / "small").exists()
        return sentence

    assert "foo" in refused("sam2_model_type=foo")
    assert "nope.pt" in refused("sam2_checkpoint=nope.pt")
    assert "layers.pt" in refused("uamp_checkpoint=layers.pt")
    assert "There is no training run to continue" in refused("max_steps=1", "--resume")
    assert "already holds a run: give --resume" in refused("experiment_name=begun")
    assert "Cannot read the training state" in refused("experiment_name=begun", "--resume")
    assert "generated.yaml/small cannot be written (Not a directory): choose another save_dir" in refused(
        "save_dir=generated.yaml"
    )
    assert "the pool's clips have 3 frames, so ask for 1 to 3, not 4" in refused("num_frames=4")


def test_published_weights_are_fetched_where_they_are_wanted(
    run: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = MODELS["sam2.1-hiera-tiny"]
    monkeypatch.setitem(MODELS, spec.name, replace(spec, url=(small.parent / "no server").as_uri()))
    refused = run("train", "--config", small, "--set", f"model={spec.name}").refused()
    assert "Could not reach" in refused
    assert refused.endswith("or set sam2_checkpoint.")
    assert {path.name for path in small.parent.iterdir()} == {"DAVIS", "small.yaml"}
    first = run("train", "--config", small, "--set", f"model={spec.name}", "--resume").refused()
    assert "There is no training run to continue" in first


def test_a_validation_sequence_needs_frames_to_score(tmp_path: Path) -> None:
    make_davis(tmp_path / "train", {"camel": 1, "dogs": 1}, split="train")
    make_video(tmp_path / "val/JPEGImages/short", tmp_path / "val/Annotations/short", 1, annotated=[0, 1])
    with pytest.raises(Exception, match=r"short cannot validate.*\(2\).*val_sequences"):
        open_data(settings(dataset_root=str(tmp_path / "train"), val_dataset_root=str(tmp_path / "val")))


def test_which_sequences_train_and_which_validate(tmp_path: Path) -> None:
    root = str(make_davis(tmp_path / "DAVIS", dict.fromkeys("abcde", 1), split="train"))
    make_davis(tmp_path / "DAVIS", {"v": 1})

    def divided(**values: object) -> tuple[tuple[str, ...], list[str]]:
        data = open_data(settings(dataset_root=root, **values))
        return names(data.clips), [sequence.name for sequence in data.validation]

    generated = [f"generated-{number}" for number in range(VALIDATION_CLIPS)]
    assert divided(val_interval=0) == (tuple("abcde"), [])
    assert divided() == (tuple("abcd"), ["e"])
    assert divided(val_sequences=["b", "d"]) == (tuple("ace"), ["b", "d"])
    assert divided(train_sequences=["a", "c"], val_sequences=["b"]) == (("a", "c"), ["b"])
    assert divided(train_sequences=["a", "c"]) == (("a", "c"), generated)
    assert divided(val_dataset_root=root) == (tuple("abcde"), ["v"])
    (short,) = open_data(settings(dataset_root=root, val_sequences=["a"], val_frames=4)).validation
    assert len(short.frame_names) == 4


def test_a_sequence_that_cannot_validate_is_found_before_training(
    run: Run, small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The objects of `e` enter later than in its first mask."""
    root = make_davis(small.parent / "DAVIS", dict.fromkeys("abcde", 1), split="train")
    masks = root / "Annotations/480p/e"
    write_mask(masks / "00000.png", np.zeros(SIZE, np.uint8))
    data = open_data(settings(dataset_root=str(root)))
    assert (names(data.clips), [sequence.name for sequence in data.validation]) == (tuple("bcde"), ["a"])
    assert "1 sequences cannot validate and are not held out. The first: The first mask of e, " in caplog.text
    named = run("train", "--config", small, "--set", "val_sequences=[e]", "--quiet").refused()
    assert "The first mask of e, DAVIS/Annotations/480p/e/00000.png, shows no object: replace it or leave e" in named


def test_sequences_of_one_name_are_not_held_out(tmp_path: Path) -> None:
    root = str(make_davis(tmp_path / "DAVIS", dict.fromkeys("abcde", 1), split="train"))
    other = str(make_davis(tmp_path / "other", {"e": 1}, split="train"))
    parts = [{"dataset": "davis"}, {"dataset": "davis", "root": other}]
    mixed = {"dataset": "mix", "mix": parts, "dataset_root": root}
    assert [sequence.name for sequence in open_data(settings(**mixed)).validation] == ["a"]
    with pytest.raises(InputError, match=r"e cannot validate, because two data sets .*: choose other val_sequences\.$"):
        open_data(settings(**mixed, val_sequences=["e"]))


def test_objects_that_enter_in_the_last_mask_cannot_be_scored(tmp_path: Path) -> None:
    youtube = make_youtube(tmp_path / "YouTube", truth=True)
    meta = youtube / "valid" / "meta.json"
    known = json.loads(meta.read_text())
    known["videos"]["late"]["objects"] = {"2": {"category": "yak", "frames": ["00006"]}}
    meta.write_text(json.dumps(known))
    make_davis(tmp_path / "DAVIS", {"a": 1, "b": 2}, split="train")
    given = {"dataset_root": str(tmp_path / "DAVIS"), "val_dataset_root": str(youtube), "val_sequences": ["late"]}
    with pytest.raises(InputError, match="late cannot validate, because its objects enter in its last mask"):
        open_data(settings(**given))
    with pytest.raises(DataError, match="There is no sequence 'lat' in the validation data; did you mean late"):
        open_data(settings(**{**given, "val_sequences": ["lat"]}))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_a_terminal_that_goes_away_ends_no_training(small: Path) -> None:
    ours, theirs = os.openpty()
    more = ["--set", "max_steps=3", "--set", "val_interval=0"]
    command = [sys.executable, "-m", "uamp_cli", "train", "--config", str(small), *more]
    with subprocess.Popen(command, cwd=small.parent, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        seen = b""
        while b"training" not in seen:  # the bar
            seen += os.read(ours, 1000)
        os.close(ours)
        out, _ = process.communicate(timeout=200)
    assert (process.returncode, out.splitlines()[0]) == (0, "Trained weights: runs/small/uamp_finetuned.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_run_that_is_ended_saves_its_step_and_says_how_to_go_on(run: Run, small: Path) -> None:
    more = ["--set", "num_epochs=100000", "--set", "val_interval=0", "--set", "save_interval=100000"]
    command = [sys.executable, "-m", "uamp_cli", "train", "--config", str(small), *more]
    folder = Path("runs/small")
    pipe = subprocess.PIPE
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # for it to inherit: these tests may ignore it
    try:
        process = subprocess.Popen(command, cwd=small.parent, stdout=pipe, stderr=pipe, text=True)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        try:
            assert process.stderr is not None
            assert any(" step 1/" in line for line in process.stderr)  # which is over then
            process.send_signal(signal.SIGHUP)
            _, told = process.communicate(timeout=100)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "\nFinishing this step and saving it." in told
    step = load_state(small.parent / folder / LAST).step
    saved = f"Saved in {folder} up to step {step}: the same command with --resume goes on from there."
    assert told.splitlines()[-2:] == [saved, "Interrupted."]
    assert run("train", "--config", small, *more, "--set", f"max_steps={step + 1}", "--resume").code == 0


def test_quiet_prints_where_the_weights_are_alone(run: Run, small: Path, caplog: pytest.LogCaptureFixture) -> None:
    done = run("train", "--config", small, "--set", "max_steps=1", "--set", "val_interval=0", "--quiet")
    assert done.code == 0, done
    assert done.out == f"Trained weights: {Path('runs/small/uamp_finetuned.safetensors')}\n"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uamp_")] == []


def test_mixes_and_generated_clips(tmp_path: Path) -> None:
    root = str(make_davis(tmp_path / "DAVIS", {"a": 1, "b": 2}, split="train"))
    youtube = str(make_youtube(tmp_path / "YouTube", truth=True))
    pool = {"clips": 2, "frames": 4, "size": 64, "folder": str(tmp_path / "pool")}
    parts = [
        {"dataset": "synthetic", "weight": 2},
        {"dataset": "davis"},
        {"dataset": "youtube_vos", "root": youtube, "split": "valid", "weight": 0.5},
    ]
    data = open_data(settings(dataset="mix", mix=parts, dataset_root=root, pool=pool, val_interval=0))
    assert isinstance(data.clips, MixedClips)
    assert len(data.clips) == 2 + 2 + 2
    generated = {"dataset": "synthetic", "dataset_root": None, "pool": pool, "val_interval": 0}
    assert isinstance(open_data(settings(**generated)).clips, ClipPool)
    plain = open_data(settings(**generated, augment=False, cache_features=True)).clips
    assert names(plain) == ("generated-0", "generated-1")
    judged = open_data(settings(**{**generated, "val_interval": 1, "val_frames": 3})).validation
    assert all(isinstance(sequence, ClipSequence) and len(sequence.frames) == 3 for sequence in judged)
    assert len(judged) == VALIDATION_CLIPS


def test_all_weights_are_validated_by_what_learns(run: Run, small: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = ["freeze_sam2_backbone=false", "val_sequences=[goat]", "max_steps=1", f"val_frames={FRAMES}"]
    outcome = run("train", "--config", small, *[part for option in options for part in ("--set", option)])
    assert outcome.code == 0, outcome
    assert "--checkpoint" in outcome.out
    rows = [record.getMessage().split()[0] for record in caplog.records if record.getMessage().startswith("  ")]
    assert rows == ["memory", "sam2", "samurai", "uamp"]


def test_objects_that_enter_later_are_validated_by_the_rules_of_youtube_vos(tmp_path: Path) -> None:
    youtube = str(make_youtube(tmp_path / "YouTube", truth=True))
    make_davis(tmp_path / "DAVIS", {"a": 1, "b": 2}, split="train")
    given = settings(dataset_root=str(tmp_path / "DAVIS"), val_dataset_root=youtube, val_sequences=["late"])
    data = open_data(given)
    validation = Validation(given, data.validation, data.judged_on)
    weights = weights_of(initial_module(given))
    scores = validation(weights, 1)
    assert list(scores) == ["J&F uamp", "J&F sam2", "J&F samurai"]
    assert scores["J&F uamp"] > scores["J&F sam2"] > 0.2  # untrained layers change nothing, outlines do
    assert validation(weights, 2) == scores


def test_validation_has_a_models_own_settings_however_the_model_is_spelled(tmp_path: Path) -> None:
    make_davis(tmp_path / "DAVIS", {"a": 1, "b": 2}, split="train")
    given = settings(dataset_root=str(tmp_path / "DAVIS"), val_sequences=["b"], sam2_model_type="Nano.yaml")
    data = open_data(given)
    scores = Validation(given, data.validation, data.judged_on)(weights_of(initial_module(given)), 1)
    assert scores["J&F uamp"] > scores["J&F sam2"]  # untrained layers change nothing, nano's outlines do


def test_the_table_of_scores_is_in_percent() -> None:
    lines = score_table({"uamp": {"J&F-Mean": 0.5, "J-Mean": 0.25, "F-Mean": 0.75}}, "step 3")
    assert lines == [
        "Validation at step 3",
        "  memory         J&F       J       F",
        "  uamp          50.0    25.0    75.0",
    ]


def test_the_keys_are_listed(run: Run) -> None:
    assert run("train", "--keys").out.strip() == config_table()


def test_the_documented_keys_are_those_there_are() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = text.partition("<!-- uamp train --keys -->\n")[2].partition("\n<!-- end -->")[0]
    assert table == config_table(), "put what `uamp train --keys` prints into docs/training.md"


def test_a_configuration_names_the_families_there_are() -> None:
    assert get_args(Family) == FAMILIES


def test_the_bundled_configurations_are_valid() -> None:
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        config = load_config(path, (), {})
        assert config.experiment_name
    finetune = yaml.safe_load((ROOT / "configs" / "finetune_uamp.yaml").read_text())
    assert set(finetune) == SEED_KEYS
    config = load_config(ROOT / "configs" / "finetune_uamp.yaml", (), {})
    assert (config.batch_size, config.num_frames, config.image_size) == (2, 8, 480)
    assert (config.lr, config.weight_decay, config.num_epochs, config.warmup_epochs) == (1e-4, 1e-5, 50, 5)
    assert (config.log_interval, config.val_interval, config.use_wandb) == (10, 5, True)
