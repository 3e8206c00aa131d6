"""A small real model and small real videos. The model is untrained: nothing here is about how well it tracks."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from uamp_cli.page.clips import GeneratedClip, generated_clip
from uamp_cli.page.settings import PageSettings
from uamp_cli.page.state import PageState, new_state
from uamp_cli.page.tracking import Trackers
from uamp_data.masks import write_mask
from uamp_data.writer import VideoWriter
from uamp_model import build_model
from uamp_model.checkpoint import save_state_dict

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from visits import Visit

sys.path.insert(0, str(Path(__file__).parent))  # for `evaluation_trees` and its like
from invoking import Outcome, invoke

HEIGHT, WIDTH = 64, 96

Image = npt.NDArray[np.uint8]
Run = Callable[..., Outcome]
MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """`uamp train` lets log lines be seen; other tests expect silence."""
    root, handlers = logging.getLogger(), list(logging.getLogger().handlers)
    yield
    root.handlers[:] = handlers
    for package in ("uamp_train", "uamp_data", "uamp_cli"):
        logging.getLogger(package).setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of nano, random but always the same."""
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_state_dict(path, build_model("nano").state_dict())
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in an empty folder at a fixed width."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("UAMP_CACHE", str(tmp_path / "cache"))

    return invoke


@dataclass(frozen=True, slots=True)
class Tracked:
    """A benchmark that was tracked and scored; not to be changed.

    Attributes:
        root: the data set: `camel` with one object, `dogs` with two.
        output: the folder of the results.
        scores: what --json wrote.
        outcome: what was printed.
    """

    root: Path
    output: Path
    scores: Path
    outcome: Outcome


@pytest.fixture(scope="session")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """`uamp eval davis` with the bundled model."""
    from evaluation_trees import make_davis

    folder = tmp_path_factory.mktemp("tracked")
    root, output, scores = make_davis(folder / "DAVIS", {"camel": 1, "dogs": 2}), folder / "out", folder / "scores.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        outcome = invoke(
            *("eval", "davis", "--dataset_root", root, "--memory", "uamp", "--device", "cpu", "--workers", 1),
            *("--output", output, "--json", scores),
        )
    return Tracked(root, output, scores, outcome)


def frame_at(index: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """A bright square that moves to the right over a gradient."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * 200 // height, columns * 200 // width, rows * 0 + 60], axis=-1).astype(np.uint8)
    image[height // 4 : height // 2, width // 8 + 2 * index : width // 3 + 2 * index] = (250, 240, 90)
    return image


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Write a short video into the run's folder."""

    def make(name: str = "in.mp4", frames: int = 4, height: int = HEIGHT, width: int = WIDTH) -> Path:
        path = tmp_path / name
        with VideoWriter(path, frame_rate=10, size=(height, width)) as video:
            for index in range(frames):
                video.write(frame_at(index, height, width))
        return path

    return make


@pytest.fixture
def make_mask(tmp_path: Path) -> MakeVideo:
    """Write a mask with two objects into the run's folder."""

    def make(name: str = "mask.png", height: int = HEIGHT, width: int = WIDTH) -> Path:
        ids = np.zeros((height, width), np.uint8)
        ids[height // 4 : height // 2, width // 8 : width // 3] = 1
        ids[3 * height // 4 :, width // 2 :] = 3
        write_mask(tmp_path / name, ids)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def trackers(checkpoint: Path) -> Trackers:
    """Nano with random weights and a small input, for the page: what it finds is arbitrary, but always the same."""
    return Trackers("cpu", {"nano": checkpoint}, image_size=160)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[PageState]:
    """The page's state in a tab that was just opened."""
    state = new_state(tmp_path, "nano", "sam2")
    yield state
    state.close()


@pytest.fixture(scope="session")
def clip() -> GeneratedClip:
    """The generated clip; not to be changed."""
    return generated_clip()


@pytest.fixture(scope="session")
def small_video(tmp_path_factory: pytest.TempPathFactory, clip: GeneratedClip) -> Path:
    """The first frames of the generated clip, small."""
    from visits import SMALL

    path = tmp_path_factory.mktemp("videos") / "small.mp4"
    with VideoWriter(path, frame_rate=10, size=SMALL) as video:
        for index in range(5):
            image = cv2.resize(clip.frame(index).image, SMALL[::-1], interpolation=cv2.INTER_AREA)
            video.write(np.asarray(image, np.uint8))
    return path


@pytest.fixture(scope="module")
def address(browser: "Browser") -> Iterator[str]:
    """Where the page with the bundled model is."""
    pytest.importorskip("gradio", reason="the page needs uamp-cli[ui]")
    from uamp_cli.page.server import page_at

    with page_at(PageSettings(device="cpu", port=0)) as where:
        yield where


@pytest.fixture
def visit(browser: "Browser", address: str) -> "Iterator[Visit]":
    """A tab with the page, which must neither fail nor ask for anything that is elsewhere."""
    from visits import Visit

    visit = Visit(browser, address)
    yield visit
    visit.close()
    assert not visit.complaints
    foreign = [url for url in visit.asked if not url.startswith((address, "data:", "blob:"))]
    assert not foreign, "the page works without network"
