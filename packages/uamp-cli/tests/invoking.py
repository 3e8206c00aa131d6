"""The command, run in this process."""

from dataclasses import dataclass

from typer.testing import CliRunner
from uamp_cli.main import app


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the command came to."""

    code: int
    out: str
    err: str

    def refused(self, *, after: tuple[str, ...] = ()) -> str:
        """The one sentence of a run that refused its input, after lines of progress that begin with one of these."""
        assert self.code == 2, self
        lines = [line for line in self.err.strip().splitlines() if not line.startswith(after)]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("Error: ")
        assert "Traceback" not in self.err + self.out
        return lines[0]


def invoke(*arguments: object) -> Outcome:
    """Run the command here and now."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return Outcome(result.exit_code, result.stdout, result.stderr)
