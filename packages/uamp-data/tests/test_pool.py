"""The clip pool: building, resuming, refusing, and cutting training clips."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from uamp_data.errors import DataError
from uamp_data.pool import ClipPool, build_pool
from uamp_data.synthetic import generate_clip

RECIPE: dict[str, Any] = {"clips": 3, "num_frames": 9, "size": 64, "seed": 5}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> ClipPool:
    return build_pool(tmp_path_factory.mktemp("pool"), **RECIPE)


class Interrupted(Exception):
    pass


def test_interrupted_build_goes_on_and_equals_one_go(pool: ClipPool, tmp_path: Path) -> None:
    def stop_after_one(done: int, total: int) -> None:
        if done == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        build_pool(tmp_path, **RECIPE, progress=stop_after_one)
    with pytest.raises(DataError, match=r"not complete \(1 of 3"):
        ClipPool(tmp_path)
    seen: list[tuple[int, int]] = []
    build_pool(tmp_path, **RECIPE, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for name in ("frames.npy", "masks.npy"):
        assert (tmp_path / name).read_bytes() == (pool.folder / name).read_bytes()


def test_build_in_processes_gives_the_same_pool(pool: ClipPool, tmp_path: Path) -> None:
    build_pool(tmp_path, **RECIPE, workers=2)
    assert (tmp_path / "frames.npy").read_bytes() == (pool.folder / "frames.npy").read_bytes()


@pytest.mark.parametrize("name", ["frames.npy", "masks.npy", "done.npy"])
def test_files_of_others_are_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(DataError, match="holds files that are no clip pool: choose another folder"):
        build_pool(tmp_path, **RECIPE)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_start_for_which_there_was_no_room_is_made_anew(
    pool: ClipPool, tmp_path: Path, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    with room_for(200_000), pytest.raises(DataError, match=r"frames\.npy would exceed the largest file"):
        build_pool(tmp_path, **RECIPE)
    assert (tmp_path / "frames.npy").exists()
    assert not (tmp_path / "pool.json").exists()
    build_pool(tmp_path, **RECIPE)
    assert (tmp_path / "frames.npy").read_bytes() == (pool.folder / "frames.npy").read_bytes()


def test_a_disk_that_fills_up_while_clips_are_rendered(
    tmp_path: Path, room_for: Callable[[int], AbstractContextManager[None]]
) -> None:
    def stop(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        build_pool(tmp_path, **RECIPE, progress=stop)
    with room_for(1000), pytest.raises(DataError, match="would exceed the largest file"):
        build_pool(tmp_path, **RECIPE)
    with pytest.raises(DataError, match=r"not complete \(0 of 3"):
        ClipPool(tmp_path)


def test_a_disk_that_is_too_small_is_noticed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=400_000))
    with pytest.raises(DataError, match=r"too full \(0.0 GB are free"):
        build_pool(tmp_path / "new" / "pool", **RECIPE)
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_ended_from_outside(tmp_path: Path) -> None:
    def end(done: int, total: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(DataError, match=r"was ended.*use fewer \(num_workers\)"):
        build_pool(tmp_path, **{**RECIPE, "clips": 6}, workers=2, progress=end)


def test_another_recipe_is_refused(pool: ClipPool) -> None:
    with pytest.raises(DataError, match="another recipe \\(seed 5 instead of 6\\): choose another folder"):
        build_pool(pool.folder, **{**RECIPE, "seed": 6})


def test_families_take_turns(tmp_path: Path) -> None:
    families = ("reentry", "light")
    pool = build_pool(tmp_path, **RECIPE, families=families)
    for index in range(3):
        clip = generate_clip(
            (RECIPE["seed"] << 32) + index, num_frames=48, size=(64, 64), family=families[index % 2], window=9
        )
        assert np.array_equal(pool.stored(index).frames, clip.frames)
    with pytest.raises(DataError, match="families reentry light instead of mixed"):
        build_pool(tmp_path, **RECIPE)
    with pytest.raises(DataError, match=r"some of mixed, occlusion.*not slow"):
        build_pool(tmp_path / "other", **RECIPE, families=["slow"])
    assert not (tmp_path / "other").exists()


def test_a_pool_from_before_families_is_a_mixed_one(tmp_path: Path) -> None:
    build_pool(tmp_path, **RECIPE)
    head = json.loads((tmp_path / "pool.json").read_text())
    del head["families"]
    (tmp_path / "pool.json").write_text(json.dumps(head))
    assert len(build_pool(tmp_path, **RECIPE)) == 3


def test_a_folder_without_pool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no readable clip pool"):
        ClipPool(tmp_path)
    (tmp_path / "pool.json").write_text("[]")
    with pytest.raises(DataError, match="no readable clip pool"):
        ClipPool(tmp_path)


@pytest.mark.parametrize("name", ["frames.npy", "masks.npy", "done.npy"])
@pytest.mark.parametrize("length", [0, 20, None])
def test_damaged_arrays_are_said(pool: ClipPool, tmp_path: Path, name: str, length: int | None) -> None:
    shutil.copytree(pool.folder, tmp_path / "pool")
    path = tmp_path / "pool" / name
    if length is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=rf"is damaged \({name}: .*delete it and build it again"):
        ClipPool(tmp_path / "pool")
    with pytest.raises(DataError, match=rf"is damaged \({name}: .*delete it and build it again"):
        build_pool(tmp_path / "pool", **RECIPE)


def test_layout(pool: ClipPool) -> None:
    assert len(pool) == 3
    head = json.loads((pool.folder / "pool.json").read_text())
    assert {key: head[key] for key in RECIPE} == RECIPE
    assert head["families"] == ["mixed"]
    frames = np.load(pool.folder / "frames.npy", mmap_mode="r")
    assert frames.shape == (3, 9, 64, 64, 3)
    assert frames.dtype == np.uint8
    assert np.load(pool.folder / "masks.npy", mmap_mode="r").shape == (3, 9, 64, 64)


@pytest.mark.parametrize(("num_frames", "size"), [(1, 48), (2, 96), (6, 64), (9, 32)])
def test_clip_shapes_and_a_visible_first_object(pool: ClipPool, num_frames: int, size: int) -> None:
    for draw in range(12):
        clip = pool.clip(draw % 3, np.random.default_rng(draw), num_frames, size)
        assert clip.frames.shape == (num_frames, size, size, 3)
        assert clip.frames.dtype == np.uint8
        assert clip.masks.shape == (num_frames, size, size)
        assert clip.masks.dtype == np.uint8
        assert clip.frames.flags.c_contiguous
        assert clip.masks.flags.c_contiguous
        assert np.bincount(clip.masks[0].ravel(), minlength=2)[1:].max() >= 0.0025 * size * size


def test_clip_depends_on_the_generator_alone(pool: ClipPool) -> None:
    first, again, other = (pool.clip(1, np.random.default_rng(seed), 4, 48) for seed in (7, 7, 8))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.frames, other.frames)


def test_too_many_frames_are_refused(pool: ClipPool) -> None:
    with pytest.raises(DataError, match="ask for 1 to 9, not 10"):
        pool.clip(0, np.random.default_rng(0), 10, 48)
