"""How the command behaves in a shell: completion, examples, colours, widths, quiet."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from typer.main import get_command
from uamp_cli.examples import EXAMPLES
from uamp_cli.main import _load, app

Run = Callable[..., Any]
LINES = [line for lines in EXAMPLES.values() for line, _ in lines]


@pytest.mark.parametrize("line", LINES)
def test_examples_name_commands_and_options_that_exist(line: str) -> None:
    words = shlex.split(line.split("|")[0])
    words = words[next(place for place, word in enumerate(words) if word in ("uamp", "uamp_cli")) + 1 :]
    words = [word for word in words if word not in ("--quiet", "-q", "--debug")]
    root = get_command(app).make_context("uamp", [], resilient_parsing=True)
    command = _load(words[0])
    name = words.pop(0)
    while hasattr(command, "commands"):
        command, name = command.commands[words[0]], words.pop(0)
    context = command.make_context(name, list(words), parent=root)
    assert context.params


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name])
def test_help_ends_with_examples(run: Run, name: str) -> None:
    out = run(name, "--help").out
    assert f"Examples\n   {EXAMPLES[name][0][0]}" in re.sub(r" +\n", "\n", out)
    assert "--quiet" in out


def test_demo_help_is_in_groups(run: Run) -> None:
    out = run("demo", "--help").out
    for title in ("Input", "Objects", "Model", "Pictures", "Numbers", "Page"):
        assert f"─ {title} ─" in out
    assert "uamp-cli[ui]" in out


def test_bench_tracker_help_names_its_options_whole_at_80_columns() -> None:
    out = _run("bench", "tracker", "--help", COLUMNS="80").stdout
    for words in ("--no-sam2-compiled ", "--sam2-compile-mode ", "auto|cpu|cuda|mps ", "max-autotune"):
        assert words in out


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR", "TERMINAL_WIDTH")}
    command = [sys.executable, "-m", "uamp_cli", *arguments]
    return subprocess.run(command, env=plain | environment, capture_output=True, text=True, check=False)


def test_no_colour_in_a_pipe() -> None:
    for arguments in (["demo", "--help"], ["models", "list"], ["models", "lst"]):
        done = _run(*arguments)
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_colour", [False, True])
def test_colour_on_a_terminal_unless_no_color_is_set(no_colour: bool) -> None:
    import pty

    master, slave = pty.openpty()
    environment = dict(os.environ, TERM="xterm-256color", COLUMNS="100")
    environment.pop("NO_COLOR", None)
    if no_colour:
        environment["NO_COLOR"] = "1"
    with subprocess.Popen(
        [sys.executable, "-m", "uamp_cli", "models", "list"], stdout=slave, env=environment, close_fds=True
    ) as command:
        os.close(slave)
        shown = b""
        try:
            while part := os.read(master, 4096):
                shown += part
        except OSError:  # Linux's way to say that the other end is closed
            pass
        finally:
            os.close(master)
        assert command.wait() == 0
    colours = [code for code in re.findall(rb"\x1b\[([0-9;]*)m", shown) if re.search(rb"(^|;)(3[0-9]|9[0-7])", code)]
    assert b"nano" in shown
    assert not colours or not no_colour


def test_tables_in_a_pipe_keep_one_line_each_and_help_stays_narrow() -> None:
    lines = _run("models", "list").stdout.splitlines()
    assert len(lines) == 10
    assert all(len(line) <= 80 for line in _run("demo", "--help").stdout.splitlines())
    wide = _run("demo", "--help", COLUMNS="300").stdout.splitlines()
    assert 100 <= max(map(len, wide)) <= 110


@pytest.mark.parametrize(("shell", "words"), [("bash", "_uamp_completion"), ("zsh", "compdef"), ("fish", "complete")])
def test_completion_script(shell: str, words: str) -> None:
    done = _run(_UAMP_COMPLETE=f"source_{shell}", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done
    assert words in done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("uamp de", "demo"),
        ("uamp demo --show-", "--show-uncertainty"),
        ("uamp demo --model sam2.1-hiera-l", "sam2.1-hiera-large"),
        ("uamp demo --memory sam", "samurai"),
        ("uamp models info na", "nano"),
        ("uamp data sy", "synth"),
    ],
)
def test_completion_offers(typed: str, offered: str) -> None:
    count = str(len(typed.split()) - 1)
    done = _run(_UAMP_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=count)
    assert offered in done.stdout.split(), done


def test_json_for_machines(run: Run) -> None:
    models = json.loads(run("models", "list", "--json").out)
    assert models[0]["name"] == "nano"
    assert {model["licence"] for model in models} == {"Apache-2.0"}
    assert all(model["size_bytes"] > 0 for model in models)
    assert json.loads(run("models", "info", "nano", "--json", "--no-speed").out)["parameters"] > 1e6
    assert json.loads(run("info", "--json").out)["uamp-cli"]
