from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from file_server import FileServer, serving
from uamp_data import DataError
from uamp_data.download import check_url, download_file

CONTENT = np.random.default_rng(0).bytes(1_500_000)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as running:
        yield running


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_a_file_is_fetched_with_its_progress(server: FileServer, tmp_path: Path) -> None:
    target, seen = tmp_path / "new" / "file.zip", []
    download_file(server.url, target, progress=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.zip"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert all(earlier[0] < later[0] for earlier, later in pairwise(seen))


def test_dropped_connections_are_taken_up_where_they_broke(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [400_000, 300_000]
    download_file(server.url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=400000-", "bytes=700000-"]


def test_a_later_call_goes_on_where_an_earlier_one_stopped(server: FileServer, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done > 500_000:
            raise KeyboardInterrupt

    target = tmp_path / "file.zip"
    with pytest.raises(KeyboardInterrupt):
        download_file(server.url, target, progress=interrupt)
    have = part_of(target).stat().st_size
    assert have > 500_000
    assert not target.exists()
    download_file(server.url, target)
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={have}-"]


@pytest.mark.parametrize("have", [b"", CONTENT[:1000], CONTENT, CONTENT + b"more", b"x" * 3_000_000])
def test_any_part_that_lies_there_is_put_right(server: FileServer, tmp_path: Path, have: bytes) -> None:
    target = tmp_path / "file.zip"
    part_of(target).write_bytes(have)
    download_file(server.url, target)
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.cut_after = False, [500_000]
    download_file(server.url, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_server_that_does_not_say_the_length(server: FileServer, tmp_path: Path) -> None:
    server.says_length = False
    totals: set[int | None] = set()
    download_file(server.url, tmp_path / "file.zip", progress=lambda done, total: totals.add(total))
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert totals == {None}


def test_a_refusal_is_reported_at_once_and_a_hiccup_after_three_attempts(server: FileServer, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DataError, match=r"refused .*HTTP 404"):
        download_file(server.url, tmp_path / "file.zip")
    assert len(server.asked) == 1
    server.status = 503
    part_of(tmp_path / "file.zip").write_bytes(CONTENT[:10])
    with pytest.raises(DataError, match=r"HTTP 503.*kept in .*file.zip.part"):
        download_file(server.url, tmp_path / "file.zip")
    assert len(server.asked) == 4


def test_nobody_listens(tmp_path: Path) -> None:
    with serving(b"") as server:
        url = server.url
    with pytest.raises(DataError, match="could not be fetched"):
        download_file(url, tmp_path / "new" / "file.zip")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x.zip", "https://", "x.zip", "http://a b/c", "http://h:x/"]
)
def test_what_is_no_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(DataError, match="is no address"):
        check_url(url)


def test_a_disk_that_is_too_small_is_noticed_first(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(DataError, match=r"too full \(0.0 GB are free"):
        download_file(server.url, tmp_path / "new" / "file.zip")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_keeps_what_arrived(server: FileServer, tmp_path: Path) -> None:
    def fill(done: int, total: int | None) -> None:
        if done > 500_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match="The disk is full"):
        download_file(server.url, tmp_path / "file.zip", progress=fill)
    assert part_of(tmp_path / "file.zip").stat().st_size > 500_000
