from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from data_trees import HEIGHT, WIDTH, every_frame, make_davis, make_youtube, save_frame, save_mask
from uamp_data import DataError, YoutubeVosDataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_youtube(tmp_path / "ytvos")


def edit_meta(root: Path, text: str) -> None:
    (root / "valid" / "meta.json").write_text(text)


def test_objects_enter_in_the_first_frame_listed_for_them(root: Path) -> None:
    dataset = YoutubeVosDataset(root)
    video, other = dataset
    assert video.frame_names == ("00000", "00005", "00010", "00015")
    assert video.prompts == {0: (1,), 1: (2,), 2: (4,)}
    assert video.annotated == (0, 1, 2)
    assert video.listed == (0, 1, 2)
    assert video.categories == {1: "dog", 2: "zebra"}
    assert video.image(0).shape == (HEIGHT, WIDTH, 3)
    assert other.prompts == {0: (1,)}
    assert other.listed == (0, 1)
    assert other.annotation(0).shape == (20, 40)
    assert pickle.loads(pickle.dumps(video)).prompts == video.prompts


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_all_frames_are_taken_where_they_are_there(tmp_path: Path, nested: bool, inside: bool) -> None:
    root = make_youtube(tmp_path / "ytvos", all_frames=True)
    if nested:
        (root / "all_frames").mkdir()
        (root / "valid_all_frames").rename(root / "all_frames" / "valid_all_frames")
    named = root / "valid" if inside else root
    video, other = YoutubeVosDataset(named)
    assert len(video.frame_names) == 16
    assert video.prompts == {0: (1,), 5: (2,), 10: (4,)}
    assert video.listed == (0, 5, 10)
    assert other.listed == (3, 8)
    assert len(YoutubeVosDataset(named, all_frames=False)[0].frame_names) == 4


def test_the_categories_of_the_training_split_are_the_seen_ones(root: Path) -> None:
    assert YoutubeVosDataset(root).seen_categories is None
    make_youtube(root, split="train")
    seen = frozenset({"dog", "zebra", "cat"})
    assert YoutubeVosDataset(root).seen_categories == seen
    assert YoutubeVosDataset(root / "valid").seen_categories == seen
    assert YoutubeVosDataset(root / "train", split="train").seen_categories == seen


def test_an_object_that_its_first_listed_mask_does_not_show_enters_later(root: Path) -> None:
    save_mask(root / "valid/Annotations/video/00005.png", [1])
    save_mask(root / "valid/Annotations/video/00010.png", [2, 4])
    assert YoutubeVosDataset(root)[0].prompts == {0: (1,), 2: (2, 4)}
    save_mask(root / "valid/Annotations/video/00010.png", [4])
    with pytest.raises(DataError, match="No mask of video shows its object 2"):
        _ = YoutubeVosDataset(root)[0].prompts


def refusal(root: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        YoutubeVosDataset(root, **options)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence[-1] in ".?"
    return sentence


def test_what_is_asked_for_must_be_there(root: Path, tmp_path: Path) -> None:
    assert "does not exist" in refusal(root / "nowhere")
    assert "use 2018 or 2019" in refusal(root, year=2017)
    assert "choose from valid" in refusal(root, split="train")
    assert "is the split valid, not train" in refusal(root / "valid", split="train")
    assert "did you mean video?" in refusal(root, sequences=["vidio"])
    assert "laid out as DAVIS" in refusal(make_davis(tmp_path / "davis", {"a": every_frame(1)}))
    (root / "valid/meta.json").unlink()
    assert "no meta.json" in refusal(root)


def test_frames_and_masks_must_match_what_is_listed(root: Path) -> None:
    (root / "valid/Annotations/video/00005.png").unlink()
    assert "00005.jpg, in which object 2 enters, has no mask" in refusal(root)
    (root / "valid/JPEGImages/video/00005.jpg").unlink()
    assert "The frame 00005 that meta.json lists for object 1 of video" in refusal(root)
    save_frame(root / "valid/JPEGImages/video/5.jpg")
    save_frame(root / "valid/JPEGImages/video/00005.jpg")
    assert "same frame number" in refusal(root)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "damaged"),
        ("[]", 'no "videos"'),
        ('{"videos": {}}', "lists no video"),
        ('{"videos": {"video": {}}}', 'no "objects"'),
        ('{"videos": {"video": {"objects": {}}}}', "lists no object of video"),
        ('{"videos": {"video": {"objects": {"1": {}}}}}', 'no "frames"'),
        ('{"videos": {"video": {"objects": {"1": {"frames": []}}}}}', 'no "frames"'),
        ('{"videos": {"video": {"objects": {"1": {"frames": [3]}}}}}', 'no "frames"'),
        ('{"videos": {"video": {"objects": {"dog": {"frames": ["00000"]}}}}}', "1 to 254"),
        ('{"videos": {"video": {"objects": {"255": {"frames": ["00000"]}}}}}', "1 to 254"),
        ('{"videos": {"video": {"objects": {"%s": {"frames": ["00000"]}}}}}' % ("9" * 5000), "1 to 254"),
        ('{"videos": {"video": {"objects": {"1": {"frames": ["0"]}, "01": {"frames": ["5"]}}}}}', "second as '01'"),
        ('{"videos": {"video": {"objects": {"1": {"frames": ["%s"]}}}}}' % ("9" * 5000), 'no "frames"'),
        ('{"videos": {"gone": {"objects": {"1": {"frames": ["00000"]}}}}}', "gone does not exist"),
    ],
)
def test_a_wrong_meta_file_is_refused(root: Path, content: str, words: str) -> None:
    edit_meta(root, content)
    assert words in refusal(root)


@pytest.mark.parametrize(
    "name", ["../JPEGImages/video", "..", ".", "", "/etc", "a/../video", "a\\..\\b", "a\0b", "\ud800", "x" * 256]
)
def test_a_name_that_no_video_can_have_is_refused(root: Path, name: str) -> None:
    meta = json.loads((root / "valid/meta.json").read_text())
    edit_meta(root, json.dumps({"videos": {name: meta["videos"]["video"]}}))
    assert f"meta.json lists {name[:80]!r}, which no sequence can be called" in refusal(root)


def test_a_video_may_lie_in_a_folder_of_several(root: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        (root / "valid" / kind / "part").mkdir()
        (root / "valid" / kind / "video").rename(root / "valid" / kind / "part" / "video")
    meta = json.loads((root / "valid/meta.json").read_text())
    edit_meta(root, json.dumps({"videos": {"part/video": meta["videos"]["video"]}}))
    assert YoutubeVosDataset(root)[0].name == "part/video"


def test_numbers_in_the_meta_file_may_be_written_short(root: Path) -> None:
    meta = json.loads((root / "valid/meta.json").read_text())
    meta["videos"]["video"]["objects"]["2"]["frames"] = ["10", "5"]
    edit_meta(root, json.dumps(meta))
    assert YoutubeVosDataset(root)[0].object_frames[2] == (1, 2)
