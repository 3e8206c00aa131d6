"""What the READMEs and docs say to type exists: commands, options, values, and the files they name."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from documented import FENCE, PAGES, ROOT, blocks, shell_lines
from typer.main import get_command
from uamp_cli.main import _COMMANDS, _load, app

EVERYWHERE = {"--quiet", "-q", "--debug", "--help", "-h", "--version", "--install-completion"}
OTHER_TOOLS = {"--multi_gpu", "--cpu", "--num_processes", "--compile", "--davis", "--check", "--fix", "--outside"}
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def _typed(page: Path) -> list[str]:
    """Complete command lines: those of the page's shell blocks that start `uamp`, from its first argument on."""
    found = (re.match(r"(?:.*-m uamp_cli|uamp)\s+(.*)", line) for line in shell_lines(page))
    return [match[1] for match in found if match is not None]


def _mentioned(page: Path) -> list[str]:
    """Code spans that start `uamp`, from the first argument on; they may leave out what the reader fills in."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [span[5:] for span in SPAN.findall(text) if re.match(r"uamp [a-z-]", span)]


@cache
def _command(name: str) -> Any:
    return _load(name)


def _find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that some words name, and the words that remain."""
    command, rest = _command(words[0]), words[1:]
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def _options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for inner in getattr(command, "commands", {}).values():
        yield from _options(inner)


def _cases(lines: Any) -> list[Any]:
    return [
        pytest.param(line, id=f"{page.relative_to(ROOT)}:{line[:60]}")
        for page in PAGES
        for line in dict.fromkeys(lines(page))
    ]


@pytest.mark.parametrize("line", _cases(_typed))
def test_command_lines_parse(line: str) -> None:
    words = [word for word in shlex.split(line) if word not in EVERYWHERE]
    root = get_command(app).make_context("uamp", [], resilient_parsing=True)
    command, rest = _find(words)
    assert not hasattr(command, "commands"), "a command of its group is missing"
    command.make_context(command.name, rest, parent=root).close()
    for word in words:
        if re.match(r"(configs|benchmarks|packages|docs)/", word):
            assert (ROOT / word).exists()


@pytest.mark.parametrize("line", _cases(_mentioned))
def test_mentioned_commands_and_options_exist(line: str) -> None:
    words = re.sub(r"[\[\]]|\.\.\.|…", " ", line).split()
    if words[0].startswith("-"):
        assert words[0] in EVERYWHERE
        return
    command, rest = _find(words)
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert set(rest[0].split("|")) <= set(command.commands)
    known = {*_options(command), *EVERYWHERE}
    assert {word.split("=")[0].replace("_", "-") for word in rest if word.startswith("-") and word != "-"} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_and_files_mentioned_alone_exist(page: Path) -> None:
    known = {option for name in _COMMANDS for option in _options(_command(name))} | EVERYWHERE | OTHER_TOOLS
    for span in SPAN.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"--[a-z]", span):
            option = re.split(r"[ =]", span)[0]
            assert option in known or option.replace("_", "-") in known, span
        elif re.fullmatch(r"(configs|benchmarks|packages|docs)/[\w./-]+", span):
            assert (ROOT / span).exists(), span


def test_the_readme_begins_with_the_two_commands() -> None:
    setup = "python3 -m pip install --quiet --upgrade --target .tools uv\n"
    commands = [setup + ".tools/bin/uv run uamp demo\n", setup + ".tools/bin/uv run nox -s tests\n"]
    assert blocks(ROOT / "README.md", "bash")[:2] == commands
