from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_trees import every_frame, make_davis, make_youtube, save_frame, save_mask
from uamp_data.clip_sequence import ClipSequence, pool_sequences
from uamp_data.errors import DataError
from uamp_data.pool import build_pool
from uamp_data.training_sets import a_tenth, first_frames, hold_out, open_any, open_training_set


def make_plain(root: Path, *names: str) -> Path:
    for name in names:
        for number in range(3):
            save_frame(root / "JPEGImages" / name / f"{number}.jpg")
            save_mask(root / "Annotations" / name / f"{number}.png", [1])
    return root


def test_davis_takes_the_year_that_is_there(tmp_path: Path) -> None:
    old = make_davis(tmp_path / "old", {"a": every_frame(1, 2)}, year=2016, split="train")
    new = make_davis(tmp_path / "new", {"a": every_frame(1, 2)}, split="train")
    make_davis(new, {"a": every_frame(1, 2)}, year=2016, split="train")
    assert open_training_set("davis", old)[0].one_object
    assert not open_training_set("davis", new)[0].one_object
    assert open_training_set("davis2016", new)[0].one_object
    with pytest.raises(DataError, match="only of 2016"):
        open_training_set("davis2017", old)


def test_plain_folders_and_their_splits(tmp_path: Path) -> None:
    root = make_plain(tmp_path / "plain", "a", "b")
    assert [s.name for s in open_training_set("folders", root)] == ["a", "b"]
    make_plain(tmp_path / "mose" / "train", "c")
    make_plain(tmp_path / "mose" / "valid", "d")
    assert [s.name for s in open_training_set("folders", tmp_path / "mose")] == ["c"]
    with pytest.raises(DataError, match=r"no split 'test'.*train, valid"):
        open_training_set("folders", tmp_path / "mose", "test")


def test_any_layout_is_told_by_its_folders(tmp_path: Path) -> None:
    davis = make_davis(tmp_path / "davis", {"a": every_frame(1)})
    youtube = make_youtube(tmp_path / "youtube")
    plain = make_plain(tmp_path / "plain", "p")
    assert [[s.name for s in open_any(root)] for root in (davis, youtube, plain)] == [["a"], ["video", "other"], ["p"]]


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ("davis", "does not exist: check the path"),
        ("youtube_vos", "does not exist: check the path"),
        ("folders", "does not exist: check the path"),
        ("kitti", "no data set 'kitti'.*choose from davis"),
    ],
)
def test_what_is_missing_is_said(dataset: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        open_training_set(dataset, tmp_path / "nowhere")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"  # what lies beside tmp_path is other tests' business
    inside.mkdir(parents=True)
    for dataset in ("davis", "youtube_vos", "folders"):
        with pytest.raises(DataError, match="name the folder that holds"):
            open_training_set(dataset, inside)


def test_sequences_are_held_out_by_name_in_all_sets(tmp_path: Path) -> None:
    davis = open_training_set(
        "davis", make_davis(tmp_path / "a", {name: every_frame(1) for name in "abcd"}, split="train")
    )
    plain = open_training_set("folders", make_plain(tmp_path / "b", "p", "q"))
    kept, held = hold_out([davis, plain], (), ("b", "q"))
    assert [[s.name for s in part] for part in kept] == [["a", "c", "d"], ["p"]]
    assert [s.name for s in held] == ["b", "q"]
    kept, held = hold_out([davis], ("a", "c"), ("d",))
    assert [s.name for s in kept[0]] == ["a", "c"]
    with pytest.raises(DataError, match="no sequence 'x' in the training data"):
        hold_out([davis], (), ("x",))
    with pytest.raises(DataError, match="no sequence 'x' in the validation data"):
        hold_out([davis], (), ("x",), where="the validation data")


def test_a_tenth_is_held_out_of_four_and_more() -> None:
    assert a_tenth("abc") == ()
    assert a_tenth("dcba") == ("d",)
    assert len(a_tenth([str(number) for number in range(60)])) == 6
    assert a_tenth("abcdefghij") == a_tenth("jihgfedcba")


def test_the_first_frames_of_a_sequence(tmp_path: Path) -> None:
    davis = open_training_set(
        "davis", make_davis(tmp_path / "a", {"a": every_frame(1, frames=9)}, split="train", frames=9)
    )
    short = first_frames(davis[0], 5)
    assert (len(short.frame_paths), short.annotated, short.listed) == (5, tuple(range(5)), tuple(range(5)))
    assert len(first_frames(davis[0], 50).frame_paths) == 9
    video = open_any(make_youtube(tmp_path / "y", all_frames=True))[0]
    assert video.annotated == (0, 1, 2)
    assert len(first_frames(video, 1).frame_paths) == 3
    assert set(first_frames(video, 2).object_frames) == {1, 2, 4}


def test_clips_in_memory_are_sequences_too(tmp_path: Path) -> None:
    pool = build_pool(tmp_path / "pool", clips=2, num_frames=3, size=48)
    first, second = pool_sequences(pool)
    assert (first.name, second.frame_names) == ("generated-0", ("00000", "00001", "00002"))
    assert first.annotated == first.listed == (0, 1, 2)
    assert first.image(1).shape == (48, 48, 3)
    assert first.prompts[0] == tuple(np.unique(first.annotation(0))[1:].tolist())
    assert (ClipSequence("x", first.frames, first.masks).annotation(2) == first.masks[2]).all()
