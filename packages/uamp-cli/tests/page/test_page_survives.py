"""What the page has to bear, in a real browser: odd videos, several tabs, cancelling and reloading at any time."""

import io
import re
import shutil
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest
from loopback import serving
from PIL import Image
from uamp_cli.overlay import colour_of
from uamp_cli.page.clips import GeneratedClip
from uamp_cli.page.view import LONGEST_SIDE
from uamp_data.writer import VideoWriter
from visits import SMALL, Visit, corners, middle, overlap, pausing, small_truth

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Gradio asks pandas for what newer pandas does by itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated and will be removed"),
]


IS_WHOLE = "element => element.scrollWidth <= element.clientWidth || element.clientWidth === 0"
"""Whether a text is not cut off; what is in a line of text has no width of its own."""


def test_two_tabs_do_not_meddle_with_each_other(
    visit: Visit, browser: "Browser", address: str, clip: GeneratedClip, small_video: Path
) -> None:
    other = Visit(browser, address)
    try:
        visit.open(small_video)
        visit.says("Click on it")
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


class Elsewhere(SimpleHTTPRequestHandler):
    """Another site of this machine: a folder that somebody serves."""

    def log_message(self, *args: object) -> None:
        pass


def test_another_local_site_may_lead_to_the_page_but_not_read_it(
    browser: "Browser", address: str, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text(f'<a href="{address}">the page</a>')
    with serving(partial(Elsewhere, directory=str(tmp_path))) as elsewhere:
        visit = Visit(browser, address)
        try:
            visit.page.goto(elsewhere)
            read = "url => fetch(url).then(answer => answer.text(), () => 'kept away')"
            assert visit.page.evaluate(read, f"{address}/config") == "kept away"
            visit.page.get_by_role("link").click()
            visit.ready()
            visit.press("generated")
            visit.says("This is a generated clip")
            assert not visit.complaints
        finally:
            visit.close()


def without_frames(path: Path) -> Path:
    """A video whose header is whole and which has no frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SMALL, "yuv420p"
        container.start_encoding()
    return path


def test_what_is_no_video_is_refused_in_a_sentence_and_the_page_goes_on(
    visit: Visit, small_video: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"this is no video" * 64)
    (tmp_path / "nothing.mp4").write_bytes(b"")
    whole = small_video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 10])  # of half a picture FFmpeg may show what there is
    refused = {
        tmp_path / "broken.mp4": "broken.mp4 is not a video or is damaged",
        tmp_path / "nothing.mp4": "nothing.mp4 is empty",
        tmp_path / "cut.mp4": "cut.mp4 ",
        without_frames(tmp_path / "none.mp4"): "none.mp4 holds no video",
        without_frames(tmp_path / "none.mkv"): "none.mkv ",
    }
    for video, why in refused.items():
        visit.open(video)
        sentence = visit.says(re.escape(why))
        assert "/" not in sentence  # where the page keeps it is its own affair
        assert "Traceback" not in sentence
        assert "\n" not in sentence.strip()
        # the next file can be dropped, and a reload shows the same
        visit.find("upload").locator("input[type=file]").wait_for(state="attached")
        visit.page.reload()
        visit.ready()
        visit.says(re.escape(why))
    visit.open(small_video)
    visit.says("Click on it")
    visit.find("upload").locator("input[type=file]").wait_for(state="attached")
    assert visit.find("upload").filter(has_text="small.mp4").count() == 0


def test_a_frame_beyond_the_end_is_the_last_one(visit: Visit, small_video: Path) -> None:
    visit.open(small_video)
    visit.says("Click on it")
    visit.find("frame").locator("input[type=number]").fill("999")
    visit.find("caption").filter(has_text="frame 4 of 4").wait_for()


def test_a_portrait_video_fits_into_the_window_and_is_marked_where_one_points(
    visit: Visit, clip: GeneratedClip, tmp_path: Path
) -> None:
    path, size = tmp_path / "portrait.mp4", (1280, 720)
    with VideoWriter(path, frame_rate=10, size=size) as video:
        for index in range(2):
            image = cv2.resize(clip.frame(index).image, size[::-1], interpolation=cv2.INTER_AREA)
            video.write(np.asarray(image, np.uint8))
    visit.open(path)
    visit.says("Click on it")
    before, scale = visit.picture(), LONGEST_SIDE / size[0]
    slider = visit.find("frame").bounding_box()
    assert slider is not None
    assert slider["y"] + slider["height"] < 1000  # the window's height
    visit.drag((100, 600), (500, 1000), size)
    visit.says("Press Track")
    marked = visit.changed(before)
    left, top, right, bottom = (round(edge * scale) for edge in (100, 600, 500, 1000))
    assert marked[top, left:right].mean() > 0.95
    assert marked[top:bottom, right].mean() > 0.95
    assert marked[top - 6, left:right].mean() < 0.5
    visit.press("undo")
    visit.says("Point at an object")
    visit.click(360, 200, size)
    visit.says("Press Track")
    x, y = round(360 * scale), round(200 * scale)
    ring = [visit.picture()[y + down, x + right] for down, right in ((0, 12), (0, -12), (12, 0), (-12, 0))]
    assert np.abs(np.stack(ring) - colour_of(1)).max() < 80


def test_on_a_phone_the_picture_comes_after_the_video_and_before_the_controls(visit: Visit, small_video: Path) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    visit.open(small_video)
    visit.says("Click on it")
    visit.picture()
    boxes = [visit.find(name).bounding_box() for name in ("upload", "picture", "objects", "track", "exports")]
    tops = [box["y"] for box in boxes if box is not None]
    assert len(tops) == 5
    assert tops == sorted(tops)
    # what the page says stays in sight where the controls are
    visit.find("write").scroll_into_view_if_needed()
    note = visit.find("note").bounding_box()
    assert note is not None
    assert 0 <= note["y"] < 400


def test_names_of_files_and_models_are_shown_whole(
    visit: Visit, clip: GeneratedClip, small_video: Path, tmp_path: Path
) -> None:
    visit.page.set_viewport_size({"width": 1200, "height": 900})
    visit.open(Path(shutil.copy(small_video, tmp_path / "the_long_name_of_my_holiday_video.mp4")))
    visit.says("Click on it")
    visit.find("model").locator("input").click()
    visit.page.get_by_role("option", name="sam2.1-hiera-base").click()
    visit.says("Point at an object")
    assert visit.find("model").locator("input").evaluate(IS_WHOLE)
    visit.find("model").locator("input").click()
    visit.page.get_by_role("option", name="nano").click()
    visit.drag(*corners(small_truth(clip, 0, 2)), SMALL)
    visit.says("press Track|Press Track")
    visit.press("track")
    visit.says("Done")
    visit.press("write")
    visit.says("ready to download")
    names = visit.find("files").locator(".filename, .stem").all()
    assert len(names) == 4
    assert all(name.evaluate(IS_WHOLE) for name in names)


def test_files_are_offered_for_as_long_as_the_tab_is_there(
    browser: "Browser", clip: GeneratedClip, small_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradio.route_utils import delete_files_created_by_app
    from uamp_cli.page import wiring
    from uamp_cli.page.server import page_at
    from uamp_cli.page.settings import PageSettings

    pages: list[Any] = []
    build = wiring.build_page

    def build_and_keep(*args: Any) -> Any:
        pages.append(build(*args))
        return pages[0]

    monkeypatch.setattr(wiring, "build_page", build_and_keep)
    with page_at(PageSettings(input=str(small_video), device="cpu", port=0)) as address:
        visit = Visit(browser, address)
        try:
            visit.says("Click on it")
            visit.drag(*corners(small_truth(clip, 0, 2)), SMALL)
            visit.says("Press Track")
            visit.press("track")
            visit.says("Done")
            visit.download("masks", tmp_path)
            delete_files_created_by_app(pages[0], 0)  # as Gradio does with what is an hour old
            visit.press("on")
            visit.find("caption").filter(has_text="frame 1 of 4").wait_for()
            with visit.page.expect_download() as download:
                visit.find("files").get_by_role("link").first.click()
            assert download.value.path().stat().st_size > 0
        finally:
            visit.close()


def test_a_4k_video_is_shown_small_and_tracked_at_its_own_size(
    visit: Visit, clip: GeneratedClip, tmp_path: Path
) -> None:
    path, size, frames = tmp_path / "large.mp4", (2160, 3840), 3
    with VideoWriter(path, frame_rate=10, size=size) as video:
        for index in range(frames):
            image = cv2.resize(clip.frame(index).image, size[::-1], interpolation=cv2.INTER_LINEAR)
            video.write(np.asarray(image, np.uint8))
    assert clip.truth is not None
    truths = [
        cv2.resize((clip.truth[index] == 2).astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
        for index in range(frames)
    ]
    visit.open(path)
    visit.says("Click on it")
    assert max(visit.picture().shape) == LONGEST_SIDE
    visit.drag(*corners(truths[0]), size)
    visit.says("Press Track")
    visit.press("track")
    visit.says("Done")
    with zipfile.ZipFile(visit.download("masks", tmp_path)) as packed:
        ids = [np.asarray(Image.open(io.BytesIO(packed.read(name)))) for name in sorted(packed.namelist())]
    assert len(ids) == frames
    for found, truth in zip(ids, truths, strict=True):
        assert found.shape == size
        assert overlap(found == 1, truth) > 0.4


def test_cancelled_and_reloaded_in_the_middle_it_goes_on(visit: Visit, clip: GeneratedClip, small_video: Path) -> None:
    visit.open(small_video)
    visit.says("Click on it")
    visit.click(*middle(small_truth(clip, 0, 2)), SMALL)
    visit.says("Press Track")
    with pausing(2):
        visit.press("track")
        visit.says(r"Tracking · [1-9] of 5 frames")
        visit.page.reload()
        visit.ready()
        visit.press("cancel")
        tracked = int(visit.says("Cancelled with").split()[2])
    assert 0 < tracked < 5
    # the files hold all frames, and say that some have no objects
    visit.press("write")
    visit.says(rf"ready to download.* {5 - tracked} frames")
    visit.page.reload()
    visit.ready()
    assert visit.find("files").get_by_role("link").count() > 0
    visit.press("track")
    visit.says("Done")
