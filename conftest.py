"""What holds for the tests of all packages."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# A shell starts background jobs with Ctrl-C ignored, and ignoring is inherited: the tests that interrupt something
# would then wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where the machine reaches the network through a proxy, the tests' own servers are not to be asked for there.
os.environ["no_proxy"] = "127.0.0.1,localhost"

# With one of these, as CI services set them, Rich and Typer take every pipe for a terminal, or one of another width.
for variable in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TERMINAL_WIDTH", "TTY_COMPATIBLE"):
    os.environ.pop(variable, None)

# Machines that do other things besides are slow now and then: how long an example takes says nothing. The examples
# are the same in every run.
settings.register_profile("uamp", deadline=None, derandomize=True)
settings.load_profile("uamp")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    for_cuda = [item for item in items if item.get_closest_marker("cuda")]
    if not for_cuda:
        return
    import torch

    if not torch.cuda.is_available():
        for item in for_cuda:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device here"))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Headless Chromium, the system's."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: install it")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on PATH to open the page in")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def room_for() -> Callable[[int], AbstractContextManager[None]]:
    """Lets no file grow beyond so many bytes; Python ignores the signal, so that writing fails as on a full disk."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # half a file of bytecode would stay, and end every process that imports it from then on
        bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            sys.dont_write_bytecode = bytecode

    return limited
