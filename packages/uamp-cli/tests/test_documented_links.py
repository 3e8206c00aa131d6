"""The checker of Markdown links, and that this project's own links inside the checkout lead somewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from loopback import serving

CHECKER = Path(__file__).parents[3] / "docs" / "check_links.py"


def _check(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECKER), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_links_inside_the_checkout_lead_somewhere() -> None:
    done = _check()
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_table_was_wrapped_into_a_paragraph() -> None:
    root = CHECKER.parents[1]
    files = [root / "README.md", *root.glob("docs/*.md"), *root.glob("packages/*/*.md")]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines() if "|---" in line]
    assert lines
    assert [line for line in lines if re.fullmatch(r"\s*\|[-:|]+\|", line) is None] == []


def test_files_and_headings_that_do_not_exist_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Here it is\n\n```\n# not a heading\n```\n")
    (tmp_path / "README.md").write_text(
        "[a](other.md#here-it-is) `[b](code.md)` ![c](missing.png)\n"
        "[d](other.md#not-a-heading)\n```\n[e](fenced.md)\n```\n[f](../outside.md) [g](https://example.invalid)\n"
    )
    done = _check("--root", tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "README.md:1: missing.png does not exist",
        "README.md:2: other.md#not-a-heading names no heading",
        "README.md:6: ../outside.md leaves the checkout",
    ]


class _Answers(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(405)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response({"/fine": 200, "/busy": 503}.get(self.path, 404))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class names it so
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with serving(_Answers) as address:
        yield address


def test_addresses_are_fine_broken_or_not_reached(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    page = tmp_path / "README.md"
    page.write_text(f"[a]({server}/fine#part)\n<{server}/gone>\n[b]({server}/busy)\n")
    done = _check("--root", tmp_path, "--outside")
    assert done.returncode == 1, done.stderr
    assert f"README.md:2: {server}/gone broken: the server answers 404" in done.stdout
    assert f"README.md:3: {server}/busy not reached: the server answers 503" in done.stdout
    assert "3 addresses: 1 fine, 1 broken, 1 not reached" in done.stdout
    page.write_text(f"[b]({server}/busy)\n")
    assert _check("--root", tmp_path, "--outside").returncode == 0
