"""What people do on the page, in a real browser: headless Chromium, the bundled model, the generated clip."""

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from uamp_cli.page.clips import GeneratedClip
from visits import SMALL, Mask, Visit, corners, middle, overlap, pausing, small_truth

if TYPE_CHECKING:
    from playwright.sync_api import Route

# Gradio asks pandas for what newer pandas does by itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated and will be removed"),
]


def draw_box(visit: Visit, mask: Mask) -> None:
    """Two clicks around an object of a video of the mask's size."""
    start, end = corners(mask)
    visit.tool("box")
    visit.click(*start, mask.shape)
    visit.says("Now click the opposite corner")
    visit.click(*end, mask.shape)
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
    with pausing(20):
        visit.press("track")
        visit.says(r"Tracking · [1-9]\d* of 72 frames")
        visit.page.reload()
        visit.says(r"Tracking · \d+ of 72 frames")
        visit.press("cancel")
        tracked = int(visit.says("Cancelled with").split()[2])
    assert 0 < tracked < 72


def test_a_click_is_of_the_tool_that_was_chosen_although_the_page_hears_of_the_click_first(
    visit: Visit, clip: GeneratedClip, small_video: Path
) -> None:
    visit.open(small_video)
    visit.says("Click on it")
    start, end = corners(small_truth(clip, 0, 1))
    held: list[Route] = []
    visit.page.route("**/queue/join**", lambda route: held.append(route), times=1)
    visit.tool("box")
    visit.click(*start, SMALL)
    visit.says("Now click the opposite corner")
    assert len(held) == 1
    with visit.page.expect_response("**/queue/join**"):
        held[0].continue_()
    visit.click(*end, SMALL)
    visit.says("Press Track")


def test_a_dropped_video_is_tracked_corrected_and_taken_away(
    visit: Visit, clip: GeneratedClip, small_video: Path, tmp_path: Path
) -> None:
    visit.open(small_video)
    visit.says("Click on it")
    draw_box(visit, small_truth(clip, 0, 1))
    visit.press("new")
    visit.says("Click on object 2")
    visit.drag(*corners(small_truth(clip, 0, 2)), SMALL)
    visit.says("Press Track")
    visit.press("track")
    visit.says("Done")
    visit.press("on")
    visit.find("caption").filter(has_text="frame 1 of 4").wait_for()
    visit.tool("on the object")
    visit.click(*middle(small_truth(clip, 1, 2)), SMALL)
    visit.says("track on from here")
    visit.press("track")
    visit.says("Done")
    path = visit.download("masks", tmp_path)
    assert path.name == "small_uamp_masks.zip"
    with zipfile.ZipFile(path) as packed:
        names = sorted(packed.namelist())
        assert len(names) == 5
        for index in (0, 4):
            ids = np.asarray(Image.open(io.BytesIO(packed.read(names[index]))))
            for object_id in (1, 2):
                assert overlap(ids == object_id, small_truth(clip, index, object_id)) > 0.4, (index, object_id)


def test_a_box_is_dragged_from_any_corner_also_beyond_the_picture(visit: Visit, clip: GeneratedClip) -> None:
    visit.press("generated")
    visit.says("This is a generated clip")
    before = visit.picture()
    assert clip.truth is not None
    truth = clip.truth[0] == 2
    (left, top), (right, bottom) = corners(truth)
    visit.drag((right, bottom), (left, top), truth.shape)
    visit.says("Press Track")
    assert overlap(visit.changed(before), truth) > 0.4
    visit.press("undo")
    visit.find("objects").filter(has_text="not marked yet").wait_for()
    np.testing.assert_array_equal(visit.picture(), before)
    # with the same box once more, then one that ends outside
    visit.drag((right, bottom), (left, top), truth.shape)
    visit.find("objects").filter(has_text="from frame 0").wait_for()
    visit.press("undo")
    visit.find("objects").filter(has_text="not marked yet").wait_for()
    visit.drag((right, bottom), (-30, -20), truth.shape)
    visit.find("objects").filter(has_text="from frame 0").wait_for()
    edges = visit.changed(before)
    assert edges[:bottom, :3].mean() > 0.5
    assert edges[:3, :right].mean() > 0.5


def test_a_drag_given_up_and_a_hand_that_shakes_are_no_boxes(visit: Visit, clip: GeneratedClip) -> None:
    visit.press("generated")
    visit.says("This is a generated clip")
    before = visit.picture()
    assert clip.truth is not None
    truth = clip.truth[0] == 2
    mouse, (x, y) = visit.page.mouse, visit.place(*middle(truth), truth.shape)
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 60, y + 60, steps=3)
    assert visit.page.locator(".uamp-band").count() == 1
    visit.page.keyboard.press("Escape")
    assert visit.page.locator(".uamp-band").count() == 0
    mouse.up()
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 2, y + 1)
    mouse.up()
    visit.says("Press Track")
    assert overlap(visit.changed(before), truth) > 0.4
    visit.press("undo")
    visit.find("objects").filter(has_text="not marked yet").wait_for()
