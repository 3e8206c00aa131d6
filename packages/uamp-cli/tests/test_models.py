"""`uamp models` without a network."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from uamp_model.catalog import MODELS

Run = Callable[..., Any]


def test_list_names_every_model(run: Run) -> None:
    outcome = run("models", "list")
    assert outcome.code == 0
    assert all(name in outcome.out for name in MODELS)
    assert "898 MB" in outcome.out
    assert outcome.out.count("Apache-2.0") == len(MODELS)
    assert outcome.out.count("not here") == len(MODELS) - 1


def test_info_describes_a_model_in_any_spelling(run: Run) -> None:
    outcome = run("models", "info", "sam2.1_hiera_l", "--no-speed")
    assert outcome.code == 0
    assert "sam2.1-hiera-large" in outcome.out
    assert "run uamp models download sam2.1-hiera-large" in outcome.out
    assert "did you mean" in run("models", "inof", "nano").refused()
    assert "sam2.1-hiera-tiny" in run("models", "info", "sam2.1-hiera-tinny").refused()


def test_download_of_a_file_that_is_here_prints_where(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cache" / MODELS["sam2.1-hiera-tiny"].checkpoint
    file.parent.mkdir()
    file.write_bytes(b"weights")
    outcome = run("models", "download", "sam2.1-hiera-tiny")
    assert outcome.code == 0
    assert outcome.out.strip() == str(file)
    assert "downloaded" in run("models", "list").out


def test_a_bundled_model_is_not_put_elsewhere(run: Run, tmp_path: Path) -> None:
    assert "nano comes with UAMP" in run("models", "download", "nano", "--output", tmp_path / "new").refused()
    assert not (tmp_path / "new").exists()
    outcome = run("models", "download", "nano")
    assert Path(outcome.out.strip()).is_file()


def test_a_download_that_fails_leaves_no_empty_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = MODELS["sam2.1-hiera-tiny"]
    monkeypatch.setitem(MODELS, spec.name, replace(spec, url=(tmp_path / "no server").as_uri()))
    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "new" / "deep", tmp_path / "old"):
        assert "Could not reach" in run("models", "download", spec.name, "--output", folder).refused()
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    part = tmp_path / "new" / f"{spec.checkpoint}.part"
    part.parent.mkdir()
    part.write_bytes(b"a beginning")
    assert "Could not reach" in run("models", "download", spec.name, "--output", part.parent).refused()
    assert part.exists()


def test_info_measures_the_speed_here(run: Run) -> None:
    outcome = run("models", "info", "nano", "--device", "cpu")
    assert outcome.code == 0
    assert "for one object on cpu in " in outcome.out
    speed = json.loads(run("models", "info", "nano", "--device", "cpu", "--json").out)["speed"]
    assert speed["frames_per_second"] > 0
    assert "gpu" in run("models", "info", "nano", "--device", "gpu").err
