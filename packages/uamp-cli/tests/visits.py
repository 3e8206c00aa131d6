"""The page in a real browser, as one tab of it, and where things are on the generated clip."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from uamp_cli.page.clips import GeneratedClip
from uamp_cli.page.jobs import Job

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

Mask = npt.NDArray[np.bool_]

PATIENCE = 60_000
"""Milliseconds; a machine may have other things to do."""
SMALL = (144, 256)
"""Height and width of `small_video`."""


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
        try:
            note.wait_for()
        except Exception as error:
            shown = self.find("note").all_inner_texts()
            raise AssertionError(
                f"the page says {shown}, not {pattern}; it asked last for {self.asked[-8:]}"
            ) from error
        return note.inner_text()

    def press(self, name: str) -> None:
        button = self.find(name)
        button.and_(self.page.locator(":enabled")).wait_for()
        button.click()

    def tool(self, text: str) -> None:
        """Choose what a click means, without waiting for the page's hint: a click says itself what it is."""
        self.find("tools").get_by_text(text).click()

    def open(self, video: Path) -> None:
        self.find("upload").locator("input[type=file]").set_input_files(video)

    def place(self, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
        """Where in the window a pixel of the video is shown, whose height and width are `size`."""
        self.page.wait_for_function("document.querySelector('#uamp-picture img')?.naturalWidth > 0")
        box = self.find("picture").locator("img").bounding_box()
        assert box is not None
        return box["x"] + (x + 0.5) / size[1] * box["width"], box["y"] + (y + 0.5) / size[0] * box["height"]

    def click(self, x: float, y: float, size: tuple[int, int]) -> None:
        """Click on the picture at a pixel of the video, whose height and width are `size`."""
        self.page.mouse.click(*self.place(x, y, size))

    def drag(self, start: tuple[float, float], end: tuple[float, float], size: tuple[int, int]) -> None:
        """Draw from one pixel of the video to another with the left button held down."""
        self.page.mouse.move(*self.place(*start, size))
        self.page.mouse.down()
        self.page.mouse.move(*self.place(*end, size), steps=4)
        self.page.mouse.up()

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

    def download(self, name: str, folder: Path) -> Path:
        """Make the files and take away the one whose name contains `name`."""
        self.press("write")
        self.says("ready to download")
        row = self.find("files").locator("tr").filter(has_text=name)
        with self.page.expect_download() as download:
            row.get_by_role("link").click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def close(self) -> None:
        self._context.close()


@contextmanager
def pausing(frames: int) -> Iterator[None]:
    """Let what the page does wait after so many frames until it is cancelled, however slow the browser is meanwhile."""
    advance = Job.advance

    def advance_and_wait(job: Job, frame: int | None = None) -> None:
        advance(job, frame)
        if job.done >= frames:
            job._stop.wait(2 * PATIENCE / 1000)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "advance", advance_and_wait)
        yield


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


def corners(mask: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    """The upper left and the lower right pixel of the box around a mask, each (x, y)."""
    rows, columns = np.nonzero(mask)
    return (int(columns.min()), int(rows.min())), (int(columns.max()), int(rows.max()))
