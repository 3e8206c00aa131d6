from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from uamp_data import DataError, open_video


def save(path: Path, level: int = 0, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).convert(mode).save(path)
    return path


def levels(source: Path | str) -> list[int]:
    with open_video(source) as video:
        return [int(frame.image[0, 0, 0]) for frame in video]


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for level, name in enumerate(["f1.png", "f2.png", "f10.PNG", "f0011.bmp", "f100.webp"]):
        save(tmp_path / name, level * 20)
    (tmp_path / "readme.txt").write_text("not a frame")
    save(tmp_path / ".f3.png", 250)
    with open_video(tmp_path) as video:
        frames = list(video)
        assert (video.width, video.height, video.frame_count, video.is_live) == (8, 6, 5, False)
        assert video.frame_rate == Fraction(25)
        assert video.note is None
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert [int(frame.image[0, 0, 0]) for frame in frames] == pytest.approx([0, 20, 40, 60, 80], abs=2)
    assert all(frame.image.flags["C_CONTIGUOUS"] and frame.image.shape == (6, 8, 3) for frame in frames)


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2, 10):
        save(tmp_path / "frames" / f"{number}.jpg", number)
        save(tmp_path / "frames" / f"{number}.png", number + 100)
    assert levels(f"{tmp_path}/frames/*.png") == [101, 102, 110]
    assert levels(f"{tmp_path}/**/*.png") == [101, 102, 110]
    assert levels(f"{tmp_path}/frames/%05d.png") == [101, 102, 110]
    monkeypatch.chdir(tmp_path)
    assert levels("frames/[12].png") == [101, 102]
    with pytest.raises(DataError, match="No picture matches"):
        open_video("frames/*.tif")


def test_a_numbered_pattern_takes_numbers_alone_and_its_folder_literally(tmp_path: Path) -> None:
    folder = tmp_path / "take [1080p]"
    for level, name in enumerate(["00001", "00002", "00002_mask", "100000"]):
        save(folder / f"{name}.png", level * 20)
    assert levels(f"{folder}/%05d.png") == [0, 20, 60]


def test_brackets_in_a_name_that_exists_are_no_pattern(tmp_path: Path) -> None:
    save(tmp_path / "take [1]" / "0.png", 7)
    assert levels(tmp_path / "take [1]") == [7]


def test_one_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    assert levels(save(tmp_path / "one.png", 9)) == [9]


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_a_picture_that_moves_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving{suffix}"
    first, second = (Image.new("RGB", (8, 6), (level, 0, 0)) for level in (0, 200))
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(DataError, match=r"moving\.\w+ is an animation of 2 pictures: save it as a GIF"):
        open_video(path)


def test_further_pictures_in_a_tiff_are_no_animation(tmp_path: Path) -> None:
    path = tmp_path / "thumbnail.tif"
    first, second = (Image.new("L", (8, 6), level) for level in (9, 200))
    first.save(path, save_all=True, append_images=[second])
    assert levels(path) == [9]


def test_a_folder_named_like_a_camera_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "0" / "0.png", 33)
    monkeypatch.chdir(tmp_path)
    assert levels("0") == [33]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.new("L", (3, 2), 90), (90, 90, 90)),
        (Image.new("1", (3, 2), 1), (255, 255, 255)),
        (Image.new("RGBA", (3, 2), (200, 100, 50, 255)), (200, 100, 50)),
        (Image.new("RGBA", (3, 2), (200, 100, 50, 0)), (0, 0, 0)),
        (Image.new("LA", (3, 2), (80, 255)), (80, 80, 80)),
        (Image.fromarray(np.full((2, 3), 0xABCD, dtype=np.uint16)), (0xAB, 0xAB, 0xAB)),
        (Image.new("RGB", (3, 2), (10, 20, 30)).quantize(4), (10, 20, 30)),
    ],
    ids=["grey", "1 bit", "RGBA", "transparent", "LA", "16 bit", "palette"],
)
def test_every_kind_of_picture_becomes_rgb(
    tmp_path: Path, picture: Image.Image, expected: tuple[int, int, int]
) -> None:
    picture.save(tmp_path / "0.png")
    with open_video(tmp_path) as video:
        (frame,) = video
    assert frame.image.shape == (2, 3, 3)
    assert frame.image.dtype == np.uint8
    assert (frame.image == expected).all()


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "0.png", exif=exif)
    with open_video(tmp_path) as video:
        assert (video.width, video.height) == (4, 6)
        (frame,) = video
    assert (frame.image[:, -1] == 255).all()
    assert frame.image[:, 0].max() == 0


def message(source: Path) -> str:
    with pytest.raises(DataError) as caught, open_video(source) as video:
        list(video)
    return str(caught.value)


def test_what_is_wrong_is_said_with_the_file(tmp_path: Path) -> None:
    assert "does not exist" in message(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in message(tmp_path / "empty")
    (tmp_path / "empty.mp4").touch()
    assert "empty.mp4 is empty" in message(tmp_path / "empty.mp4")
    Image.new("F", (8, 6), 0.5).save(tmp_path / "floats.tif")
    assert "floats.tif holds floating-point numbers: save it with 8 or 16 bits" in message(tmp_path / "floats.tif")

    save(tmp_path / "mixed" / "0.png")
    save(tmp_path / "mixed" / "1.png", size=(9, 6))
    assert "1.png is 9×6 pixels but 0.png is 8×6" in message(tmp_path / "mixed")

    save(tmp_path / "twins" / "0.png")
    save(tmp_path / "twins" / "0.jpg")
    assert "holds both 0.jpg and 0.png" in message(tmp_path / "twins")

    save(tmp_path / "text" / "0.png")
    (tmp_path / "text" / "1.png").write_text("no picture")
    assert "1.png is damaged or not a picture" in message(tmp_path / "text")
    (tmp_path / "text" / "1.png").write_text("")
    assert "1.png is empty" in message(tmp_path / "text")

    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    (tmp_path / "cut").mkdir()
    for name in ("0.jpg", "1.jpg"):
        Image.fromarray(noise).save(tmp_path / "cut" / name)
    whole = (tmp_path / "cut" / "1.jpg").read_bytes()
    (tmp_path / "cut" / "1.jpg").write_bytes(whole[: len(whole) // 2])
    assert "1.jpg is damaged" in message(tmp_path / "cut")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    save(tmp_path / "0.png").chmod(0)
    assert "permission denied" in message(tmp_path)
