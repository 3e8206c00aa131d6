from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from uamp_data import DataError, open_video
from uamp_data.camera import CameraReader

MakeVideo = Callable[..., Path]


def test_frames_of_a_camera(make_video: MakeVideo) -> None:
    # OpenCV opens a file as it opens a camera, so the reader runs for real where no camera is
    path = make_video("camera.mp4", rate=Fraction(30))
    with CameraReader("camera.mp4", str(path)) as camera:
        assert (camera.width, camera.height, camera.frame_rate) == (64, 48, Fraction(30))
        assert camera.is_live
        assert camera.frame_count is None
        frames = list(camera)
        assert camera.note == "camera camera.mp4 stopped after 12 frames"
        with pytest.raises(DataError, match="read already"):
            next(iter(camera))
    assert [frame.index for frame in frames] == list(range(12))
    assert frames[0].time == 0
    assert all(a.time < b.time for a, b in pairwise(frames))
    assert frames[0].image[4, 4] == pytest.approx([200, 20, 20], abs=30)


@pytest.mark.parametrize("name", ["98", "/dev/video98"])
def test_a_missing_camera_is_one_sentence_and_nothing_else(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=f"Camera {name} gives no picture"):
        open_video(name)
    assert capfd.readouterr() == ("", "")
