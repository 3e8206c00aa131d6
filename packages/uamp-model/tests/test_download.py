import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import uamp_model
from filelock import FileLock
from uamp_model import download, load_tracker
from uamp_model.catalog import MODELS, ModelSpec
from uamp_model.download import checkpoint_folder, checkpoint_path, download_checkpoint, find_checkpoint
from uamp_model.errors import CheckpointError

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@dataclass
class Behaviour:
    """How the server answers, and what it was asked."""

    content: bytes = CONTENT
    ranges: bool = True
    says_length: bool = True
    cut_after: list[int] = field(default_factory=list)  # bytes to send before dropping, one entry per request
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        how = self.behaviour
        wanted = self.headers.get("Range")
        how.asked.append(wanted)
        if how.status != 200:
            self.send_error(how.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and how.ranges else 0  # type: ignore[index]
        total = len(how.content)
        if start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if how.says_length:
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        body = how.content[start:]
        self.wfile.write(body[: how.cut_after.pop(0)] if how.cut_after else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the tests' output clean."""


@dataclass
class Server:
    behaviour: Behaviour
    address: str

    def spec(self, **changes: object) -> ModelSpec:
        known = replace(
            MODELS["sam2.1-hiera-tiny"],
            url=f"{self.address}/sam2.1_hiera_tiny.pt",
            size_bytes=len(CONTENT),
            sha256=hashlib.sha256(CONTENT).hexdigest(),
        )
        return replace(known, **changes)  # type: ignore[arg-type]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    behaviour = Behaviour()
    handler = type("OneHandler", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Server(behaviour, f"http://127.0.0.1:{http.server_port}")
        http.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_download_arrives_whole_and_reports_its_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = download_checkpoint(
        server.spec(), tmp_path / "new" / "folder", progress=lambda done, total: seen.append((done, total))
    )
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["sam2.1_hiera_tiny.pt"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    download_checkpoint(server.spec(), tmp_path)
    download_checkpoint(server.spec(), tmp_path)
    assert server.behaviour.asked == [None]


def test_another_file_under_the_name_is_neither_used_nor_overwritten(server: Server, tmp_path: Path) -> None:
    mine = tmp_path / "sam2.1_hiera_tiny.pt"
    mine.write_bytes(b"my own weights")
    with pytest.raises(CheckpointError, match="move it away"):
        download_checkpoint(server.spec(), tmp_path)
    assert mine.read_bytes() == b"my own weights"


def test_a_dropped_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.behaviour.cut_after = [1_000_000, 500_000]
    path = download_checkpoint(server.spec(), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_call_resumes_what_an_earlier_one_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sam2.1_hiera_tiny.pt.part").write_bytes(CONTENT[:2_000_000])
    path = download_checkpoint(server.spec(), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.asked == ["bytes=2000000-"]


def test_a_whole_part_needs_no_connection(tmp_path: Path, server: Server) -> None:
    (tmp_path / "sam2.1_hiera_tiny.pt.part").write_bytes(CONTENT)
    assert download_checkpoint(server.spec(), tmp_path).read_bytes() == CONTENT
    assert server.behaviour.asked == []


@pytest.mark.parametrize("left", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_as_long_as_the_file_or_longer_with_unknown_size(server: Server, tmp_path: Path, left: int) -> None:
    (tmp_path / "sam2.1_hiera_tiny.pt.part").write_bytes((CONTENT + b"extra")[:left])
    path = download_checkpoint(server.spec(size_bytes=None), tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_part_longer_than_the_known_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sam2.1_hiera_tiny.pt.part").write_bytes(b"x" * (len(CONTENT) + 1))
    assert download_checkpoint(server.spec(), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("says_length", [True, False])
def test_a_server_without_ranges_sends_it_all_again(server: Server, tmp_path: Path, says_length: bool) -> None:
    server.behaviour.ranges = False
    server.behaviour.says_length = says_length
    (tmp_path / "sam2.1_hiera_tiny.pt.part").write_bytes(b"x" * 1_000_000)
    assert download_checkpoint(server.spec(), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_drops_is_given_up_on(server: Server, tmp_path: Path) -> None:
    server.behaviour.ranges = False
    server.behaviour.cut_after = [1_000_000] * 10
    with pytest.raises(CheckpointError, match="Could not reach"):
        download_checkpoint(server.spec(), tmp_path)
    assert names(tmp_path) == ["sam2.1_hiera_tiny.pt.part"]
    assert len(server.behaviour.asked) == 4


def test_a_wrong_digest_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.behaviour.content = CONTENT[::-1]
    with pytest.raises(CheckpointError, match=r"not the published file \(its SHA-256 digest differs\)"):
        download_checkpoint(server.spec(), tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_size_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.behaviour.content = CONTENT + b"!"
    with pytest.raises(CheckpointError, match=f"{len(CONTENT) + 1} bytes instead of {len(CONTENT)}"):
        download_checkpoint(server.spec(sha256=None), tmp_path)
    assert names(tmp_path) == []


def test_offline_says_where_to_put_the_file(server: Server, tmp_path: Path) -> None:
    spec = server.spec(url="http://127.0.0.1:1/sam2.1_hiera_tiny.pt")
    with pytest.raises(CheckpointError) as raised:
        download_checkpoint(spec, tmp_path)
    message = str(raised.value)
    assert message.startswith("Could not reach http://127.0.0.1:1/sam2.1_hiera_tiny.pt (Connection refused)")
    assert f"put the file sam2.1_hiera_tiny.pt at {tmp_path / 'sam2.1_hiera_tiny.pt'} or pass --checkpoint" in message
    assert names(tmp_path) == []


def test_a_refusal_is_final(server: Server, tmp_path: Path) -> None:
    server.behaviour.status = 404
    with pytest.raises(CheckpointError, match=r"refused .*HTTP 404 Not Found"):
        download_checkpoint(server.spec(), tmp_path)
    assert len(server.behaviour.asked) == 1


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.behaviour.status = 503
    with pytest.raises(CheckpointError, match=r"Could not reach .*HTTP 503"):
        download_checkpoint(server.spec(), tmp_path)
    assert len(server.behaviour.asked) == 3


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written to"):
        download_checkpoint(server.spec(), tmp_path / "file" / "folder")


def test_a_bundled_model_has_nothing_to_download(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to download"):
        download_checkpoint(MODELS["nano"], tmp_path)


def test_two_downloads_of_one_file_at_once_do_no_harm(server: Server, tmp_path: Path) -> None:
    results: list[bytes] = []

    def fetch() -> None:
        results.append(download_checkpoint(server.spec(), tmp_path).read_bytes())

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [CONTENT] * 3
    assert names(tmp_path) == ["sam2.1_hiera_tiny.pt"]


def test_who_waits_for_another_process_sees_how_far_it_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_SECONDS_BETWEEN_LOOKS", 0.01)
    seen: list[tuple[int, int | None]] = []
    other = FileLock(tmp_path / "sam2.1_hiera_tiny.pt.lock", thread_local=False)
    (tmp_path / "sam2.1_hiera_tiny.pt.part").write_bytes(CONTENT[:1000])

    def arrive(done: int, total: int | None) -> None:
        seen.append((done, total))
        (tmp_path / "sam2.1_hiera_tiny.pt").write_bytes(CONTENT)
        other.release()

    with other:
        thread = threading.Thread(
            target=download_checkpoint, args=(server.spec(), tmp_path), kwargs={"progress": arrive}
        )
        thread.start()
        thread.join()
    assert set(seen) == {(1000, len(CONTENT))}
    assert server.behaviour.asked == []


def test_a_tracker_fetches_published_weights_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With nano's weights, as if they were published."""
    monkeypatch.setenv("UAMP_CACHE", str(tmp_path))
    nano = MODELS["nano"]
    server.behaviour.content = checkpoint_path(nano).read_bytes()
    config = str(Path(uamp_model.__file__).parent / nano.config)
    url = f"{server.address}/nano.safetensors"
    published = replace(nano, bundled=False, config=config, url=url, checkpoint="nano.safetensors")
    monkeypatch.setitem(MODELS, "nano", published)
    assert load_tracker("nano").name == "nano"
    assert names(tmp_path) == ["nano.safetensors"]
    assert "nano: 100%" in capfd.readouterr().err
    load_tracker("nano")
    assert server.behaviour.asked == [None]
    assert not capfd.readouterr().err


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UAMP_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert checkpoint_folder() == tmp_path / "own"
    monkeypatch.delenv("UAMP_CACHE")
    assert checkpoint_folder() == tmp_path / "xdg" / "uamp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert checkpoint_folder() == tmp_path / "home" / ".cache" / "uamp"


def test_who_has_no_home_keeps_weights_among_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("UAMP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "~")  # what `~` becomes for a user whom the system does not know
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert checkpoint_folder() == tmp_path / f"uamp-{os.getuid()}"
    monkeypatch.setenv("UAMP_CACHE", "~nobody-of-this-name/weights")
    assert checkpoint_folder() == Path("~nobody-of-this-name/weights")
    with pytest.raises(CheckpointError, match="no checkpoint at ~nobody-of-this-name"):
        find_checkpoint(MODELS["nano"], Path("~nobody-of-this-name/a.pt"))


def test_finding_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = MODELS["sam2-hiera-small"]
    monkeypatch.setenv("UAMP_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="uamp models download sam2-hiera-small"):
        find_checkpoint(spec)
    with pytest.raises(CheckpointError, match="There is no checkpoint at"):
        find_checkpoint(spec, tmp_path / "other.pt")
    file = tmp_path / "sam2_hiera_small.pt"
    file.write_bytes(b"weights")
    assert find_checkpoint(spec) == file
    assert find_checkpoint(spec, tmp_path) == file
    assert find_checkpoint(MODELS["nano"], file) == file


def test_bundled_weights_are_looked_for_in_the_package() -> None:
    nowhere = replace(MODELS["nano"], checkpoint="weights/none.safetensors")
    with pytest.raises(CheckpointError, match="bundled weights of nano are missing"):
        find_checkpoint(nowhere)
