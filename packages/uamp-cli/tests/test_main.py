"""The command's frame: lazy help, option spellings, exit codes, one-sentence errors."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
        ["demo", "stray"],
        ["models", "info"],
        ["train"],
    ],
)
def test_wrong_usage_is_one_sentence(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).refused().endswith("--help`.")


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


def test_interrupt_exits_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("uamp_model.catalog.find_model", interrupted)
    outcome = run("models", "info", "nano")
    assert (outcome.code, outcome.err) == (130, "Interrupted.\n")


def test_letters_that_a_pipe_has_not_are_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uamp_cli", "models", "info", "nano", "--no-speed"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"nano" in done.stdout


def test_closed_pipe_is_quiet() -> None:
    code = "import time; from uamp_cli.main import app; app(['models', 'list'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == ""
