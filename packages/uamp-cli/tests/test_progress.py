"""Progress without a terminal, and with one."""

import io

import pytest
from rich.console import Console
from uamp_cli.progress import BarProgress, LineProgress, frame_progress


@pytest.mark.parametrize(
    ("total", "steps", "lines"), [(8, 8, 4), (8, 3, 1), (3, 3, 3), (1, 1, 1), (None, 450, 3), (None, 99, 0)]
)
def test_a_few_plain_lines(total: int | None, steps: int, lines: int) -> None:
    console = Console(file=io.StringIO(), width=40)
    with frame_progress(console) as progress:
        assert isinstance(progress, LineProgress)
        progress.begin("Tracking", total)
        for _ in range(steps):
            progress.advance()
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue().splitlines()
    assert len(written) == lines
    assert all(line.startswith("Tracking: ") and "frames/s" in line for line in written)


@pytest.mark.parametrize("total", [3, None])
def test_a_bar_on_a_terminal(total: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # there may be "dumb", which has no bars
    file = io.StringIO()
    with frame_progress(Console(file=file, force_terminal=True, width=100)) as progress:
        assert isinstance(progress, BarProgress)
        progress.begin("Backwards", 2)
        progress.begin("Tracking", total)
        for _ in range(3):
            progress.advance()
    assert "Tracking" in file.getvalue()
