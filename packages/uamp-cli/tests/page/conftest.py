"""A page's state without a page, and a small real model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from uamp_cli.page.state import PageState, new_state
from uamp_cli.page.tracking import Trackers


@pytest.fixture(scope="session")
def trackers(checkpoint: Path) -> Trackers:
    """Nano with random weights: what it finds is arbitrary, but always the same."""
    return Trackers("cpu", {"nano": checkpoint})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[PageState]:
    """A tab that was just opened."""
    state = new_state(tmp_path, "nano", "sam2")
    yield state
    state.close()
