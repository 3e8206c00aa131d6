from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from uamp_data import DataError, open_video
from uamp_data.reader import local_files


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DataError, match=r"^nowhere\.mp4 does not exist: check the path\.$"):
        open_video("nowhere.mp4")
    with pytest.raises(DataError, match="name of the video is empty"):
        open_video(" ")
    with pytest.raises(DataError, match="does not exist"):
        open_video(Path("http:/nowhere"))
    with pytest.raises(DataError, match="cannot be opened"):
        open_video("x" * 5000)
    with pytest.raises(DataError, match="does not exist"):
        open_video("x\0y.mp4")
    with pytest.raises(DataError, match=r"^~nobody-of-this-name/x\.mp4 does not exist"):
        open_video("~nobody-of-this-name/x.mp4")


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(DataError, match="is empty"):
        open_video("~/clip.mp4")


def test_the_files_that_would_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pictures = [tmp_path / "frames" / f"{number}.png" for number in (2, 10)]
    pictures[0].parent.mkdir()
    for path in (*pictures, tmp_path / "clip 1.mp4"):
        path.touch()
    for source in (str(tmp_path / "frames"), f"{tmp_path}/frames/*.png", f"{tmp_path}/frames/%d.png", "~/frames"):
        assert local_files(source) == pictures
    assert local_files((tmp_path / "clip 1.mp4").as_uri()) == [tmp_path / "clip 1.mp4"]
    monkeypatch.chdir(tmp_path / "frames")
    for source in ("0", "rtsp://127.0.0.1/live", "gone.mp4", "", "x" * 5000, "x\0y", "http://[bad"):
        assert local_files(source) == []


def test_importing_the_package_loads_neither_ffmpeg_nor_opencv() -> None:
    code = "import sys, uamp_data; dir(uamp_data); print(sorted({'av', 'cv2', 'PIL', 'numpy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    import uamp_data

    for name in uamp_data.__all__:
        assert getattr(uamp_data, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = uamp_data.nothing
