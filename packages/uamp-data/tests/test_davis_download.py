from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_trees import every_frame, make_davis
from file_server import FileServer, serving
from uamp_data import DataError, DavisDataset
from uamp_data.davis_download import DAVIS_ARCHIVES, Archive, fetch_davis, find_archive, is_complete, tree_in


def packed(root: Path, top: str = "DAVIS/") -> bytes:
    """A ZIP archive of a tree."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                file.write(path, top + str(path.relative_to(root)))
    return buffer.getvalue()


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    root = make_davis(tmp_path / "source", {"a": every_frame(1), "b": every_frame(1, 2)})
    return packed(make_davis(root, {"c": every_frame(1)}, split="train"))


@pytest.fixture
def server(content: bytes) -> Iterator[FileServer]:
    with serving(content, "DAVIS-2017-trainval-480p.zip") as running:
        yield running


def test_davis_is_fetched_verified_and_unpacked(server: FileServer, content: bytes, tmp_path: Path) -> None:
    folder, sha256 = tmp_path / "data", hashlib.sha256(content).hexdigest()
    server.cut_after = [len(content) // 2]
    phases: list[str] = []
    fetched = fetch_davis(folder, Archive(server.url, digest=sha256.upper()), on_phase=lambda what: phases.append(what))
    assert phases == ["DAVIS-2017-trainval-480p.zip", "Unpacking"]
    assert (fetched.root, fetched.archive, fetched.sha256, fetched.verified) == (folder / "DAVIS", None, sha256, True)
    assert [path.name for path in folder.iterdir()] == ["DAVIS"]
    assert [sequence.name for sequence in DavisDataset(fetched.root)] == ["a", "b"]
    assert is_complete(fetched.root, 2017, "trainval", "480p")
    assert not is_complete(fetched.root, 2016, "trainval", "480p")
    (fetched.root / "Annotations/480p/c/00002.png").unlink()
    assert not is_complete(fetched.root, 2017, "trainval", "480p")
    assert is_complete(fetched.root, 2017, "val", "480p") is False  # train and val come together


def test_another_digest_and_a_digest_of_the_older_kind(server: FileServer, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not the file that is expected .* deleted"):
        fetch_davis(tmp_path / "data", Archive(server.url, digest="0" * 64))
    assert not list((tmp_path / "data").iterdir())
    fetched = fetch_davis(tmp_path / "data", Archive(server.url, "md5", hashlib.md5(content).hexdigest()))
    assert fetched.verified
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()


def test_an_archive_that_is_kept_is_used_again(server: FileServer, tmp_path: Path) -> None:
    first = fetch_davis(tmp_path, Archive(server.url), keep_archive=True)
    assert first.archive == tmp_path / "DAVIS-2017-trainval-480p.zip"
    assert not first.verified
    (first.root / "JPEGImages/480p/a/00000.jpg").unlink()
    assert fetch_davis(tmp_path, Archive(server.url)).root == first.root
    assert len(server.asked) == 1
    assert is_complete(first.root, 2017, "trainval", "480p")
    assert not first.archive.exists()
    first.archive.write_bytes(b"mine")
    with pytest.raises(DataError, match="move it away"):
        fetch_davis(tmp_path, Archive(server.url, digest="0" * 64))
    assert first.archive.read_bytes() == b"mine"


def test_a_tree_is_completed_in_place(server: FileServer, tmp_path: Path) -> None:
    root = make_davis(tmp_path / "DAVIS", {"t": {0: (1,)}}, split="test-dev")
    assert tree_in(root) == tree_in(tmp_path) == root
    fetched = fetch_davis(root, Archive(server.url))
    assert fetched.root == root
    assert len(DavisDataset(root)) == 2
    assert len(DavisDataset(root, split="test-dev")) == 1


def test_another_release_is_not_overwritten(server: FileServer, tmp_path: Path) -> None:
    root = make_davis(tmp_path / "DAVIS", {"a": every_frame(1)}, year=2016)
    with pytest.raises(DataError, match="holds DAVIS 2016"):
        fetch_davis(tmp_path, Archive(server.url), year=2017)
    assert not server.asked
    make_davis(root, {"a": every_frame(1)}, year=2017)
    with pytest.raises(DataError, match="holds DAVIS 2017"):
        fetch_davis(tmp_path, Archive(server.url), year=2016)


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    with serving(packed(make_davis(tmp_path / "source", {"a": every_frame(1)}), top="")) as server:
        assert len(DavisDataset(fetch_davis(tmp_path / "plain", Archive(server.url)).root)) == 1
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme.txt", "hello")
    with serving(buffer.getvalue()) as server, pytest.raises(DataError, match="holds no DAVIS tree"):
        fetch_davis(tmp_path / "other", Archive(server.url))
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["file.zip"]


def test_the_published_archives() -> None:
    assert find_archive(2017, "val", "480p") is find_archive(2017, "trainval", "480p")
    assert find_archive(2017, "test-dev", "Full-Resolution").file_name == "DAVIS-2017-test-dev-Full-Resolution.zip"
    with pytest.raises(DataError, match="choose from 2016 trainval 480p, "):
        find_archive(2016, "test-dev", "480p")
    for archive in DAVIS_ARCHIVES.values():
        assert archive.url.startswith("https://")
        length = {"sha256": 64, "md5": 32}[archive.algorithm]
        assert archive.digest is None or len(archive.digest) == length


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/b.zip?download=1", "b.zip"),
        ("https://host/", "davis.zip"),
        ("https://host/%2e%2e", "davis.zip"),
        ("https://host/a%2Fb%5Cc d.zip", "b_c_d.zip"),
    ],
)
def test_any_address_gives_a_harmless_name(url: str, name: str) -> None:
    assert Archive(url).file_name == name
