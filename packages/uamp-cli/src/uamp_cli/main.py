"""The `uamp` command: its list of subcommands, its exit codes and the form of its errors.

A subcommand's module is imported only when that subcommand runs, so that `uamp --help` answers at once.
"""

import codecs
import errno
import inspect
import io
import os
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from uamp_cli.examples import examples_of
from uamp_cli.terminal import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_INTERRUPTED, set_quiet

# The class is typer's own in some versions and click's in others; its public subclass leads to it in all.
_UsageError: type[Exception] = inspect.getmro(typer.BadParameter)[1]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a subcommand lives: `attribute` is a function, or a Typer app with subcommands of its own."""

    module: str
    attribute: str
    help: str


_COMMANDS = {
    "demo": _Entry("uamp_cli.demo", "demo", "Follow objects through a video and write it with the objects marked."),
    "eval": _Entry("uamp_cli.evaluation", "app", "Measure trackers on DAVIS, YouTube-VOS and trees like them."),
    "train": _Entry("uamp_cli.train", "train", "Train a model as a YAML file says."),
    "models": _Entry("uamp_cli.models", "app", "List, describe and download models."),
    "data": _Entry("uamp_cli.data", "app", "Fetch, check and make data sets."),
    "bench": _Entry("uamp_cli.bench", "app", "Measure speed on this machine, side by side with others' code."),
    "info": _Entry("uamp_cli.info", "info", "Show versions, devices and threads, for a bug report."),
}

_WIDEST_HELP = 110
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_LITTLE = 1 << 20
"""Free bytes below which a disk counts as full."""
_NO_NAME = (errno.ENAMETOOLONG, errno.ELOOP)
_EPILOG = (
    "Any command also takes --quiet (-q), to print results and errors alone, and --debug, for an error's traceback."
)


class UampGroup(TyperGroup):
    """The root command: resolves subcommands lazily and turns every error into one sentence and an exit code."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As typer does, then put the real command in the place of its entry in the list."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in _COMMANDS:
            if "--help" not in rest:
                _check_current_folder()
            command = _load(name)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """As typer does, but say so when Ctrl-C ends it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say("Interrupted.")
            raise typer.Exit(EXIT_INTERRUPTED) from None

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> Any:
        """Run and leave the process with the exit code of the contract: 0, 1, 2 or 130."""
        arguments, flags = _take_flags([_with_home(given) for given in (sys.argv[1:] if args is None else args)])
        set_quiet("--quiet" in flags)
        _print_anything()
        _limit_help_width()
        run = super().main
        sys.exit(_guarded(lambda: run(args=arguments, prog_name="uamp", standalone_mode=False), arguments, flags))


app = typer.Typer(
    cls=UampGroup,
    add_completion=True,
    no_args_is_help=False,
    invoke_without_command=True,
    epilog=f"{examples_of('')}\n\n{_EPILOG}",
    # The one place where --dataset_root and --dataset-root become the same option.
    context_settings={
        "token_normalize_func": lambda name: name.replace("_", "-"),
        "help_option_names": ["-h", "--help"],
    },
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"uamp {version('uamp-cli')}")
        raise typer.Exit()


@app.callback(help="UAMP: follow and segment objects through video.")
def _root(
    ctx: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _placeholder() -> None:
    """Stands in the list of commands for a module that is not imported yet."""


for _name, _entry in _COMMANDS.items():
    app.command(_name, help=_entry.help)(_placeholder)


def main() -> None:
    """Entry point of the `uamp` script."""
    app()


def _load(name: str) -> Any:
    entry = _COMMANDS[name]
    target = getattr(import_module(entry.module), entry.attribute)
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name)(target)
        target = single
    command = typer.main.get_command(target)
    command.epilog = f"{examples_of(name)}\n\n{_EPILOG}"
    _rewrap(command)
    return command


def _check_current_folder() -> None:
    """Raise InputError if the current folder was removed, for which some libraries would end the process."""
    try:
        os.getcwd()  # noqa: PTH109 - as cheap as it gets
    except FileNotFoundError:
        from uamp_model.errors import InputError

        raise InputError("No command can run, since the current folder is gone: go to another.") from None


def _rewrap(command: Any) -> None:
    """Let the help text of a command and its subcommands fill the lines, however wide the terminal is."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)
    for inner in getattr(command, "commands", {}).values():
        _rewrap(inner)


def _limit_help_width() -> None:
    """Lines of help longer than this are hard to read; typer asks the environment."""
    columns = shutil.get_terminal_size().columns
    os.environ.setdefault("TERMINAL_WIDTH", str(min(columns, _WIDEST_HELP)))


def _print_anything() -> None:
    """Print letters that the encoding of a terminal or pipe lacks as `?` instead of ending with an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # UTF-8 has all letters, and "surrogateescape" prints names of another encoding unchanged: leave that
            is_utf8 = codecs.lookup(stream.encoding).name == "utf-8"
            ends = stream.errors == "strict" or (stream.errors == "surrogateescape" and not is_utf8)
            stream.reconfigure(errors="replace" if ends else stream.errors)


def _take_flags(arguments: list[str]) -> tuple[list[str], set[str]]:
    """`--debug` and `--quiet` work with any command: take them out before the commands see their options."""
    known = {"--debug": "--debug", "--quiet": "--quiet", "-q": "--quiet"}
    stop = arguments.index("--") if "--" in arguments else len(arguments)
    head = [argument for argument in arguments[:stop] if argument not in known]
    flags = {known[argument] for argument in arguments[:stop] if argument in known}
    return head + arguments[stop:], flags


def _with_home(argument: str) -> str:
    """Put the home folder in the place of `~` where the shell did not, as in `--input=~/cat.mp4`."""
    option, equals, path = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if path != "~" and not path.startswith("~/"):
        return argument
    return option + equals + os.path.expanduser(path)  # noqa: PTH111 - leaves `~` where there is no home


def _guarded(run: Callable[[], object], arguments: Sequence[str], flags: set[str]) -> int:
    """Run, say what went wrong in one sentence, and return the exit code."""
    debug = "--debug" in flags
    try:
        code = run()
        return code if isinstance(code, int) else 0
    except _UsageError as error:
        return _complain(error, _usage_sentence(error, arguments), EXIT_BAD_INPUT, debug)
    except (KeyboardInterrupt, typer.Abort):
        _say("Interrupted.")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _after_closed_pipe()
    except Exception as error:  # the last line of defence: the sentence below says how to see the traceback
        if isinstance(error, _expected_errors()):
            return _complain(error, str(error), EXIT_BAD_INPUT, debug)
        if isinstance(error, OSError) and error.errno in _FULL:
            sentence = f"The disk is full: free some space or write somewhere else.{_about_temporary_files()}"
            return _complain(error, sentence, EXIT_BAD_INPUT, debug)
        if isinstance(error, OSError) and error.errno in _NO_NAME:
            sentence = f"{str(error.filename)[:80]} cannot be used ({error.strerror}): choose another path."
            return _complain(error, sentence, EXIT_BAD_INPUT, debug)
        if _is_short_of_memory(error):
            return _complain(error, "Memory ran out: ask for less, or use a larger machine.", EXIT_BAD_INPUT, debug)
        sentence = f"unexpected error ({type(error).__name__}: {error}); run again with --debug for the traceback"
        return _complain(error, sentence, EXIT_FAILED, debug)


def _is_short_of_memory(error: Exception) -> bool:
    if isinstance(error, RuntimeError) and "torch" in sys.modules:
        from uamp_model.devices import is_short_of_memory

        return is_short_of_memory(error)
    return isinstance(error, MemoryError)


def _about_temporary_files() -> str:
    """A hint where the full disk is that of the temporary files."""
    folder = tempfile.gettempdir()
    full = shutil.disk_usage(folder).free < _LITTLE
    return f" Temporary files are in {folder}, which is full; TMPDIR names another folder." if full else ""


def _expected_errors() -> tuple[type[Exception], ...]:
    from uamp_data.errors import DataError
    from uamp_model.errors import UampError

    return (UampError, DataError)


def _complain(error: Exception, sentence: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    from uamp_eval.visible import visible

    _say("Error: " + visible(" ".join(sentence.split())))
    return code


def _say(text: str) -> None:
    """Print on standard error; if that is a full disk, the exit code has to do."""
    try:
        typer.echo(text, err=True)
    except BrokenPipeError:
        _after_closed_pipe()
    except OSError:
        pass


def _after_closed_pipe() -> int:
    """Whoever read our output went away (`uamp models list | head -1`): leave quietly."""
    # The interpreter flushes stdout once more on its way out and would complain there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_FAILED


def _usage_sentence(error: Exception, arguments: Sequence[str]) -> str:
    """What is wrong with the command line, and the nearest option or command or where to look."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else _command_of(arguments)
    see = f"see `{path} --help`."
    option = getattr(error, "option_name", None)
    if option is not None and type(error).__name__ == "NoSuchOption":
        near = get_close_matches(str(option), _option_names(context), n=1)
        return f"There is no option {option}; " + (f"did you mean {near[0]}?" if near else see)
    message = " ".join(str(getattr(error, "message", error)).split()).rstrip(".")
    if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
        return f"Name one of the commands of `{path}`, which are listed above."
    unknown = re.match(r"No such command '([^']*)'", message)
    if unknown is not None:
        near = get_close_matches(unknown[1], list(getattr(context.command, "commands", [])) if context else [], n=1)
        return f"There is no command {unknown[1]!r}; " + (f"did you mean {near[0]!r}?" if near else see)
    extra = re.match(r"Got unexpected extra argument(?:\(s\))? \((\S+)\)", message)
    if extra is not None and context is not None and (option := _path_option(context)) and "." in extra[1]:
        return f"There is no option before {extra[1]}; did you mean {option} {extra[1]}?"
    hint = getattr(error, "param_hint", None) or _name_of(getattr(error, "param", None))
    if type(error).__name__ == "MissingParameter":
        return f"{hint} is missing; {see}"
    return (f"{hint}: {message}; {see}" if hint else f"{message}; {see}").replace("?;", "?")


def _command_of(arguments: Sequence[str]) -> str:
    """The command that the arguments begin with, for errors that do not know theirs: an option without its value."""
    path, command = "uamp", None
    for word in arguments:
        inner: Any = _COMMANDS if command is None else getattr(command, "commands", {})
        if word not in inner:
            break
        path, command = f"{path} {word}", _load(word) if command is None else inner[word]
    return path


def _name_of(parameter: Any) -> str:
    """What the help calls a parameter."""
    if getattr(parameter, "param_type_name", "") == "argument" and parameter.metavar:
        return str(parameter.metavar)
    return str(getattr(parameter, "opts", [""])[0])


def _path_option(context: Any) -> str | None:
    """The option for the file or folder that a command begins with, if it was not given."""
    first = next(iter(context.command.params), None)
    if first is None or context.params.get(first.name) is not None or not re.search("FILE|DIR", first.metavar or ""):
        return None
    return str(first.opts[0])


def _option_names(context: Any) -> list[str]:
    if context is None:
        return []
    return [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
