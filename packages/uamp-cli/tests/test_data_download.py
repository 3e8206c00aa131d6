"""`uamp data download` from a server on the loopback."""

import hashlib
import io
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from loopback import QuietFiles, serving
from PIL import Image
from rich.console import Console
from uamp_cli.byte_progress import ByteProgress
from uamp_data import write_mask

Run = Callable[..., Any]


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a small archive of DAVIS can be had."""
    folder = tmp_path_factory.mktemp("served")
    mask = np.eye(8, dtype=np.uint8)
    write_mask(folder / "mask.png", mask)
    picture = io.BytesIO()
    Image.fromarray(mask * 255).convert("RGB").save(picture, "JPEG")
    with zipfile.ZipFile(folder / "tiny.zip", "w") as file:
        for split, name in (("train", "a"), ("val", "b")):
            file.writestr(f"DAVIS/ImageSets/2017/{split}.txt", name)
            file.writestr(f"DAVIS/JPEGImages/480p/{name}/00000.jpg", picture.getvalue())
            file.write(folder / "mask.png", f"DAVIS/Annotations/480p/{name}/00000.png")
    with serving(partial(QuietFiles, directory=str(folder))) as site:
        yield f"{site}/tiny.zip"


def test_download_unpacks_and_says_where(run: Run, tmp_path: Path, address: str) -> None:
    outcome = run("data", "download", "davis", "data", "--url", address, "--keep_archive")
    assert outcome.code == 0, outcome
    archive = tmp_path / "data" / "tiny.zip"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert outcome.out.splitlines() == [
        f"No digest of tiny.zip is known; its SHA-256 is {digest}.",
        "The archive: data/tiny.zip",
        "DAVIS 2017 trainval 480p: data/DAVIS",
    ]
    assert "tiny.zip: 0.0 MB of 0.0 MB" in outcome.err
    assert run("data", "check", "data/DAVIS").code == 0
    again = run("data", "download", "davis", "data", "--url", "http://127.0.0.1:9/gone.zip")
    assert again.code == 0
    assert again.out.strip() == "DAVIS 2017 trainval 480p is already here: data/DAVIS"


def test_download_compares_a_digest_that_is_given(run: Run, tmp_path: Path, address: str) -> None:
    outcome = run("data", "download", "davis", "--url", address, "--sha256", "0" * 64)
    assert outcome.code == 2
    assert "is not the file that is expected" in outcome.err
    assert "Traceback" not in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mose"], "choose from davis"),
        (["davis", "--year", "2019"], "choose from 2016"),
        (["davis", "--split", "tests"], "choose from 2016"),
        (["davis", "--url", "file:///etc/passwd"], "is no address"),
        (["davis", "--sha256", "abc"], "64 hexadecimal digits"),
    ],
)
def test_wrong_downloads(run: Run, arguments: list[str], words: str) -> None:
    assert words in run("data", "download", *arguments).refused()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process")
@pytest.mark.parametrize("arrived", [0, 100_000])
def test_ctrl_c_says_what_is_kept(tmp_path: Path, arrived: int) -> None:
    asked, over = Event(), Event()

    class Stalls(QuietFiles):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            if arrived:
                self.end_headers()
                self.wfile.write(bytes(arrived))
            asked.set()
            over.wait(60)

    with serving(Stalls) as site:
        command = [sys.executable, "-m", "uamp_cli", "data", "download", "davis", "data", "--url", f"{site}/some.zip"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            part = tmp_path / "data" / "some.zip.part"
            while not (asked.wait(0.02) and (not arrived or (part.is_file() and part.stat().st_size))):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        over.set()
    kept = ["What has arrived is kept in data: run the same command to go on."] if arrived else []
    assert told.splitlines()[-1 - len(kept) :] == [*kept, "Interrupted."]
    assert process.returncode == 130


def test_a_download_without_a_terminal_prints_ten_lines_or_so() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    with ByteProgress(console) as progress:
        progress.begin("file.zip")
        for done in range(5_000_000, 100_000_001, 1_000_000):
            progress.update(done, 100_000_000)
        progress.begin("stream")
        for done in range(0, 100_000_001, 1_000_000):
            progress.update(done, None)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    known = [line for line in lines if line.startswith("file.zip: ")]
    assert 9 <= len(known) <= 11
    assert known[0].startswith("file.zip: 15.0 MB of 100.0 MB, ")
    assert known[0].endswith(" s left")
    assert [line.split(",")[0] for line in lines if line.startswith("stream")] == [
        "stream: 17.0 MB",
        "stream: 34.0 MB",
        "stream: 68.0 MB",
    ]
