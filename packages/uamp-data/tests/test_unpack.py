from __future__ import annotations

import shutil
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from uamp_data import DataError
from uamp_data.unpack import merge_tree, unpacked


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Content by path of every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_packed_is_unpacked_and_the_folder_goes_away(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(3_000_000)
    archive = pack(
        tmp_path / "a.zip", {"D/x/1.jpg": content, "D/empty/": b"", "./D/y.txt": b"y", "__MACOSX/D/._y": b""}
    )
    seen: list[tuple[int, int]] = []
    with unpacked(archive, tmp_path, progress=lambda done, total: seen.append((done, total))) as folder:
        assert folder.parent == tmp_path
        assert tree(folder) == {"D/x/1.jpg": content, "D/y.txt": b"y"}
        assert (folder / "D/empty").is_dir()
        assert (folder / "D/y.txt").stat().st_mode & 0o111 == 0
    assert seen[-1] == (3_000_001, 3_000_001)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def link(path: Path) -> Path:
    info = zipfile.ZipInfo("D/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(info, "/etc/passwd")
    return path


def pipe(path: Path) -> Path:
    info = zipfile.ZipInfo("D/pipe")
    info.external_attr = (stat.S_IFIFO | 0o644) << 16
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(info, "")
    return path


def twice(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr("D/a", "one")
        file.writestr("D/a", "two")
    return path


def with_nul(path: Path) -> Path:
    pack(path, {"D/good.pngX": b"x"})
    path.write_bytes(path.read_bytes().replace(b"D/good.pngX", b"D/good\0.png"))
    return path


def damaged(path: Path) -> Path:
    content = b"some content that is stored as it is"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("D/a", content)
    path.write_bytes(path.read_bytes().replace(b"stored", b"STORED"))
    return path


def encrypted(path: Path) -> Path:
    pack(path, {"D/a": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    path.write_bytes(bytes(data))
    return path


def named(*names: str) -> Callable[[Path], Path]:
    return lambda path: pack(path, {"D/first": b"harmless", **dict.fromkeys(names, b"x")})


def no_zip(path: Path) -> Path:
    path.write_bytes(b"<html>not found</html>")
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absolute": (named("/tmp/evil"), "leads out"),
    "up": (named("../evil"), "leads out"),
    "up in the middle": (named("D/../../evil"), "leads out"),
    "up at the end": (named("D/.."), "leads out"),
    "backslashes": (named("D\\..\\..\\evil"), "leads out"),
    "a drive": (named("C:/evil"), "leads out"),
    "nothing": (named("./"), "leads out"),
    "a NUL": (with_nul, "leads out"),
    "a link": (link, "link or device"),
    "a pipe": (pipe, "link or device"),
    "a name twice": (twice, "two files of one name"),
    "a file and a folder": (named("D/a", "D/a/b"), "two files of one name"),
    "a folder and a file": (named("D/a/b", "D/a"), "two files of one name"),
    "a bomb": (lambda path: pack(path, {"D/zeros": bytes(100_000_000)}), "would grow to 0.1 GB"),
    "damage": (damaged, "damaged"),
    "a password": (encrypted, "encrypted"),
    "no archive": (no_zip, "no ZIP file"),
    "cut off": (lambda path: cut(pack(path, {"D/a": b"x" * 1000})), "no ZIP file"),
    "missing": (lambda path: path, "does not exist"),
}


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-30])
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    make, words = HOSTILE[name]
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = make(tmp_path / "a.zip")
    before = tree(tmp_path)
    with pytest.raises(DataError, match=words) as caught, unpacked(archive, inner):
        pass
    assert str(archive) in str(caught.value)
    assert tree(tmp_path) == before
    assert not list(inner.iterdir())


def test_a_disk_that_is_too_small_is_noticed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a.zip", {"D/a": b"x" * 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=999))
    with pytest.raises(DataError, match="too full"), unpacked(archive, tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_an_interrupt_cleans_up(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    archive = pack(tmp_path / "a.zip", {"D/a": b"x"})
    with pytest.raises(KeyboardInterrupt), unpacked(archive, tmp_path, progress=interrupt):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_merging_replaces_files_and_keeps_the_others(tmp_path: Path) -> None:
    old = write(tmp_path / "old", {"a/1": b"old", "a/2": b"old", "b/1": b"old"})
    new = write(tmp_path / "new", {"a/1": b"new", "a/3": b"new", "c/d/1": b"new"})
    merge_tree(new, old)
    assert tree(old) == {"a/1": b"new", "a/2": b"old", "a/3": b"new", "b/1": b"old", "c/d/1": b"new"}


def test_merging_does_not_write_through_a_link(tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere", {"precious": b"mine"})
    old = write(tmp_path / "old", {"b": b"old"})
    (old / "a").symlink_to(elsewhere / "precious")
    merge_tree(write(tmp_path / "new", {"a": b"new"}), old)
    assert tree(elsewhere) == {"precious": b"mine"}
    assert tree(old) == {"a": b"new", "b": b"old"}


@pytest.mark.parametrize(("there", "come"), [({"a": b""}, {"a/b": b""}), ({"a/b": b""}, {"a": b""})])
def test_a_file_in_the_place_of_a_folder_stops_the_merge(
    tmp_path: Path, there: dict[str, bytes], come: dict[str, bytes]
) -> None:
    with pytest.raises(DataError, match="move it away"):
        merge_tree(write(tmp_path / "new", come), write(tmp_path / "old", there))
