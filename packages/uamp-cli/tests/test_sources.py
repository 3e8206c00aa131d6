"""Names of outputs, and the generated clip."""

from pathlib import Path

import pytest
from sound import write_video_with_sound
from uamp_cli.sources import default_output, open_source, true_plan


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "uamp_demo.mp4"),
        ("films/cat.and.dog.mov", "cat.and.dog_uamp.mp4"),
        ("films/cat/", "cat_uamp.mp4"),
        ("0", "camera0_uamp.mp4"),
        ("rtsp://host:554/live/door?quality=1", "door_uamp.mp4"),
        ("http://host", "stream_uamp.mp4"),
        ("films/cat/*.jpg", "cat_uamp.mp4"),
        ("films/cat/%05d.jpg", "cat_uamp.mp4"),
    ],
)
def test_default_output(name: str | None, expected: str) -> None:
    assert default_output(name) == Path(expected)


def test_folders_are_called_by_their_whole_name(tmp_path: Path) -> None:
    (tmp_path / "v.1").mkdir()
    assert default_output(str(tmp_path / "v.1")) == Path("v.1_uamp.mp4")


def test_a_file_given_by_its_address_has_sound(tmp_path: Path) -> None:
    write_video_with_sound(tmp_path / "loud.mp4", seconds=1)
    with open_source((tmp_path / "loud.mp4").as_uri(), None) as source:
        assert source.sound_of == tmp_path / "loud.mp4"


@pytest.mark.parametrize("stem", ["50% off", "what[1]", "clip_%05d"])
def test_a_file_is_no_pattern_whatever_it_is_called(tmp_path: Path, stem: str) -> None:
    (tmp_path / f"{stem}.mp4").touch()
    assert default_output(str(tmp_path / f"{stem}.mp4")) == Path(f"{stem}_uamp.mp4")


def test_generated_clip_and_its_shorter_self_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_cli.sources.CLIP_SIZE", (64, 96))
    monkeypatch.setattr("uamp_cli.sources.CLIP_FRAMES", 5)
    with open_source(None, None) as whole, open_source(None, 2) as part:
        assert (whole.frame_count, part.frame_count) == (5, 2)
        assert (whole.width, whole.height, float(whole.frame_rate)) == (96, 64, 24)
        first, second = list(whole.frames), list(part.frames)
        assert [frame.index for frame in first] == list(range(5))
        assert all((a.image == b.image).all() for a, b in zip(first, second, strict=False))
        assert whole.truth is not None
        assert sorted(true_plan(whole.truth).first_frames) == [1, 2]
