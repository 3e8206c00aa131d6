from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_trees import every_frame, label_map, make_davis, make_youtube, save_frame, save_mask
from PIL import Image
from uamp_data import DataError, DavisDataset
from uamp_data.check import check_tree, inspect_tree
from uamp_data.layout import Layout

JPEGS, MASKS, LISTS = "JPEGImages/480p", "Annotations/480p", "ImageSets/2017"


def found(root: Path) -> list[tuple[str, str]]:
    """Path and problem of each entry."""
    return [(str(problem.path.relative_to(root)), problem.problem) for problem in check_tree(root)]


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    root = make_davis(tmp_path, {"a": every_frame(1, 2), "b": every_frame(1)})
    make_davis(root, {"t": {0: (1,)}}, split="test-dev")
    return make_davis(root, {"a": every_frame(1, 2)}, split="train", year=2016)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def duplicate_frame(root: Path) -> None:
    save_frame(root / JPEGS / "a/1.jpg")


def empty_list(root: Path) -> None:
    (root / LISTS / "val.txt").write_text("")


def wide_mask(root: Path) -> None:
    Image.fromarray(label_map([1]).astype(np.uint16)).save(root / MASKS / "a/00001.png")


def rgb_mask(root: Path) -> None:
    Image.fromarray(label_map([1])).convert("RGB").save(root / MASKS / "a/00001.png")


def lost_frame_and_mask(root: Path) -> None:
    (root / JPEGS / "a/00001.jpg").unlink()
    (root / MASKS / "a/00001.png").unlink()


def lost_start(root: Path) -> None:
    (root / JPEGS / "a/00000.jpg").unlink()
    (root / MASKS / "a/00000.png").unlink()


def skipped_id(root: Path) -> None:
    for index in range(4):
        save_mask(root / MASKS / "a" / f"{index:05d}.png", [1, 4])


DAMAGE: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "no lists": (lambda root: shutil.rmtree(root / "ImageSets"), [("ImageSets", "does not exist")]),
    "an empty list": (empty_list, [(f"{LISTS}/val.txt", "is empty")]),
    "a name twice": (
        lambda root: (root / LISTS / "val.txt").write_text("a\nb\na\n"),
        [(f"{LISTS}/val.txt", "lists a 2 times")],
    ),
    "a list that is no text": (
        lambda root: (root / LISTS / "val.txt").write_bytes(b"\xff\xfe\x80"),
        [(f"{LISTS}/val.txt", "cannot be read")],
    ),
    "a name that leads out": (
        lambda root: (root / LISTS / "val.txt").write_text("a\n..\nb\n"),
        [(f"{LISTS}/val.txt", "lists '..', which no sequence can be called")],
    ),
    "a name with a NUL byte": (
        lambda root: (root / LISTS / "val.txt").write_text("a\0b\n"),
        [(f"{LISTS}/val.txt", r"lists 'a\x00b', which no sequence can be called")],
    ),
    "a listed sequence without frames": (
        lambda root: shutil.rmtree(root / JPEGS / "b"),
        [
            (f"{JPEGS}/b", f"does not exist but is listed in {LISTS}/val.txt"),
            (f"{MASKS}/b", "holds masks, but * does not exist"),
        ],
    ),
    "a sequence without masks": (lambda root: shutil.rmtree(root / MASKS / "b"), [(f"{MASKS}/b", "does not exist")]),
    "no masks at all": (lambda root: shutil.rmtree(root / "Annotations"), [("Annotations", "does not exist")]),
    "a frame without a mask": (
        lambda root: (root / MASKS / "a/00002.png").unlink(),
        [(f"{JPEGS}/a/00002.jpg", "has no mask")],
    ),
    "a first mask missing": (
        lambda root: (root / MASKS / "t/00000.png").rename(root / MASKS / "t/00001.png"),
        [(f"{JPEGS}/t/00000.jpg", "has no mask")],
    ),
    "a mask without a frame": (
        lambda root: save_mask(root / MASKS / "a/00007.png", [1]),
        [(f"{MASKS}/a/00007.png", "belongs to no frame")],
    ),
    "a cut frame": (lambda root: cut(root / JPEGS / "a/00003.jpg"), [(f"{JPEGS}/a/00003.jpg", "is damaged*")]),
    "an empty frame": (
        lambda root: (root / JPEGS / "a/00003.jpg").write_bytes(b""),
        [(f"{JPEGS}/a/00003.jpg", "is empty")],
    ),
    "a cut mask": (lambda root: cut(root / MASKS / "a/00003.png"), [(f"{MASKS}/a/00003.png", "is damaged or cut off")]),
    "a mask of another size": (
        lambda root: save_mask(root / MASKS / "a/00003.png", [1], (12, 16)),
        [(f"{MASKS}/a/00003.png", "is 16×12 pixels but its frame 00003.jpg is 32×24")],
    ),
    "a frame of another size": (
        lambda root: save_frame(root / JPEGS / "t/00003.jpg", (12, 16)),
        [(f"{JPEGS}/t/00003.jpg", "is 16×12 pixels but most frames of the video are 32×24")],
    ),
    "16 bits": (wide_mask, [(f"{MASKS}/a/00001.png", "has 16 bits")]),
    "RGB": (rgb_mask, [(f"{MASKS}/a/00001.png", "has RGB colours")]),
    "a number twice": (duplicate_frame, [(f"{JPEGS}/a/1.jpg", "has the same number as 00001.jpg")]),
    "a gap": (lost_frame_and_mask, [(f"{JPEGS}/a", "lacks frame 00001")]),
    "a late start": (lost_start, [(f"{JPEGS}/a", "begins with frame 00001 instead of 00000")]),
    "skipped ids": (skipped_id, [(f"{MASKS}/a", "never shows objects 2, 3 although there is an object 4")]),
    "no object at first": (
        lambda root: save_mask(root / MASKS / "a/00000.png", []),
        [(f"{MASKS}/a/00000.png", "is the first mask but shows no object")],
    ),
    "no object at all": (
        lambda root: save_mask(root / MASKS / "t/00000.png", []),
        [(f"{MASKS}/t", "shows no object in any mask")],
    ),
    "a resolution without masks": (
        lambda root: save_frame(root / "JPEGImages/Full-Resolution/a/00000.jpg"),
        [("Annotations/Full-Resolution", "does not exist but JPEGImages/Full-Resolution does")],
    ),
}


def agrees(entry: tuple[str, str], wanted: tuple[str, str]) -> bool:
    """Whether an entry is the wanted one; a star stands for anything."""
    before, star, after = wanted[1].partition("*")
    same = entry[1].startswith(before) and entry[1].endswith(after) if star else entry[1] == before
    return entry[0] == wanted[0] and same


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_to_a_davis_tree_is_found_and_nothing_else(davis: Path, name: str) -> None:
    assert found(davis) == []
    damage, wanted = DAMAGE[name]
    damage(davis)
    entries = found(davis)
    assert len(entries) == len(wanted), entries
    assert all(agrees(entry, want) for entry, want in zip(entries, wanted, strict=True)), entries


def test_all_damage_is_listed_at_once(davis: Path) -> None:
    wanted = []
    for name in ("a cut frame", "16 bits", "a name twice", "a number twice", "a first mask missing"):
        DAMAGE[name][0](davis)
        wanted += DAMAGE[name][1]
    entries = found(davis)
    assert all(any(agrees(entry, want) for entry in entries) for want in wanted)
    assert all(problem.remedy for problem in check_tree(davis))


def test_the_report_counts_and_does_not_depend_on_the_threads(davis: Path) -> None:
    cut(davis / MASKS / "b/00002.png")
    cut(davis / MASKS / "a/00002.png")
    begun: list[int] = []
    done: list[int] = []
    report = inspect_tree(davis, on_begin=begun.append, on_done=done.append, workers=3)
    assert report.layout is Layout.DAVIS
    assert (report.videos, report.frames, report.masks) == (3, 12, 9)
    assert begun == [12]
    assert done == [4, 4, 4]
    assert [problem.path.parent.name for problem in report.problems] == ["a", "b"]
    assert inspect_tree(davis, workers=1) == report


def test_a_data_set_whose_masks_are_all_right_is_accepted(davis: Path) -> None:
    assert check_tree(davis) == []
    assert DavisDataset(davis)[0].prompts == {0: (1, 2)}
    # DAVIS 2016 alone: white masks, and ids mean nothing
    white = np.where(label_map([1]) > 0, np.uint8(255), np.uint8(0))
    root = make_davis(davis / "sub", {"w": every_frame(3)}, year=2016)
    for path in (root / MASKS / "w").iterdir():
        Image.fromarray(white).save(path)
    assert check_tree(root) == []


def edit(root: Path, change: Callable[[dict[str, dict[str, dict[str, object]]]], object]) -> None:
    path = root / "valid/meta.json"
    content = json.loads(path.read_text())
    change({name: video["objects"] for name, video in content["videos"].items()})
    path.write_text(json.dumps(content))


def rename_video(root: Path, name: str) -> None:
    path = root / "valid/meta.json"
    videos = json.loads(path.read_text())["videos"]
    path.write_text(json.dumps({"videos": {name: videos["video"], "other": videos["other"]}}))


def lost_video(root: Path) -> None:
    shutil.rmtree(root / "valid/JPEGImages/other")
    shutil.rmtree(root / "valid/Annotations/other")


YOUTUBE: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "a damaged meta.json": (
        lambda root: (root / "valid/meta.json").write_text("{"),
        [("valid/meta.json", "cannot be used*")],
    ),
    "no video": (
        lambda root: (root / "valid/meta.json").write_text('{"videos": {}}'),
        [
            ("valid/meta.json", "lists no video"),
            ("valid/JPEGImages/other", "is not in meta.json"),
            ("valid/JPEGImages/video", "is not in meta.json"),
            ("valid/Annotations/other", "is not in meta.json"),
            ("valid/Annotations/video", "is not in meta.json"),
        ],
    ),
    "a name that leads out": (
        lambda root: rename_video(root, "../JPEGImages/video"),
        [("valid/meta.json", "lists '../JPEGImages/video', which no sequence can be called")],
    ),
    "a video without folders": (
        lost_video,
        [("valid/JPEGImages/other", "does not exist"), ("valid/Annotations/other", "does not exist")],
    ),
    "a listed frame that is missing": (
        lambda root: (root / "valid/JPEGImages/other/00008.jpg").unlink(),
        [("valid/JPEGImages/other/00008.jpg", "does not exist but meta.json lists it for object 1")],
    ),
    "an entry without a mask": (
        lambda root: (root / "valid/Annotations/video/00005.png").unlink(),
        [
            ("valid/JPEGImages/video/00005.jpg", "has no mask"),
            ("valid/Annotations/video", "never shows object 2, which meta.json lists"),
        ],
    ),
    "an object that is not listed": (
        lambda root: save_mask(root / "valid/Annotations/video/00005.png", [1, 2, 5]),
        [("valid/Annotations/video/00005.png", "shows object 5, which meta.json does not list for the video")],
    ),
    "an object that enters later than listed": (
        lambda root: edit(root, lambda videos: videos["video"]["4"].update(frames=["00005", "00010"])),
        [
            (
                "valid/Annotations/video/00005.png",
                "does not show object 4, which meta.json lists from this frame on",
            )
        ],
    ),
    "a video without objects": (
        lambda root: edit(root, lambda videos: videos["other"].clear()),
        [
            ("valid/meta.json", "lists no object of other"),
            (
                "valid/Annotations/other/00003.png",
                "shows object 1, which meta.json does not list for the video",
            ),
        ],
    ),
}


@pytest.mark.parametrize("name", YOUTUBE)
def test_damage_to_a_youtube_tree_is_found_and_nothing_else(tmp_path: Path, name: str) -> None:
    root = make_youtube(tmp_path)
    assert found(root) == []
    damage, wanted = YOUTUBE[name]
    damage(root)
    entries = found(root)
    assert len(entries) == len(wanted), entries
    assert all(agrees(entry, want) for entry, want in zip(entries, wanted, strict=True)), entries


def test_void_alone_is_no_object_where_masks_hold_ids(tmp_path: Path) -> None:
    root = make_youtube(tmp_path)
    masks = root / "valid/Annotations/other"
    edit(root, lambda videos: videos["other"].update({"2": videos["other"].pop("1")}))
    Image.fromarray(label_map([2], (20, 40))).save(masks / "00003.png")
    Image.fromarray(np.where(label_map([2], (20, 40)) > 0, 255, 0).astype(np.uint8)).save(masks / "00008.png")
    assert found(root) == []


def test_all_frames_of_youtube_are_looked_at_too(tmp_path: Path) -> None:
    root = make_youtube(tmp_path, all_frames=True)
    report = inspect_tree(root / "valid")
    assert report.problems == ()
    assert report.layout is Layout.YOUTUBE_VOS
    assert report.frames == 6 + 25
    (root / "valid_all_frames/JPEGImages/video/00007.jpg").unlink()
    (root / "valid_all_frames/JPEGImages/video/00008.jpg").unlink()
    cut(root / "valid_all_frames/JPEGImages/video/00010.jpg")
    assert found(root) == [
        ("valid_all_frames/JPEGImages/video", "lacks frames 00007 to 00008"),
        ("valid_all_frames/JPEGImages/video/00010.jpg", "is damaged or not a picture"),
    ]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_split_may_be_named_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str) -> None:
    root = make_youtube(tmp_path, split=split, all_frames=True)
    report = inspect_tree(root / split)
    monkeypatch.chdir(root / split)
    inside = inspect_tree(".")
    assert (inside.videos, inside.frames) == (report.videos, report.frames)
    assert [problem.problem for problem in inside.problems] == [problem.problem for problem in report.problems]
    assert len(report.problems) == (split == "train")  # a frame in which an object is listed has no mask


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("folder", [JPEGS, MASKS])
def test_a_folder_that_may_not_be_read_is_one_problem_of_many(davis: Path, folder: str) -> None:
    cut(davis / MASKS / "b/00002.png")
    (davis / folder / "a").chmod(0)
    report = inspect_tree(davis, on_begin=lambda total: None)
    (davis / folder / "a").chmod(0o700)
    assert [(str(one.path.relative_to(davis)), one.problem) for one in report.problems] == [
        (f"{folder}/a", "cannot be read (Permission denied)"),
        (f"{MASKS}/b/00002.png", "is damaged or cut off"),
    ]


@pytest.fixture
def mose(tmp_path: Path) -> Path:
    """Train with all masks, valid with the first alone, and a video with every third mask."""
    for split, name, masked in (("train", "full", range(7)), ("valid", "one", range(1)), ("valid", "third", (0, 3, 6))):
        for index in range(7):
            save_frame(tmp_path / split / "JPEGImages" / name / f"{index:05d}.jpg")
        for index in masked:
            save_mask(tmp_path / split / "Annotations" / name / f"{index:05d}.png", [1])
    return tmp_path


def test_a_tree_without_lists_may_have_few_masks_but_no_holes(mose: Path) -> None:
    report = inspect_tree(mose)
    assert report.problems == ()
    assert report.layout is Layout.FOLDERS
    assert report.videos == 3
    (mose / "train/Annotations/full/00004.png").unlink()
    (mose / "train/Annotations/full/00006.png").unlink()
    assert found(mose) == [
        ("train/JPEGImages/full/00004.jpg", "has no mask"),
        ("train/JPEGImages/full/00006.jpg", "has no mask"),
    ]


def test_folders_without_their_counterpart(mose: Path) -> None:
    shutil.rmtree(mose / "valid/Annotations/one")
    shutil.rmtree(mose / "valid/JPEGImages/third")
    assert [path for path, _ in found(mose)] == ["valid/Annotations/third", "valid/Annotations/one"]


def test_what_is_no_data_set_is_refused(mose: Path, tmp_path: Path) -> None:
    for folder, words in (
        (tmp_path / "none", "does not exist"),
        (mose / "train/JPEGImages", "no data set that is known"),
    ):
        with pytest.raises(DataError, match=words):
            check_tree(folder)
    make_davis(tmp_path / "all" / "DAVIS", {"a": every_frame(1)})
    with pytest.raises(DataError, match="DAVIS is: name one"):
        check_tree(tmp_path / "all")


def test_a_grey_mask_with_alpha_is_fine_where_reading_it_is(davis: Path) -> None:
    path = davis / MASKS / "a/00001.png"
    grey = Image.fromarray(label_map([1, 2]))
    grey.convert("LA").save(path)
    assert found(davis) == []
    Image.merge("LA", [grey, grey]).save(path)
    assert found(davis) == [(f"{MASKS}/a/00001.png", "has transparency that varies")]
