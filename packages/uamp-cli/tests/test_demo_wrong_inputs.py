"""Whatever is wrong with what `uamp demo` is given: one sentence, exit code 2, nothing left behind."""

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from uamp_data.masks import write_mask

Run = Callable[..., Any]
Make = Callable[..., Path]

BOX = ("--box", "12,16,32,32")


@pytest.fixture
def demo(run: Run, checkpoint: Path) -> Run:
    """Run `uamp demo` with the test's weights."""

    def invoke(*arguments: object) -> Any:
        return run("demo", "--device", "cpu", "--checkpoint", checkpoint, *arguments)

    return invoke


def test_missing_file(demo: Run) -> None:
    assert "gone.mp4 does not exist" in demo("--input", "gone.mp4").refused()


def test_a_refused_run_leaves_no_folders(demo: Run, tmp_path: Path) -> None:
    demo("--input", "gone.mp4", "--output", "new/deep/x.mp4", "--json", "other/x.json").refused()
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "other").exists()


def test_text_renamed_to_video(demo: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video\n" * 100)
    assert "notes.mp4" in demo("--input", "notes.mp4").refused()
    assert not (tmp_path / "notes_uamp.mp4").exists()


@pytest.mark.parametrize("spelling", ["--image-size", "--image_size"])
def test_no_such_image_size(demo: Run, make_video: Make, spelling: str) -> None:
    assert "100 must be a multiple of 32" in demo("--input", make_video("a.mp4"), *BOX, spelling, 100).refused()


def test_no_frames(demo: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert "empty.mp4" in demo("--input", "empty.mp4").refused()
    (tmp_path / "folder").mkdir()
    assert "folder" in demo("--input", "folder").refused()


def test_header_without_frames(demo: Run, make_video: Make, tmp_path: Path) -> None:
    content = make_video("whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: content.index(b"mdat") + 4])
    assert "cut.mp4" in demo("--input", "cut.mp4").refused()


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("200,200,300,300", "outside the picture, which is 96×64"),
        ("-50,-50,-10,-10", "outside the picture"),
        ("50,50,20,20", "reversed"),
        ("20,20,20,40", "no area"),
        ("1,2,3", "3 numbers instead of four"),
        ("a,b,c,d", "not a list of numbers"),
        ("0,0,nan,10", "not a finite number"),
        ("", "not a list of numbers"),
    ],
)
def test_wrong_boxes(demo: Run, make_video: Make, box: str, words: str) -> None:
    assert words in demo("--input", make_video(frames=1), f"--box={box}").refused()


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (["500,10"], "outside the picture"),
        (["10,10,2"], "label 2"),
        (["10"], "1 numbers instead of"),
        (["10,10,0"], "at least one point on it"),
    ],
)
def test_wrong_points(demo: Run, make_video: Make, points: list[str], words: str) -> None:
    options = [part for point in points for part in ("--point", point)]
    assert words in demo("--input", make_video(frames=1), *options).refused()


def test_ambiguous_prompts(demo: Run, make_video: Make, make_mask: Make) -> None:
    video = make_video(frames=1)
    twice = demo("--input", video, *BOX, "--box", "1,1,9,9", "--point", "5,5").refused()
    assert "which object a --point belongs to" in twice
    assert (
        "--mask cannot be combined with --box or --point"
        in demo("--input", video, *BOX, "--mask", make_mask()).refused()
    )


def test_prompts_without_input(demo: Run) -> None:
    assert "name it with --input" in demo(*BOX).refused()


def test_mask_of_another_size_empty_or_missing(demo: Run, make_video: Make, make_mask: Make, tmp_path: Path) -> None:
    video = make_video(frames=1)
    assert (
        "50×40 pixels but the video is 96×64"
        in demo("--input", video, "--mask", make_mask(height=40, width=50)).refused()
    )
    write_mask(tmp_path / "empty.png", np.zeros((64, 96), np.uint8))
    assert "empty" in demo("--input", video, "--mask", "empty.png").refused()
    assert "gone.png" in demo("--input", video, "--mask", "gone.png").refused()
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png" in demo("--input", video, "--mask", "text.png").refused()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON, line 1"),
        ("[]", "names no object"),
        ("7", "must hold"),
        ('{"object": {}}', "must hold"),
        ('{"objects": {"0": {"box": [1, 1, 9, 9]}}}', "from 1 to 254"),
        ('{"objects": {"dog": {"box": [1, 1, 9, 9]}}}', "'dog'"),
        ('{"objects": {"1": {"bbox": [1, 1, 9, 9]}}}', "did you mean 'box'?"),
        ('{"objects": {"1": {"box": [9, 1, 1, 9]}}}', "reversed"),
        ('{"objects": {"1": {"box": "1,1,9,9"}}}', "list of numbers"),
        ('{"objects": {"1": {"frame": -1, "box": [1, 1, 9, 9]}}}', "from 0 on"),
        ('{"objects": {"1": {"frame": 99, "box": [1, 1, 9, 9]}}}', "prompt on frame 99"),
        ('{"objects": {"1": {"points": [[1, 1, 0]]}}}', "at least one point on it"),
        ('{"objects": {"1": {}}}', "no box, points or mask"),
        ('{"objects": {"1": {"mask": "m.png", "box": [1, 1, 9, 9]}}}', "one or the other"),
        ('{"objects": {"1": [{"box": [1, 1, 9, 9]}, {"box": [2, 2, 9, 9]}]}}', "second prompt of object 1"),
        ('[{"box": [1, 1, 9, 9]}]', "needs an object number"),
        ("[3]", "must be written like"),
    ],
)
def test_wrong_prompts_files(demo: Run, make_video: Make, tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "p.json").write_text(content)
    assert words in demo("--input", make_video(frames=2), "--prompts", "p.json").refused()


def test_prompt_frame_beyond_the_video(demo: Run, make_video: Make) -> None:
    video = make_video(frames=3)
    assert "frame 3" in demo("--input", video, *BOX, "--prompt-frame", 3).refused()
    assert "--max-frames 2" in demo("--input", video, *BOX, "--prompt-frame", 2, "--max-frames", 2).refused()


def test_unknown_names(run: Run, demo: Run, make_video: Make) -> None:
    video = make_video(frames=1)
    assert "sam2.1-hiera-large" in run("demo", "--input", video, "--model", "sam2.1-hiera-lage").refused()
    assert "sam2" in demo("--input", video, *BOX, "--memory", "sam3").refused()
    assert "gpu" in demo("--input", video, *BOX, "--device", "gpu").refused()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_that_is_not_there(demo: Run, make_video: Make) -> None:
    assert "CUDA" in demo("--input", make_video(frames=1), *BOX, "--device", "cuda").refused()


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.mark),))


def test_pickle_that_would_run_code_is_refused(run: Run, make_video: Make, tmp_path: Path) -> None:
    mark = tmp_path / "it_ran"
    torch.save({"model": {"weight": _Bomb(mark)}}, tmp_path / "torch.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Bomb(mark)))
    for name in ("torch.pt", "plain.pt"):
        assert name in run("demo", "--input", make_video(frames=1), *BOX, "--checkpoint", name).refused()
    assert not mark.exists()


def test_corrupt_foreign_and_missing_checkpoints(run: Run, make_video: Make, checkpoint: Path, tmp_path: Path) -> None:
    video = make_video(frames=1)
    (tmp_path / "cut.safetensors").write_bytes(checkpoint.read_bytes()[:5000])
    (tmp_path / "noise.pt").write_bytes(bytes(range(256)) * 8)
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "foreign.pt")
    for name in ("cut.safetensors", "noise.pt", "foreign.pt", "gone.pt"):
        assert name in run("demo", "--input", video, *BOX, "--checkpoint", name).refused()
    assert not (tmp_path / "in_uamp.mp4").exists()


def test_checkpoint_of_another_model(run: Run, make_video: Make, checkpoint: Path) -> None:
    arguments = ("--model", "sam2.1-hiera-tiny", "--checkpoint", checkpoint)
    assert "nano" in run("demo", "--input", make_video(frames=1), *BOX, *arguments).refused()


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--output", "a.mp4"),
        ("--json", "a.json"),
        ("--coco", "a.json"),
        ("--csv", "a.csv"),
        ("--summary", "a.png"),
        ("--cutout-video", "a.mov"),
        ("--green-screen", "a.mp4"),
        ("--save-masks", "a"),
        ("--save-cutout", "a"),
    ],
)
def test_unwritable_outputs(demo: Run, make_video: Make, tmp_path: Path, option: str, name: str) -> None:
    (tmp_path / "file").write_text("no folder")
    for folder in ("file", "/proc/nowhere"):
        assert folder in demo("--input", make_video(frames=1), *BOX, option, f"{folder}/{name}").refused()


@pytest.mark.parametrize(
    ("option", "name", "ending"),
    [
        ("--cutout-video", "a.mp4", ".mov or .webm"),
        ("--green-screen", "a.mov", ".mp4"),
        ("--summary", "a.jpg", ".png"),
        ("--coco", "a.txt", ".json"),
        ("--csv", "a.json", ".csv"),
    ],
)
def test_endings(demo: Run, make_video: Make, option: str, name: str, ending: str) -> None:
    assert f"{name} must end in {ending}" in demo("--input", make_video(frames=1), *BOX, option, name).refused()


def test_ways_to_point_that_exclude_each_other(demo: Run, make_video: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    video = make_video(frames=1)
    assert "--object picks one of the proposed objects" in demo("--input", video, *BOX, "--object", 1).refused()
    assert "--select cannot be combined with --box" in demo("--input", video, *BOX, "--select").refused()
    assert "name it with --input" in demo("--object", 2).refused()
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "--select needs" in demo("--input", video, "--select").refused()


def test_output_that_is_a_folder_or_of_another_kind(demo: Run, make_video: Make, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    video = make_video(frames=1)
    assert "is a folder" in demo("--input", video, *BOX, "--output", "folder.mp4").refused()
    assert ".mp4" in demo("--input", video, *BOX, "--output", "out.gif").refused()


def test_outputs_never_overwrite_inputs(demo: Run, make_video: Make, make_mask: Make, tmp_path: Path) -> None:
    video, mask = make_video(frames=1), make_mask()
    before = video.read_bytes(), mask.read_bytes()
    assert "would overwrite --input" in demo("--input", video, *BOX, "--output", "./in.mp4").refused()
    (tmp_path / "link.mp4").symlink_to(video)
    assert "would overwrite --input" in demo("--input", video, *BOX, "--output", "link.mp4").refused()
    assert "would overwrite --mask" in demo("--input", video, "--mask", mask, "--save-masks", ".").refused()
    Image.open(mask).save(tmp_path / "mask.bmp")
    assert "would overwrite --mask" in demo("--input", video, "--mask", "mask.bmp", "--save-masks", ".").refused()
    (tmp_path / "p.json").write_text(json.dumps([{"object": 1, "box": [1, 1, 9, 9]}]))
    assert "would overwrite --prompts" in demo("--input", video, "--prompts", "p.json", "--json", "p.json").refused()
    assert "would overwrite --output" in demo("--input", video, *BOX, "--output", "x.mp4", "--json", "x.mp4").refused()
    folders = ("--save-masks", "m", "--save-cutout", "./m")
    assert "would overwrite --save-masks" in demo("--input", video, *BOX, *folders).refused()
    assert (video.read_bytes(), mask.read_bytes()) == before


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (("--input", "frames/*.png", *BOX, "--save-masks", "frames"), "--input"),
        (("--input", "frames/%05d.png", *BOX, "--save-cutout", "frames"), "--input"),
        (("--input", "frames/00000.png", *BOX, "--save-masks", "frames"), "--input"),
        (("--input", "frames", *BOX, "--summary", "frames/00001.png"), "--input"),
        (("--input", "in_objects.png", "--output", "in.mp4"), "--input"),
        (("--input", "frames", "--output", "y.mp4", "--summary", "y_objects.png"), "--summary"),
        (("--input", "FILE", *BOX, "--output", "in.mp4"), "--input"),
        (("--input", "in.mp4", "--prompts", "p.json", "--save-masks", "masks"), "the mask"),
        (("--input", "in.mp4", "--prompts", "p.json", "--json", "masks/00000.png"), "the mask"),
        (("--input", "in.mp4", *BOX, "--uamp-checkpoint", "layers.csv", "--csv", "layers.csv"), "--uamp-checkpoint"),
    ],
)
def test_nothing_that_is_read_is_overwritten(
    given: tuple[str, ...], name: str, demo: Run, make_video: Make, make_mask: Make, tmp_path: Path
) -> None:
    """Patterns, pictures of a folder, addresses, and what a prompts file names are inputs too."""
    video = make_video(frames=1)
    (tmp_path / "frames").mkdir()
    (tmp_path / "masks").mkdir()
    pictures = [
        tmp_path / name for name in ("frames/00000.png", "frames/00001.png", "masks/00000.png", "in_objects.png")
    ]
    for picture in pictures:
        make_mask().rename(picture)
    (tmp_path / "layers.csv").write_bytes(b"layers")
    (tmp_path / "p.json").write_text(json.dumps([{"object": 1, "mask": "masks/00000.png"}]))
    before = [path.read_bytes() for path in (video, *pictures)]
    arguments = [video.as_uri() if part == "FILE" else part for part in given]
    assert f"would overwrite {name} " in demo(*arguments).refused()
    assert [path.read_bytes() for path in (video, *pictures)] == before


def test_one_result_alone_goes_to_standard_output(demo: Run, make_video: Make) -> None:
    video = make_video(frames=1)
    for other in ("--coco", "--csv"):
        sentence = demo("--input", video, *BOX, "--json", "-", other, "-").refused()
        assert f"--json and {other} cannot both go to standard output" in sentence


@pytest.mark.parametrize("option", ["--save-masks", "--save-cutout"])
def test_a_picture_of_a_folder_is_no_place_for_another_result(demo: Run, make_video: Make, option: str) -> None:
    sentence = demo("--input", make_video(frames=1), *BOX, option, "m", "--summary", "m/00000.png").refused()
    assert f"--summary 00000.png would take the place of a picture of {option}" in sentence


def test_a_folder_of_pictures_may_hold_a_summary(demo: Run, make_video: Make, tmp_path: Path) -> None:
    outcome = demo("--input", make_video(frames=1), *BOX, "--save-masks", "m", "--summary", "m/summary.png")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["00000.png", "summary.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="a current folder cannot be removed there")
def test_a_current_folder_that_is_gone(
    demo: Run, make_video: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(frames=1)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "the current folder is gone" in demo("--input", video, *BOX, "--output", "o.mp4").refused()


def test_links_that_lead_to_themselves(demo: Run, make_video: Make, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("a.mp4")
    (tmp_path / "folder").symlink_to("folder")
    video = make_video(frames=1)
    for output in ("a.mp4", "folder/b.mp4"):
        assert "a link there leads to itself" in demo("--input", video, *BOX, "--output", output).refused()


def test_names_no_file_can_have(demo: Run, make_video: Make) -> None:
    name = 300 * "a" + ".mp4"
    assert "File name too long" in demo("--input", make_video(frames=1), *BOX, "--output", name).refused()


def test_compiling_without_a_compiler(
    demo: Run, make_video: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(frames=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "needs a C++ compiler such as g++" in demo("--input", video, *BOX, "--compile").refused()
