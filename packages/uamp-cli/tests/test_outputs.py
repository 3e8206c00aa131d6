"""Places that cannot be written to, or must not be, are found before the work."""

import os
import sys
from pathlib import Path

import pytest
from uamp_cli.outputs import check_outputs
from uamp_model.errors import InputError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes with a name")
def test_what_is_no_file_is_not_replaced(here: Path) -> None:
    os.mkfifo("pipe")
    Path("link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(InputError, match=f"--json {name} is not a regular file: name one that can be replaced"):
            check_outputs({"--json": Path(name)}, {})
    assert Path("pipe").is_fifo()


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs names of open files")
@pytest.mark.parametrize("stream", [1, 2])
def test_where_the_command_prints_is_no_place_for_a_result(here: Path, stream: int) -> None:
    printed = here / "printed"
    before, into = os.dup(stream), os.open(printed, os.O_WRONLY | os.O_CREAT)
    try:
        os.dup2(into, stream)  # as `> printed` does
        for path in (Path(f"/dev/fd/{stream}"), printed):
            with pytest.raises(InputError, match="is where the command prints: name a file of its own"):
                check_outputs({"--json": path}, {})
    finally:
        os.dup2(before, stream)
        os.close(before)
        os.close(into)
    check_outputs({"--json": printed}, {})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_what_is_write_protected_is_not_replaced(here: Path) -> None:
    (here / "a.json").touch(mode=0o400)
    with pytest.raises(InputError, match=r"--json a\.json is write-protected"):
        check_outputs({"--json": Path("a.json")}, {})


def test_a_link_may_be_to_a_folder_that_cannot_be_written(here: Path) -> None:
    (here / "file").touch()
    Path("link").symlink_to("file/a.json")
    with pytest.raises(InputError, match="is not a folder"):
        check_outputs({"--json": Path("link")}, {})
    Path("good").symlink_to("new/a.json")
    check_outputs({"--json": Path("good")}, {})
    assert sorted(path.name for path in here.iterdir()) == ["file", "good", "link"]


@pytest.mark.parametrize("option", ["--save-masks", "--save-cutout"])
def test_folders_in_the_places_of_pictures_are_named(here: Path, option: str) -> None:
    for name in ("masks.png", "1.png", "00002"):
        (here / "m" / name).mkdir(parents=True)
    (here / "m" / "00000.png").touch()
    check_outputs({option: Path("m")}, {})
    (here / "m" / "00001.png").mkdir()
    with pytest.raises(InputError, match=rf"{option} cannot write m/00001\.png, where no file is"):
        check_outputs({option: Path("m")}, {})
