"""`uamp demo --ui` refuses what it cannot do, in one sentence."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from uamp_cli.page.server import HOST, choose_port
from uamp_cli.page.settings import PageSettings
from uamp_cli.page.tracking import Trackers

Run = Callable[..., Any]


def test_without_gradio_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "uamp_cli.page.wiring", raising=False)
    assert "uamp-cli[ui]" in run("demo", "--ui", "--no_browser").refused()


def test_a_taken_port_is_refused(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "choose another --port" in run("demo", "--ui", "--no-browser", "--port", port).refused()
        assert choose_port(0) != port


def test_what_cannot_be_compiled_is_said_before_the_page_opens(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    refused = run("demo", "--ui", "--no-browser", "--device", "cpu", "--compile").refused()
    assert "needs a C++ compiler such as g++" in refused


def test_a_wrong_device_size_or_file_of_weights_is_said_before_the_page_opens(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "uamp_cli.page.wiring", raising=False)
    gone = "cuda" if not torch.cuda.is_available() else f"cuda:{torch.cuda.device_count()}"
    assert f"device {gone} was asked for" in run("demo", "--ui", "--no-browser", "--device", gone).refused()
    (tmp_path / "notes.pt").write_text("no weights")
    for option in ("--checkpoint", "--uamp-checkpoint"):
        refused = run("demo", "--ui", "--no-browser", "--device", "cpu", option, tmp_path / "notes.pt").refused()
        assert "notes.pt is not a file of weights" in refused
    assert "image size 100 must be" in run("demo", "--ui", "--no-browser", "--image-size", 100).refused()


def test_options_that_the_page_asks_for_itself_are_refused(run: Run) -> None:
    assert "--box cannot be combined with --ui" in run("demo", "--ui", "-i", "a.mp4", "--box", "1,2,3,4").refused()
    for option in ("--json", "--coco", "--csv"):
        assert f"{option} cannot be combined with --ui" in run("demo", "--ui", option, "-").refused()
    assert "add --ui" in run("demo", "--port", 8000).refused()
    assert "does not exist" in run("demo", "--ui", "-i", "missing.mp4").refused()


def test_options_about_the_network_hold_for_the_page_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[PageSettings] = []
    monkeypatch.setattr("uamp_cli.page.server.serve", opened.append)
    run("demo", "--ui", "--memory-budget", 0.5, "--image-size", 256, "--compile")
    assert (opened[0].memory_budget, opened[0].image_size, opened[0].compiled) == (0.5, 256, True)


def test_the_page_loads_trackers_as_it_was_asked(checkpoint: Path) -> None:
    trackers = Trackers("cpu", {"nano": checkpoint}, memory_budget=0.5, image_size=256)
    assert trackers.get("nano", "sam2").image_size == 256
    assert trackers.get("nano", "sam2").memory_budget == 0.5
    assert trackers.get("nano", "samurai").memory_budget == 0.5
