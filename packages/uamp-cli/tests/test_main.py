"""The command's frame: lazy help, option spellings, exit codes, one-sentence errors."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Run = Callable[..., Any]
HEAVY = ("torch", "cv2", "av", "numpy", "sam2", "scipy", "skimage", "uamp_train.loop")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["demo", "--help"], ["models", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from uamp_cli.main import app\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "except SystemExit as leave:\n"
        "    assert not leave.code, leave.code\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("heavy: []")


def test_help_names_every_command(run: Run) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    for command in ("demo", "train", "models", "data", "info"):
        assert command in outcome.out
    assert run().out == outcome.out


def test_options_take_either_spelling_and_leave_values_alone(run: Run) -> None:
    for spelling in (
        ["--input-video", "no_such_file.mp4"],
        ["--input_video", "no_such_file.mp4"],
        ["--input_video=no_such_file.mp4"],
    ):
        assert "no_such_file.mp4" in run("demo", *spelling, "--prompt_frame", "1").refused()
    assert "my_model" in run("demo", "--sam2_model_type", "my_model").refused()


def test_unknown_option_names_the_nearest(run: Run) -> None:
    assert run("demo", "--imput", "x").refused() == "Error: There is no option --imput; did you mean --input?"
    assert run("demo", "--save_maks", "x").refused().endswith("did you mean --save-masks?")
    assert "see `uamp demo --help`" in run("demo", "--xyzzy").refused()


def test_a_file_without_its_option_names_it(run: Run) -> None:
    assert run("demo", "cat.mp4").refused() == "Error: There is no option before cat.mp4; did you mean --input cat.mp4?"
    for given in (["--input", "cat.mp4"], ["--input=cat.mp4"], ["--input_video=cat.mp4"], ["cat.mp4"]):
        assert "unexpected extra" in run("demo", *given, "dog.mp4").refused()
    assert "unexpected extra" in run("demo", "--box", "1,2,3,4", "5,6,7,8").refused()


def test_unknown_command_names_the_nearest(run: Run) -> None:
    assert run("demmo").refused() == "Error: There is no command 'demmo'; did you mean 'demo'?"
    assert "see `uamp --help`" in run("xyzzy").refused()
    assert run("models", "lst").refused().endswith("did you mean 'list'?")


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--input"],
        ["demo", "--max-frames", "0"],
        ["demo", "--max-frames", "many"],
        ["demo", "stray", "more"],
        ["models", "info"],
        ["train"],
    ],
)
def test_wrong_usage_is_one_sentence(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).refused().endswith("--help`.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("demo --input", "'--input' requires an argument; see `uamp demo --help`."),
        ("eval davis --output", "'--output' requires an argument; see `uamp eval davis --help`."),
        ("models info nano --device", "'--device' requires an argument; see `uamp models info --help`."),
        ("models info", "NAME is missing; see `uamp models info --help`."),
        ("data synth", "DIR is missing; see `uamp data synth --help`."),
        ("eval score", "--results is missing; see `uamp eval score --help`."),
    ],
)
def test_wrong_usage_is_told_in_the_words_of_the_help(run: Run, arguments: str, words: str) -> None:
    assert run(*arguments.split()).refused().endswith(words)


@pytest.mark.skipif(sys.platform == "win32", reason="a current folder cannot be removed there")
@pytest.mark.parametrize("arguments", [["info"], ["models", "list"], ["bench", "metrics"]])
def test_a_current_folder_that_is_gone(
    run: Run, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(*arguments).refused().endswith("the current folder is gone: go to another.")
    assert run(*arguments, "--help").code == 0


def test_control_characters_in_an_error_are_seen(run: Run) -> None:
    assert r"matches \x1b[31mgone.mp4:" in run("demo", "--input", "\x1b[31mgone.mp4").refused()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_an_error_that_cannot_be_printed_keeps_its_exit_code() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "uamp_cli", "models", "info", "nanoo"], stderr=full, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("group", ["eval", "models", "data", "bench"])
def test_a_group_without_a_command_says_so_below_its_help(run: Run, group: str) -> None:
    outcome = run(group)
    assert outcome.code == 2
    assert outcome.err == f"Error: Name one of the commands of `uamp {group}`, which are listed above.\n"


@pytest.mark.parametrize("arguments", [("--input=~/gone.mp4",), ("--input", "~/gone.mp4")])
def test_home_is_known_where_no_shell_says_it(
    run: Run, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert f"{tmp_path}/gone.mp4 does not exist" in run("demo", *arguments).refused()


def test_debug_shows_the_traceback(run: Run) -> None:
    outcome = run("models", "info", "nanoo", "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert "Error: " in outcome.err


def test_unexpected_error_is_one_sentence_and_exit_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise RuntimeError("the roof\nis on fire")

    monkeypatch.setattr("uamp_model.catalog.find_model", broken)
    outcome = run("models", "info", "nano")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "the roof is on fire" in outcome.err
    assert "--debug" in outcome.err


@pytest.mark.parametrize("ask", [lambda: torch.empty(2**50), lambda: np.empty(2**60, np.uint8)])
def test_memory_that_runs_out_is_no_unexpected_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    monkeypatch.setattr("uamp_model.catalog.find_model", lambda _: ask())
    assert run("models", "info", "nano").refused().startswith("Error: Memory ran out: ask for less")


def test_interrupt_exits_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("uamp_model.catalog.find_model", interrupted)
    outcome = run("models", "info", "nano")
    assert (outcome.code, outcome.err) == (130, "Interrupted.\n")


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # which LC_ALL=C sets where PYTHONUTF8 is 0
def test_letters_that_a_pipe_has_not_are_no_error(errors: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uamp_cli", "models", "info", "nano", "--no-speed"],
        env={**os.environ, "PYTHONIOENCODING": f"ascii:{errors}", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"nano" in done.stdout
    assert b"?" in done.stdout


def test_names_in_another_encoding_are_printed_as_they_are() -> None:
    code = "import sys; from uamp_cli.main import _print_anything; _print_anything(); print(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, b"caf\xe9.mp4"],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:surrogateescape"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == b"caf\xe9.mp4"


def test_closed_pipe_is_quiet() -> None:
    code = "import time; from uamp_cli.main import app; app(['models', 'list'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == ""
