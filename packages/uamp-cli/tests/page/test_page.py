"""The page in a real browser: headless Chromium, the bundled model, the generated clip and small videos."""

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from uamp_cli.page.clips import GeneratedClip, generated_clip
from uamp_cli.page.settings import PageSettings
from uamp_data.writer import VideoWriter

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

# Gradio asks pandas for what newer pandas does by itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated and will be removed"),
]

Mask = npt.NDArray[np.bool_]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60_000
"""Milliseconds; a machine may have other things to do."""
SMALL = (144, 256)


@pytest.fixture(scope="module")
def clip() -> GeneratedClip:
    return generated_clip()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: install it")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on PATH to open the page in")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(browser: "Browser") -> Iterator[str]:
    pytest.importorskip("gradio", reason="the page needs uamp-cli[ui]")
    from uamp_cli.page.server import page_at

    with page_at(PageSettings(device="cpu", port=0)) as where:
        yield where


class Visit:
    """One tab, with everything the browser asked for and complained about."""

    def __init__(self, browser: "Browser", address: str) -> None:
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self._context = browser.new_context(viewport={"width": 1440, "height": 1000})
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)
        self.ready()

    def ready(self) -> None:
        """Wait until the tab has its name, with which the page comes to rest."""
        self.page.wait_for_function("document.querySelector('#uamp-tab textarea, #uamp-tab input')?.value")

    def find(self, name: str) -> "Locator":
        return self.page.locator(f"#uamp-{name}")

    def says(self, pattern: str) -> str:
        """Wait until the page's sentence matches; return it."""
        note = self.find("note").filter(has_text=re.compile(pattern))
        note.wait_for()
        return note.inner_text()

    def press(self, name: str) -> None:
        button = self.find(name)
        button.and_(self.page.locator(":enabled")).wait_for()
        button.click()

    def tool(self, text: str) -> None:
        self.find("tools").get_by_text(text).click()
        self.says("Click")

    def open(self, video: Path) -> None:
        self.find("upload").locator("input[type=file]").set_input_files(video)

    def click(self, x: float, y: float, size: tuple[int, int]) -> None:
        """Click on the picture at a pixel of the video, whose height and width are `size`."""
        picture = self.find("picture").locator("img")
        box = picture.bounding_box()
        assert box is not None
        position = {"x": (x + 0.5) / size[1] * box["width"], "y": (y + 0.5) / size[0] * box["height"]}
        picture.click(position={"x": position["x"], "y": position["y"]})

    def picture(self, name: str = "picture") -> npt.NDArray[np.int16]:
        """What is shown, at its own size."""
        picture = self.find(name).locator("img")
        source = picture.get_attribute("src")
        assert source is not None
        data = self.page.request.get(source).body()
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)

    def changed(self, before: npt.NDArray[np.int16]) -> Mask:
        """Where the picture differs from an earlier one by more than its compression."""
        return np.asarray(np.abs(self.picture() - before).max(axis=2) > 24)

    def close(self) -> None:
        self._context.close()


@pytest.fixture
def visit(browser: "Browser", address: str) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    visit.close()
    assert not visit.complaints
    foreign = [url for url in visit.asked if not url.startswith((address, "data:", "blob:"))]
    assert not foreign, "the page works without network"


@pytest.fixture(scope="module")
def small_video(tmp_path_factory: pytest.TempPathFactory, clip: GeneratedClip) -> Path:
    """The first frames of the generated clip, small."""
    path = tmp_path_factory.mktemp("videos") / "small.mp4"
    with VideoWriter(path, frame_rate=10, size=SMALL) as video:
        for index in range(5):
            image = cv2.resize(clip.frame(index).image, SMALL[::-1], interpolation=cv2.INTER_AREA)
            video.write(np.asarray(image, np.uint8))
    return path


def small_truth(clip: GeneratedClip, index: int, object_id: int) -> Mask:
    assert clip.truth is not None
    mask = (clip.truth[index] == object_id).astype(np.uint8)
    return np.asarray(cv2.resize(mask, SMALL[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def middle(mask: Mask) -> tuple[int, int]:
    """x and y of the pixel that is deepest inside."""
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def draw_box(visit: Visit, mask: Mask) -> None:
    """Two clicks around an object of a video of the mask's size."""
    rows, columns = np.nonzero(mask)
    visit.tool("box")
    visit.click(columns.min(), rows.min(), mask.shape)
    visit.says("opposite corner")
    visit.click(columns.max(), rows.max(), mask.shape)
    visit.says("press Track|Press Track")


def test_a_click_on_an_object_of_the_generated_clip_gives_its_mask(visit: Visit, clip: GeneratedClip) -> None:
    visit.press("generated")
    visit.says("This is a generated clip")
    before = visit.picture()
    assert before.shape == (clip.height, clip.width, 3)
    assert clip.truth is not None
    truth = clip.truth[0] == 2
    x, y = middle(truth)
    visit.click(x, y, truth.shape)
    visit.says("Press Track")
    assert overlap(visit.changed(before), truth) > 0.4
    assert visit.picture("doubt").shape == before.shape
    # a reload keeps what was done, even while it is tracked
    visit.page.reload()
    visit.ready()
    visit.says("Press Track")
    assert overlap(visit.changed(before), truth) > 0.4
    visit.press("track")
    visit.says(r"Tracking · [1-9]\d* of 72 frames")
    visit.page.reload()
    visit.says(r"Tracking · \d+ of 72 frames")
    visit.press("cancel")
    tracked = int(visit.says("Cancelled with").split()[2])
    assert 0 < tracked < 72


def test_a_dropped_video_is_tracked_corrected_and_taken_away(
    visit: Visit, clip: GeneratedClip, small_video: Path, tmp_path: Path
) -> None:
    visit.open(small_video)
    visit.says("click on it")
    draw_box(visit, small_truth(clip, 0, 1))
    visit.press("new")
    visit.says("Click on object 2")
    draw_box(visit, small_truth(clip, 0, 2))
    visit.press("track")
    visit.says("Done")
    visit.press("on")
    visit.find("caption").filter(has_text="frame 1 of 4").wait_for()
    visit.tool("on the object")
    visit.click(*middle(small_truth(clip, 1, 2)), SMALL)
    visit.says("track on from here")
    visit.press("track")
    visit.says("Done")
    visit.press("write")
    visit.says("ready to download")
    with visit.page.expect_download() as download:
        visit.find("files").get_by_role("link").filter(has_text=re.compile("B")).last.click()
    path = tmp_path / "masks.zip"
    download.value.save_as(path)
    assert download.value.suggested_filename == "small_uamp_masks.zip"
    with zipfile.ZipFile(path) as packed:
        names = sorted(packed.namelist())
        assert len(names) == 5
        for index in (0, 4):
            ids = np.asarray(Image.open(io.BytesIO(packed.read(names[index]))))
            for object_id in (1, 2):
                assert overlap(ids == object_id, small_truth(clip, index, object_id)) > 0.4, (index, object_id)


def test_two_tabs_do_not_meddle_with_each_other(
    visit: Visit, browser: "Browser", address: str, clip: GeneratedClip, small_video: Path
) -> None:
    other = Visit(browser, address)
    try:
        visit.open(small_video)
        visit.says("click on it")
        other.press("generated")
        other.says("This is a generated clip")
        bare = other.picture()
        visit.click(*middle(small_truth(clip, 0, 2)), SMALL)
        visit.press("track")
        other.press("on")
        other.find("caption").filter(has_text="frame 1 of 71").wait_for()
        visit.says("Done")
        assert visit.picture().shape == (*SMALL, 3)
        other.press("back")
        other.find("caption").filter(has_text="frame 0 of 71").wait_for()
        np.testing.assert_array_equal(other.picture(), bare)
        other.press("track")
        other.says("nothing to track yet")
        assert not other.complaints
    finally:
        other.close()


def test_what_is_no_video_is_refused_in_a_sentence_and_the_page_goes_on(
    visit: Visit, small_video: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no video" * 64)
    visit.open(broken)
    sentence = visit.says("is not a video or is damaged")
    assert "Traceback" not in sentence
    assert "\n" not in sentence.strip()
    visit.page.reload()
    visit.ready()
    visit.says("is not a video or is damaged")
    visit.find("upload").locator("input[type=file]").wait_for(state="attached")
    visit.open(small_video)
    visit.says("click on it")
