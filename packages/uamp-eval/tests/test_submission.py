"""The zip for a benchmark's server, entry by entry."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures
from tiny_videos import TinyVideo, write_mask
from uamp_eval.runs import run_benchmark
from uamp_eval.submission import write_submission
from uamp_model import load_tracker
from uamp_model.errors import InputError

VIDEOS = (
    TinyVideo("0f3a", length=12, size=(36, 60), enters={1: 0, 2: 5}, listed_every=5),
    TinyVideo("003b", length=7, size=(50, 40), enters={4: 3}, listed_every=5),
)
"""Sparse annotations, late objects, two sizes; out of alphabetical order."""

ENTRIES = {
    "Annotations/003b/00000.png": ((40, 50), {0}),
    "Annotations/003b/00003.png": ((40, 50), {0, 4}),
    "Annotations/003b/00005.png": ((40, 50), {0, 4}),
    "Annotations/0f3a/00000.png": ((60, 36), {0, 1}),
    "Annotations/0f3a/00005.png": ((60, 36), {0, 1, 2}),
    "Annotations/0f3a/00010.png": ((60, 36), {0, 1, 2}),
}


def write_truth(results: Path) -> None:
    for video in VIDEOS:
        (results / video.name).mkdir(parents=True)
        for frame in video.listed:
            write_mask(results / video.name / f"{video.frame_names[frame]}.png", video.annotation(frame))


def test_a_run_over_youtube_vos_videos_gives_the_zip_its_server_takes(tmp_path: Path) -> None:
    tracker = load_tracker("nano", memory="sam2", device="cpu", precision="fp32")
    summary = run_benchmark({"sam2": tracker}, VIDEOS, tmp_path, write=write_mask, protocol="YouTube-VOS")
    target = tmp_path / "new" / "submission.zip"
    assert write_submission(summary.folders["sam2"], VIDEOS, target) == list(ENTRIES)
    with zipfile.ZipFile(target) as archive:
        assert archive.namelist() == list(ENTRIES)
        for name, (size, ids) in ENTRIES.items():
            picture = Pictures.open(io.BytesIO(archive.read(name)))
            assert (picture.mode, picture.size) == ("P", size)
            found = set(np.unique(np.asarray(picture)).tolist())
            assert found <= ids
            assert 0 in found
            # objects are there in the frame in which they are given
            video = next(v for v in VIDEOS if v.name == name.split("/")[1])
            assert {i for i, start in video.enters.items() if f"{start:05d}" == Path(name).stem} <= found


def test_the_same_results_give_the_same_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_truth(tmp_path / "results")
    write_submission(tmp_path / "results", VIDEOS, tmp_path / "a.zip")
    write_submission(tmp_path / "results", VIDEOS[::-1], tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "results"]


def test_davis_wants_the_sequences_at_the_top(tmp_path: Path) -> None:
    write_truth(tmp_path)
    entries = write_submission(tmp_path, VIDEOS, tmp_path / "davis.zip", top="")
    assert entries == [name.removeprefix("Annotations/") for name in ENTRIES]


def test_masks_that_no_server_would_take_are_named(tmp_path: Path) -> None:
    write_truth(tmp_path)
    mask, target = tmp_path / "0f3a" / "00005.png", tmp_path / "s.zip"
    target.write_bytes(b"an earlier one")
    write_mask(mask, np.zeros((36, 61), np.uint8))
    with pytest.raises(InputError, match=r"0f3a/00005\.png is 61×36 pixels but its video is 60×36"):
        write_submission(tmp_path, VIDEOS, target)
    Pictures.new("RGB", (60, 36)).save(mask)
    with pytest.raises(InputError, match=r"0f3a/00005\.png is not an 8-bit PNG"):
        write_submission(tmp_path, VIDEOS, target)
    mask.unlink()
    with pytest.raises(InputError, match=r"0f3a/00005\.png cannot be read.*finish the evaluation"):
        write_submission(tmp_path, VIDEOS, target)
    with pytest.raises(InputError, match="nothing to submit"):
        write_submission(tmp_path, (), target)
    assert target.read_bytes() == b"an earlier one"


def test_a_zip_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_truth(tmp_path / "results")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_submission(tmp_path / "results", VIDEOS, tmp_path / "file" / "s.zip")
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(InputError, match=r"folder\.zip is a folder: name a file in it"):
        write_submission(tmp_path / "results", VIDEOS, tmp_path / "folder.zip")


def test_a_link_stays_and_its_zip_is_replaced(tmp_path: Path) -> None:
    write_truth(tmp_path / "results")
    (tmp_path / "link.zip").symlink_to(tmp_path / "real.zip")
    write_submission(tmp_path / "results", VIDEOS, tmp_path / "link.zip")
    assert (tmp_path / "link.zip").is_symlink()
    assert zipfile.is_zipfile(tmp_path / "real.zip")


def test_it_works_without_torch() -> None:
    code = "import sys, uamp_eval.submission; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
