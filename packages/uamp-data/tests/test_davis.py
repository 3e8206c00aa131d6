from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from data_trees import HEIGHT, WIDTH, every_frame, label_map, make_davis, make_youtube, save_frame, save_mask
from PIL import Image
from uamp_data import DataError, DavisDataset

TREE = {"camel": every_frame(1), "dogs": {0: (1, 3), 1: (1, 2, 3), 2: (3,), 3: ()}, "bear": every_frame(1, 2)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_davis(tmp_path / "DAVIS", TREE)


def test_a_sequence_has_frames_masks_and_the_prompts_of_the_first(root: Path) -> None:
    dataset = DavisDataset(root)
    assert [sequence.name for sequence in dataset] == ["camel", "dogs", "bear"]
    assert len(dataset) == 3
    assert [sequence.name for sequence in dataset[1:]] == ["dogs", "bear"]
    dogs = dataset[1]
    assert dogs.frame_names == ("00000", "00001", "00002", "00003")
    assert dogs.prompts == {0: (1, 3)}
    assert dogs.annotated == dogs.listed == (0, 1, 2, 3)
    assert dogs.image(2).shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(dogs.annotation(1), label_map([1, 2, 3]))


def test_a_sequence_travels_to_another_process(root: Path) -> None:
    sequence = DavisDataset(root)[1]
    for again in (pickle.loads(pickle.dumps(sequence)), pickle.loads(pickle.dumps(DavisDataset(root)))[1]):
        assert again == sequence
        assert again.prompts == sequence.prompts
        assert np.array_equal(again.image(0), sequence.image(0))


def test_in_2016_all_objects_are_one(tmp_path: Path) -> None:
    root = make_davis(tmp_path, TREE, year=2016)
    white = np.where(label_map([1]) > 0, np.uint8(255), np.uint8(0))
    Image.fromarray(white).save(root / "Annotations/480p/camel/00000.png")
    void = label_map([1, 2])
    void[-1] = 255
    Image.fromarray(void).save(root / "Annotations/480p/bear/00001.png")
    dataset = DavisDataset(root, 2016)
    assert dataset[0].prompts == {0: (1,)}
    assert np.array_equal(dataset[0].annotation(0), label_map([1]))
    assert np.array_equal(dataset[1].annotation(1), (label_map([1, 2, 3]) > 0).astype(np.uint8))
    assert set(np.unique(dataset[2].annotation(1))) == {0, 1, 255}


@pytest.mark.parametrize("resolution", ["480p", "1080p"])
def test_the_release_of_2016_lists_pairs_for_each_resolution(tmp_path: Path, resolution: str) -> None:
    make_davis(tmp_path, TREE, year=2016, resolution=resolution)
    (tmp_path / "ImageSets/2016/val.txt").unlink()
    (tmp_path / "ImageSets/2016").rmdir()
    lines = [
        f"/JPEGImages/{resolution}/{name}/{index:05d}.jpg /Annotations/{resolution}/{name}/{index:05d}.png "
        for name in ("dogs", "bear")
        for index in range(4)
    ]
    listing = tmp_path / "ImageSets" / resolution / "val.txt"
    listing.parent.mkdir()
    listing.write_text("\r\n".join(lines))
    assert [sequence.name for sequence in DavisDataset(tmp_path, 2016, resolution=resolution)] == ["dogs", "bear"]


def test_of_a_test_split_only_the_first_mask_is_public(tmp_path: Path) -> None:
    root = make_davis(tmp_path, {"camel": {0: (1, 2)}}, split="test-dev")
    (sequence,) = DavisDataset(root, split="test-dev")
    assert sequence.annotated == (0,)
    assert sequence.listed == (0, 1, 2, 3)
    assert sequence.prompts == {0: (1, 2)}
    with pytest.raises(DataError, match=r"00002.jpg has no mask"):
        sequence.annotation(2)


def test_full_resolution_is_a_folder_of_its_own(root: Path) -> None:
    make_davis(root, {"camel": every_frame(1)}, split="few", resolution="Full-Resolution")
    (sequence,) = DavisDataset(root, split="few", resolution="Full-Resolution")
    assert "Full-Resolution" in str(sequence.frame_paths[0])


def test_sequences_are_chosen_by_name_in_the_order_of_the_list(root: Path) -> None:
    assert [sequence.name for sequence in DavisDataset(root, sequences=["bear", "camel"])] == ["camel", "bear"]
    # what is not chosen need not be there
    (root / "Annotations/480p/dogs/00001.png").unlink()
    assert len(DavisDataset(root, sequences=("bear",))) == 1


def refusal(root: Path, **options: object) -> str:
    """The sentence with which a data set is refused when it is made."""
    with pytest.raises(DataError) as caught:
        DavisDataset(root, **options)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence[-1] in ".?"
    return sentence


def test_what_is_asked_for_must_be_there(root: Path, tmp_path: Path) -> None:
    assert "does not exist" in refusal(root / "nowhere")
    assert "is not a folder" in refusal(root / "ImageSets/2017/val.txt")
    assert "choose the year 2017" in refusal(root, year=2016)
    assert "use 2016 or 2017" in refusal(root, year=2019)
    assert "choose from val" in refusal(root, split="train")
    assert "choose from 480p" in refusal(root, resolution="720p")
    assert "did you mean camel?" in refusal(root, sequences=["cammel"])
    assert "choose from camel, dogs, bear." in refusal(root, sequences=["xyz"])
    assert "No sequence" in refusal(root, sequences=[])
    assert str(root) in refusal(tmp_path)
    assert f"name {root}." in refusal(root / "JPEGImages")


def test_a_root_of_another_layout_is_recognised(tmp_path: Path) -> None:
    assert "laid out as YouTube-VOS" in refusal(make_youtube(tmp_path / "ytvos"))
    save_frame(tmp_path / "mose/train/JPEGImages/a/00000.jpg")
    save_mask(tmp_path / "mose/train/Annotations/a/00000.png", [1])
    assert "DAVIS-like folders" in refusal(tmp_path / "mose")


def test_an_empty_list_is_refused(root: Path) -> None:
    (root / "ImageSets/2017/val.txt").write_text("\n \n")
    assert "val.txt is empty" in refusal(root)
    (root / "ImageSets/2017/val.txt").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refusal(root)


@pytest.mark.parametrize("name", ["..", ".", "/", "../..", "../camel", "a\0b", "x" * 256])
def test_a_name_that_no_sequence_can_have_is_refused(root: Path, name: str) -> None:
    (root / "ImageSets/2017/val.txt").write_text(f"camel\n{name}/\n")
    assert "ImageSets/2017/val.txt lists " in refusal(root)


def test_frames_and_masks_must_match(root: Path) -> None:
    masks, frames = root / "Annotations/480p/dogs", root / "JPEGImages/480p/dogs"
    (masks / "00002.png").rename(masks / "00009.png")
    assert "00009.png belongs to no frame" in refusal(root)
    (masks / "00009.png").unlink()
    assert "00002.jpg has no mask" in refusal(root)
    save_frame(frames / "1.png")
    assert "same frame number" in refusal(root)
    assert "1.png" in refusal(root)
    for path in frames.iterdir():
        path.unlink()
    assert "holds no pictures" in refusal(root)
    frames.rmdir()
    assert "dogs does not exist" in refusal(root)


def test_a_mask_of_another_size_is_refused(root: Path) -> None:
    save_mask(root / "Annotations/480p/camel/00000.png", [1], (20, 30))
    sequence = DavisDataset(root)[0]
    with pytest.raises(DataError, match=r"00000.png is 30×20 pixels but its frame 00000.jpg is 32×24"):
        _ = sequence.prompts


def test_a_first_mask_without_objects_is_refused(root: Path) -> None:
    save_mask(root / "Annotations/480p/camel/00000.png", [])
    with pytest.raises(DataError, match="first mask of camel"):
        _ = DavisDataset(root)[0].prompts


def test_frames_are_read_as_stored(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = root / "JPEGImages/480p/camel/00000.jpg"
    with Image.open(path) as picture:
        picture.copy().save(path, exif=exif)
    assert DavisDataset(root)[0].image(0).shape == (HEIGHT, WIDTH, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="damaged"):
        DavisDataset(root)[0].image(0)
