"""Files are replaced where a path leads, and nothing but files is."""

import os
import sys
from pathlib import Path

import pytest
from uamp_eval.atomic import write_atomically
from uamp_model.errors import InputError


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "far" / "real.json", tmp_path / "link.json"
    link.symlink_to(real)
    for content in ("new", "newer"):  # there is no file yet, then there is
        write_atomically(link, content)
        assert link.readlink() == real
        assert real.read_text() == content
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["far", "link.json", "real.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes with a name")
def test_what_is_no_file_stays(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(InputError, match=f"{path.name} is not a regular file: name one that can be replaced"):
            write_atomically(path, "new")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions")
def test_permissions_stay(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")
    path.chmod(0o640)
    write_atomically(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_what_is_write_protected_stays(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")
    path.chmod(0o440)
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(InputError, match="round cannot be written"):
        write_atomically(tmp_path / "round", "new")
    assert (tmp_path / "round").is_symlink()
