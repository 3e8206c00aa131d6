"""What black and white mean in a video's masks: one object, or void beside the ids of its other masks."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from data_trees import HEIGHT, WIDTH, save_frame
from PIL import Image
from uamp_data import DataError
from uamp_data.folders import FolderDataset
from uamp_data.sequence import DiskSequence

GREYS = bytes(np.repeat(np.arange(256, dtype=np.uint8), 3))
THREE_GREYS = bytes([0, 0, 0, 127, 127, 127, 255, 255, 255])


def video(
    root: Path, masks: Sequence[Sequence[int]], *, palette: bytes | None = None, late: bool = False
) -> DiskSequence:
    """A frame for each mask; a mask has a row of each of these values, and the rest is 0."""
    for index, values in enumerate(masks):
        save_frame(root / "frames/clip" / f"{index:05d}.jpg")
        ids = np.zeros((HEIGHT, WIDTH), np.uint8)
        ids[: len(values)] = np.array(values, np.uint8).reshape(-1, 1)
        picture = Image.fromarray(ids)
        if palette is not None:
            picture.putpalette(palette)
        path = root / "masks/clip" / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    (sequence,) = FolderDataset(root / "frames", root / "masks", late_objects=late)
    return sequence


def shown(sequence: DiskSequence) -> list[list[int]]:
    return [[value for value in np.unique(sequence.annotation(frame)) if value] for frame in sequence.annotated]


@pytest.mark.parametrize("palette", [None, GREYS])
def test_void_without_an_object_stays_void(tmp_path: Path, palette: bytes | None) -> None:
    sequence = video(tmp_path, [(1, 255), (1, 255), (1,), (255,), (1, 255)], palette=palette)
    assert shown(sequence) == [[1, 255], [1, 255], [1], [255], [1, 255]]
    assert sequence.prompts == {0: (1,)}
    assert shown(pickle.loads(pickle.dumps(sequence))) == shown(sequence)
    assert np.unique(sequence.annotation(3)[1:]).tolist() == [0]


def test_an_object_that_appears_later_is_not_made_of_void(tmp_path: Path) -> None:
    sequence = video(tmp_path, [(), (2,), (255,), (1, 2, 255)], late=True)
    assert sequence.prompts == {1: (2,), 3: (1,)}
    assert shown(sequence)[2] == [255]


def test_a_video_of_black_and_white_has_one_object(tmp_path: Path) -> None:
    sequence = video(tmp_path, [(255,), (), (255, 255), (1, 255)])
    assert shown(sequence) == [[1], [], [1], [1, 255]]
    assert sequence.prompts == {0: (1,)}


def test_a_white_index_is_the_id_that_it_is_in_the_first_mask(tmp_path: Path) -> None:
    assert shown(video(tmp_path, [(1, 2), (2,)], palette=THREE_GREYS)) == [[1, 2], [2]]


def test_the_first_mask_is_read_only_where_it_has_to_tell(tmp_path: Path) -> None:
    sequence = video(tmp_path, [(1,), (1, 255), (255,)])
    sequence.annotation_paths[0].write_bytes(b"no picture")
    assert np.unique(sequence.annotation(1)).tolist() == [0, 1, 255]
    with pytest.raises(DataError, match=r"00000\.png is not a PNG"):
        sequence.annotation(2)
