from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from uamp_data.atomic import atomic_file
from uamp_data.errors import DataError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("wanted", [0o600, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, wanted: int) -> None:
    path = tmp_path / "out.txt"
    path.touch()
    path.chmod(wanted)
    kept = mode(path)  # what the disk knows of it
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert mode(temporary) == kept
    assert path.read_text() == "new"
    assert mode(path) == kept


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_write_protected_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(DataError, match="permission denied"), atomic_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["out.txt"]
