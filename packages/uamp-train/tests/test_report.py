"""What is shown on a terminal while a run goes on."""

import logging
from collections.abc import Callable, Iterator

import pytest
from uamp_train.config import TrainConfig
from uamp_train.loop import make_accelerator
from uamp_train.report import Report

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def package_log() -> Iterator[logging.Logger]:
    """The package's logger, set back to how it was."""
    log = logging.getLogger("uamp_train")
    level = log.level
    yield log
    log.setLevel(level)


@pytest.mark.parametrize(("level", "shown"), [(logging.INFO, True), (logging.WARNING, True), (logging.ERROR, False)])
def test_a_silent_log_has_no_bar(
    tiny: MakeConfig,
    package_log: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: int,
    shown: bool,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes a terminal of any stream
    monkeypatch.setenv("TERM", "xterm")
    package_log.setLevel(level)
    config = tiny()
    with Report(config, make_accelerator(config), step=1, total=3, end=3):
        pass
    assert ("1/3" in capsys.readouterr().err) == shown
