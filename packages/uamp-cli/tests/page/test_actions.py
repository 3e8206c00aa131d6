"""The page's actions on its state, without a browser: a small real video and a small real model."""

import json
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from sound import write_video_with_sound
from uamp_cli.overlay import colour_of
from uamp_cli.page import actions
from uamp_cli.page.export import About, Export
from uamp_cli.page.jobs import Cancelled, Job
from uamp_cli.page.results import Found
from uamp_cli.page.state import PageState, Tool
from uamp_cli.page.tracking import Trackers
from uamp_cli.page.view import LONGEST_SIDE, View, object_labels, shown_scale, view
from uamp_cli.tracking import ObjectState
from uamp_data.errors import DataError
from uamp_data.seeking import SeekableVideo
from uamp_data.writer import VideoWriter
from uamp_model import Prompt
from uamp_model.errors import InputError

MakeVideo = Callable[..., Path]


def finish(state: PageState) -> None:
    """Wait for the work in the background."""
    assert state.job is not None
    state.job.join(60)
    assert state.job.is_finished
    actions.finish(state)


def track(state: PageState, trackers: Trackers) -> None:
    actions.start_tracking(state, trackers)
    finish(state)
    assert not state.is_error, state.message


class Impatient(Job):
    """A job that cancels itself after a frame, in the backward pass or in the forward one."""

    def __init__(self, frame: int, *, backwards: bool) -> None:
        super().__init__("Tracking")
        self._last, self._backwards = frame, backwards

    def advance(self, frame: int | None = None) -> None:
        super().advance(frame)
        if frame == self._last and (self.what == "Tracking backwards") is self._backwards:
            self.cancel()


def track_until(state: PageState, trackers: Trackers, frame: int, *, backwards: bool) -> None:
    """Track as far as a frame, where somebody cancels."""
    assert state.clip is not None
    job = Impatient(frame, backwards=backwards)
    with pytest.raises(Cancelled):
        state.track.run(job, trackers.get(state.model, state.memory), state.clip, state.drawing)


def ids_of(state: PageState) -> list[bytes]:
    found = [state.track.results.get(index) for index in state.track.results.frames()]
    return [one.ids.tobytes() for one in found if one is not None]


@pytest.fixture
def opened(state: PageState, make_video: MakeVideo) -> PageState:
    """A tab with a video of eight frames."""
    actions.open_upload(state, make_video("in.mp4", frames=8))
    return state


def test_a_click_shows_at_once_what_the_tracker_says_for_that_point(opened: PageState, trackers: Trackers) -> None:
    actions.go_to(opened, 3)
    actions.click(opened, 24.5, 20.5)
    shown = view(opened, trackers)
    assert opened.seen is not None
    assert opened.clip is not None
    image = opened.clip.frame(3).image
    expected = trackers.get("nano", "sam2").start().step(image, {1: Prompt.points([[24.5, 20.5]])})
    np.testing.assert_array_equal(opened.seen[1].ids > 0, expected.masks[0].numpy())
    assert shown.picture is not None
    assert shown.picture.shape == image.shape
    assert not np.array_equal(shown.picture, image)
    assert shown.doubt is not None
    assert "frame 3 of 7" in shown.caption


def test_tracking_gives_what_a_session_gives_forwards_and_backwards(opened: PageState, trackers: Trackers) -> None:
    actions.go_to(opened, 3)
    actions.click(opened, 24.5, 20.5)
    track(opened, trackers)
    assert opened.track.results.frames() == list(range(8))
    assert opened.clip is not None
    frames = [frame.image for frame in opened.clip.frames()]
    tracker = trackers.get("nano", "sam2")
    prompts = {1: Prompt.points([[24.5, 20.5]])}
    ahead, back = tracker.start(first_frame=3, num_frames=8), tracker.start(first_frame=3, reverse=True, num_frames=8)
    for session, order in ((ahead, range(3, 8)), (back, range(3, -1, -1))):
        for index in order:
            expected = session.step(frames[index], prompts if index == 3 else None)
            found = opened.track.results.get(index)
            assert found is not None
            np.testing.assert_array_equal(found.ids > 0, expected.masks[0].numpy(), err_msg=str(index))


@pytest.mark.parametrize("memory", ["sam2", "samurai", "uamp"])
def test_going_on_from_a_correction_equals_tracking_all_again(
    opened: PageState, trackers: Trackers, memory: str
) -> None:
    actions.choose_tracker(opened, "nano", memory)
    opened.track.stride = 2
    actions.click(opened, 24.5, 20.5)
    track(opened, trackers)
    before = ids_of(opened)
    actions.go_to(opened, 5)
    actions.choose_tool(opened, Tool.BOX)
    actions.click(opened, 60, 10)
    actions.click(opened, 20, 50)
    assert opened.track.valid_to == 5
    assert "before your last change" in _caption_on(opened, trackers, 6)
    actions.go_to(opened, 5)
    track(opened, trackers)
    assert opened.job is not None
    assert opened.job.total < 8  # it went back to a snapshot only
    continued = ids_of(opened)
    assert continued[:5] == before[:5]
    assert continued[5:] != before[5:]
    drawing = opened.drawing
    opened.track.reset()
    opened.drawing = drawing
    track(opened, trackers)
    assert ids_of(opened) == continued


def test_a_drag_is_a_box_whatever_a_click_is_and_takes_the_place_of_a_first_corner(opened: PageState) -> None:
    actions.choose_tool(opened, Tool.BOX)
    actions.click(opened, 5, 5)
    actions.choose_tool(opened, Tool.BESIDE)
    actions.drag(opened, (60, 50), (10, 20))
    marks = opened.drawing.of(0, 1)
    assert (marks.box, marks.corner, marks.points) == ((10, 20, 60, 50), None, [])
    for corners in (((10, 20), (10.5, 50)), ((-1, 20), (60, 50))):
        with pytest.raises(InputError):
            actions.drag(opened, *corners)
    assert marks.box == (10, 20, 60, 50)


def _caption_on(state: PageState, trackers: Trackers, frame: int) -> str:
    actions.go_to(state, frame)
    return view(state, trackers).caption


def test_a_click_on_a_tracked_frame_corrects_the_mask_that_is_there(opened: PageState, trackers: Trackers) -> None:
    actions.choose_tool(opened, Tool.BOX)
    actions.click(opened, 10, 10)
    actions.click(opened, 60, 50)
    track(opened, trackers)
    actions.go_to(opened, 4)
    actions.choose_tool(opened, Tool.BESIDE)
    tracked = opened.track.results.get(4)
    assert tracked is not None
    assert tracked.ids.any()
    y, x = np.argwhere(tracked.ids)[0]
    actions.click(opened, x + 0.5, y + 0.5)
    assert opened.drawing.at(4)[1].corrects
    view(opened, trackers)
    assert opened.seen is not None
    seen, score = opened.seen[1].ids, opened.seen[1].objects[1].score
    assert not np.array_equal(seen, tracked.ids)
    if seen.any():
        track(opened, trackers)
        found = opened.track.results.get(4)
        assert found is not None
        # what people saw is what is tracked from, but for the resolution of masks in the tracker; this one is noise
        assert (found.ids == seen).mean() > 0.9
        # and as certain as they saw it
        assert found.objects[1].score == pytest.approx(score, abs=1e-4)


def test_several_objects_from_different_frames(opened: PageState, trackers: Trackers) -> None:
    actions.click(opened, 24.5, 20.5)
    actions.add_object(opened)
    assert opened.object_id == 2
    actions.go_to(opened, 4)
    actions.choose_tool(opened, Tool.BOX)
    actions.click(opened, 5, 5)
    actions.click(opened, 40, 40)
    track(opened, trackers)
    assert opened.track.results.frames() == list(range(8))
    for index in range(8):
        found = opened.track.results.get(index)
        assert found is not None
        assert set(found.objects) == {1, 2}, index
    assert [label for label, _ in object_labels(opened)] == ["1: from frame 0", "2: from frame 4"]
    actions.remove_object(opened)
    assert opened.object_ids == [1]
    track(opened, trackers)
    alone = opened.track.results.get(6)
    assert alone is not None
    assert set(alone.objects) == {1}


def test_cancelled_tracking_goes_on_where_it_was(opened: PageState, trackers: Trackers) -> None:
    actions.click(opened, 24.5, 20.5)
    actions.start_tracking(opened, trackers)
    assert opened.job is not None
    opened.job.wait(0, 60)
    actions.cancel(opened)
    finish(opened)
    reached = opened.track.valid_to
    assert opened.job.is_cancelled or reached == 8
    track(opened, trackers)
    resumed = ids_of(opened)
    opened.track.reset()
    track(opened, trackers)
    assert resumed == ids_of(opened)


def test_an_object_that_was_removed_is_gone_from_the_frames_before_the_others_too(
    opened: PageState, trackers: Trackers
) -> None:
    actions.drag(opened, (10, 10), (60, 50))
    actions.add_object(opened)
    actions.go_to(opened, 4)
    actions.drag(opened, (5, 5), (40, 40))
    track(opened, trackers)
    actions.choose_object(opened, 1)
    actions.remove_object(opened)
    track(opened, trackers)
    actions.start_export(opened, trackers, [Export.JSON])
    finish(opened)
    report = json.loads(opened.files[0].read_text())
    assert [list(frame["objects"]) for frame in report["per_frame"]] == [["2"]] * 8
    assert opened.track.results.object_ids() == [2]


def marked_twice(state: PageState, trackers: Trackers) -> None:
    """Two objects, tracked; the second one is chosen."""
    actions.drag(state, (10, 10), (60, 50))
    actions.add_object(state)
    actions.drag(state, (50, 30), (90, 60))
    track(state, trackers)
    assert found_ids(state) == {1, 2}


def found_ids(state: PageState) -> set[int]:
    """The objects that are to be seen on some frame, as the picture and the files have them."""
    found = [state.track.results.get(index) for index in state.track.results.frames()]
    pixels = {int(i) for one in found if one is not None for i in np.unique(one.ids) if i}
    assert pixels <= set(state.track.results.object_ids())
    return pixels


@pytest.mark.parametrize("unmark", [actions.remove_object, actions.undo, actions.clear_marks])
def test_an_object_that_is_marked_no_more_is_neither_shown_nor_written(
    opened: PageState, trackers: Trackers, unmark: Callable[[PageState], None]
) -> None:
    marked_twice(opened, trackers)
    both = _picture(view(opened, trackers))
    first = opened.track.results.get(opened.frame)
    assert first is not None
    assert first.doubt[first.ids == 2].any()
    unmark(opened)
    assert found_ids(opened) == {1}
    assert not np.array_equal(_picture(view(opened, trackers)), both)
    left = opened.track.results.get(opened.frame)
    assert left is not None
    assert not left.doubt[first.ids == 2].any()
    actions.start_export(opened, trackers, [Export.CSV])
    finish(opened)
    rows = [line.split(",") for line in opened.files[0].read_text().splitlines()]
    assert {row[rows[0].index("object")] for row in rows[1:]} == {"1"}
    # another object gets the number, but not the masks
    actions.add_object(opened)
    assert opened.object_id == 2
    actions.go_to(opened, 4)
    assert found_ids(opened) == {1}
    actions.drag(opened, (50, 30), (90, 60))
    assert opened.drawing.at(4)[2].tracked is None
    track(opened, trackers)
    again = ids_of(opened)
    opened.track.reset()
    track(opened, trackers)
    assert ids_of(opened) == again


def test_without_any_marks_nothing_is_tracked(opened: PageState, trackers: Trackers) -> None:
    actions.click(opened, 24.5, 20.5)
    track(opened, trackers)
    actions.undo(opened)
    with pytest.raises(InputError, match="press Track first"):
        actions.start_export(opened, trackers, [Export.MASKS])


def test_the_page_always_says_what_to_do_next(state: PageState, trackers: Trackers, make_video: MakeVideo) -> None:
    actions.choose_tracker(state, "nano", "uamp")
    assert state.message.startswith("Drop a video")
    actions.open_upload(state, make_video("in.mp4", frames=8))
    actions.choose_tracker(state, "nano", "sam2")
    assert state.message == "Point at an object to follow it."
    actions.click(state, 24.5, 20.5)
    for memory in ("uamp", "sam2"):
        actions.choose_tracker(state, "nano", memory)
        assert state.message.startswith("Press Track")
    track_until(state, trackers, 3, backwards=False)
    for frame, said in ((3, "Is a mask wrong here?"), (6, "Not tracked yet: press Track")):
        actions.go_to(state, frame)
        assert state.message.startswith(said)
    actions.click(state, 24.5, 20.5)
    actions.undo(state)
    assert state.message.startswith("Press Track")
    actions.go_to(state, 0)
    actions.clear_marks(state)
    assert state.message == "Point at an object to follow it."
    actions.go_to(state, 6)
    assert state.message == "Point at an object to follow it."


def test_a_cancelled_backward_pass_is_not_taken_for_a_whole_one(opened: PageState, trackers: Trackers) -> None:
    one, other = ((10, 10), (60, 50)), ((50, 30), (90, 60))
    actions.go_to(opened, 4)
    actions.drag(opened, *one)
    track(opened, trackers)
    before = ids_of(opened)
    actions.drag(opened, *other)
    track_until(opened, trackers, 2, backwards=True)
    kept = [new == old for new, old in zip(ids_of(opened), before, strict=True)]
    assert kept[:5] == [True, True, False, False, False]
    actions.drag(opened, *one)
    track(opened, trackers)
    assert ids_of(opened) == before


def test_what_a_cancelled_forward_pass_wrote_over_is_tracked_backwards_again(
    opened: PageState, trackers: Trackers
) -> None:
    actions.drag(opened, (10, 10), (60, 50))
    actions.add_object(opened)
    actions.go_to(opened, 4)
    actions.drag(opened, (50, 30), (90, 60))
    track(opened, trackers)
    actions.choose_object(opened, 1)
    actions.go_to(opened, 2)
    actions.drag(opened, (10, 10), (40, 40))
    track_until(opened, trackers, 5, backwards=False)
    track(opened, trackers)
    resumed = ids_of(opened)
    opened.track.reset()
    track(opened, trackers)
    assert resumed == ids_of(opened)


def test_what_cannot_be_done_is_said(state: PageState, trackers: Trackers, make_video: MakeVideo) -> None:
    with pytest.raises(InputError, match="no video yet"):
        actions.click(state, 1, 1)
    actions.open_upload(state, make_video())
    with pytest.raises(InputError, match="nothing to track"):
        actions.start_tracking(state, trackers)
    finished = Job("Tracking", is_finished=True, note="That is done.")
    state.job = finished
    actions.finish(state)
    assert state.message == "That is done."
    state.say("Something newer.")
    actions.finish(state)
    assert state.message == "Something newer."
    with pytest.raises(InputError, match="press Track first"):
        actions.start_export(state, trackers, [Export.MASKS])
    with pytest.raises(InputError, match="no click"):
        actions.undo(state)
    actions.choose_tool(state, Tool.BESIDE)
    with pytest.raises(InputError, match="on the object first"):
        actions.click(state, 1, 1)
    with pytest.raises(InputError, match="outside the picture"):
        actions.click(state, 1000, 1)
    with pytest.raises(InputError, match="no object 7"):
        actions.choose_object(state, 7)


def test_a_broken_video_leaves_the_one_before(opened: PageState, trackers: Trackers, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    for path in (broken, empty):
        with pytest.raises(DataError, match=f"^{path.name} "):
            actions.open_upload(opened, path)
    assert opened.clip is not None
    assert view(opened, trackers).picture is not None


def test_a_broken_video_of_the_same_name_leaves_the_one_that_is_shown(
    opened: PageState, trackers: Trackers, tmp_path: Path
) -> None:
    assert opened.clip is not None
    shown, whole = opened.clip, [frame.image for frame in opened.clip.frames()]
    (tmp_path / "again").mkdir()
    broken = tmp_path / "again" / "in.mp4"
    broken.write_bytes(b"no video" * 100)
    with pytest.raises(DataError):
        actions.open_upload(opened, broken)
    assert opened.clip is shown
    np.testing.assert_array_equal([frame.image for frame in shown.frames()], whole)
    assert kept_videos(opened) == [Path(shown.name)]
    actions.click(opened, 24.5, 20.5)
    track(opened, trackers)


def kept_videos(state: PageState) -> list[Path]:
    return [path for path in (state.folder / "videos").rglob("*") if path.is_file()]


def test_a_video_is_kept_until_the_next_one_or_the_end(opened: PageState, make_video: MakeVideo) -> None:
    for name in ("in.mp4", "other.mp4"):
        actions.open_upload(opened, make_video(name, frames=3))
        assert opened.clip is not None
        assert kept_videos(opened) == [Path(opened.clip.name)]
        assert opened.clip.name.endswith(name)
    assert len(list((opened.folder / "videos").iterdir())) == 1
    opened.close()
    assert not opened.folder.exists()


def test_a_4k_video_is_shown_small_and_tracked_at_its_size(
    state: PageState, trackers: Trackers, make_video: MakeVideo
) -> None:
    actions.open_upload(state, make_video("large.mp4", frames=2, height=2160, width=3840))
    actions.click(state, 1000, 800)
    shown = view(state, trackers)
    assert shown.picture is not None
    assert max(shown.picture.shape) == LONGEST_SIDE
    assert shown_scale(3840, 2160) == LONGEST_SIDE / 3840
    track(state, trackers)
    found = state.track.results.get(1)
    assert found is not None
    assert found.ids.shape == (2160, 3840)


def test_the_files_hold_what_was_tracked(opened: PageState, trackers: Trackers) -> None:
    actions.choose_tool(opened, Tool.BOX)
    actions.click(opened, 10, 10)
    actions.click(opened, 60, 50)
    track(opened, trackers)
    actions.start_export(opened, trackers, list(Export))
    finish(opened)
    assert not opened.is_error, opened.message
    assert len(opened.files) == len(Export)
    assert all(path.stat().st_size > 0 for path in opened.files)
    by_name = {path.name: path for path in opened.files}
    with zipfile.ZipFile(by_name["in_uamp_masks.zip"]) as packed:
        assert len(packed.namelist()) == 8
        data = packed.read(packed.namelist()[5])
    found = opened.track.results.get(5)
    assert found is not None
    from PIL import Image

    path = opened.folder / "one.png"
    path.write_bytes(data)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), found.ids)
    report = json.loads(by_name["in_uamp.json"].read_text())
    assert set(report) == {"frames", "objects", "model", "memory", "device", "per_frame"}
    assert report["frames"] == len(report["per_frame"]) == 8
    assert report["per_frame"][5]["objects"]["1"]["area"] == int((found.ids == 1).sum())
    video = cv2.VideoCapture(str(by_name["in_uamp.mp4"]))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 8
    video.release()


def test_dots_in_a_name_keep_files_apart(state: PageState, trackers: Trackers, make_video: MakeVideo) -> None:
    actions.open_upload(state, make_video("holiday.2024.mp4", frames=2))
    actions.click(state, 24.5, 20.5)
    track(state, trackers)
    actions.start_export(state, trackers, [Export.MASKS, Export.CUTOUTS])
    finish(state)
    names = ["holiday.2024_uamp_masks.zip", "holiday.2024_uamp_cutouts.zip"]
    assert [path.name for path in state.files] == names
    for path in state.files:
        with zipfile.ZipFile(path) as packed:
            assert packed.namelist() == [f"{path.stem}/0000{number}.png" for number in range(2)]


def test_a_video_given_by_its_address_keeps_its_sound(tmp_path: Path) -> None:
    write_video_with_sound(tmp_path / "loud.mp4", seconds=1)
    with SeekableVideo((tmp_path / "loud.mp4").as_uri()) as clip:
        assert About(clip, "nano", "uamp", "cpu").form.sound_of == tmp_path / "loud.mp4"


def test_the_time_of_a_frame_is_its_own(state: PageState, trackers: Trackers, tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.7]
    with VideoWriter(tmp_path / "uneven.mp4", frame_rate=10, size=(64, 96)) as writer:
        for time in times:
            writer.write(np.zeros((64, 96, 3), np.uint8), time)
    actions.open_upload(state, tmp_path / "uneven.mp4")
    shown = [_caption_on(state, trackers, frame) for frame in range(3)]
    assert shown == [f"frame {frame} of 2 · {time:.2f} s" for frame, time in enumerate(times)]


def test_another_video_begins_anew(opened: PageState, trackers: Trackers, make_video: MakeVideo) -> None:
    actions.click(opened, 24.5, 20.5)
    track(opened, trackers)
    actions.open_upload(opened, make_video("other.mp4", frames=3))
    assert not opened.drawing.frames()
    assert len(opened.track.results) == 0
    assert opened.clip is not None
    assert opened.clip.frame_count == 3


def test_undo_and_clear_take_the_mask_away(opened: PageState, trackers: Trackers) -> None:
    actions.click(opened, 24.5, 20.5)
    marked = _picture(view(opened, trackers))
    actions.undo(opened)
    bare = _picture(view(opened, trackers))
    assert not np.array_equal(bare, marked)
    actions.click(opened, 24.5, 20.5)
    np.testing.assert_array_equal(_picture(view(opened, trackers)), marked)
    actions.clear_marks(opened)
    np.testing.assert_array_equal(_picture(view(opened, trackers)), bare)


def _picture(shown: View) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    assert shown.picture is not None
    return shown.picture


def test_marks_have_the_colour_of_their_object(opened: PageState, trackers: Trackers) -> None:
    for object_id, (x, y) in ((1, (20, 20)), (2, (70, 40))):
        actions.click(opened, x, y)
        shown = _picture(view(opened, trackers))
        assert tuple(shown[y, x + 8]) == colour_of(object_id)
        actions.add_object(opened)


def test_marks_do_not_cover_labels(state: PageState, trackers: Trackers, make_video: MakeVideo) -> None:
    actions.open_upload(state, make_video("in.mp4", frames=1, height=192, width=288))
    ids = np.zeros((192, 288), np.uint8)
    ids[80:150, 90:200] = 1
    objects = {1: ObjectState((90, 80, 200, 150), 7700, 0.87, 0.0)}
    state.track.results.put(0, Found(ids, np.zeros_like(ids), objects))
    state.track.valid_to = 1
    letters = (_picture(view(state, trackers)) > 200).all(axis=2)  # soft-edged in older versions of OpenCV
    assert letters.any()
    actions.drag(state, (95, 75), (190, 140))  # its upper edge runs through the label
    state.track.valid_to = 1
    assert (_picture(view(state, trackers))[letters] > 180).all()


def test_labels_do_not_depend_on_the_order_of_objects(
    state: PageState, trackers: Trackers, make_video: MakeVideo
) -> None:
    actions.open_upload(state, make_video("in.mp4", frames=1, height=192, width=288))
    ids = np.zeros((192, 288), np.uint8)
    ids[80:150, 60:80], ids[80:150, 82:170] = 1, 2
    known = {1: ObjectState((60, 80, 80, 150), 1400, 0.91, 0.0), 2: ObjectState((82, 80, 170, 150), 6160, 0.2, 0.0)}
    actions.click(state, 70, 100)
    shown = []
    for order in ((1, 2), (2, 1)):  # as after a correction of one of them
        state.track.results.put(0, Found(ids, np.zeros_like(ids), {i: known[i] for i in order}))
        state.track.valid_to, state.seen = 1, None
        shown.append(_picture(view(state, trackers)))
    assert np.array_equal(shown[0], shown[1])


def test_files_made_before_tracking_again_say_so(opened: PageState, trackers: Trackers) -> None:
    actions.click(opened, 24.5, 20.5)
    track(opened, trackers)
    actions.start_export(opened, trackers, [Export.CSV])
    finish(opened)
    assert opened.message == "The files are ready to download."
    actions.go_to(opened, 5)
    actions.drag(opened, (20, 10), (60, 50))
    actions.start_export(opened, trackers, [Export.CSV])
    finish(opened)
    assert "Frames 5 to 7: tracked before your last change." in opened.message


def test_frames_before_a_mark_that_was_changed_are_those_before_the_change(
    opened: PageState, trackers: Trackers
) -> None:
    actions.go_to(opened, 4)
    actions.drag(opened, (10, 10), (60, 50))
    track(opened, trackers)
    assert "before your last change" not in _caption_on(opened, trackers, 2)
    actions.go_to(opened, 4)
    actions.drag(opened, (50, 30), (90, 60))
    for frame in (2, 4, 6):
        assert "before your last change" in _caption_on(opened, trackers, frame)
    actions.start_export(opened, trackers, [Export.CSV])
    finish(opened)
    assert "Frames 0 to 7: tracked before your last change." in opened.message
    track_until(opened, trackers, 2, backwards=True)
    for frame in range(8):
        assert ("before your last change" in _caption_on(opened, trackers, frame)) is (frame < 4)
    track(opened, trackers)
    assert all("before your last change" not in _caption_on(opened, trackers, frame) for frame in range(8))


def test_files_of_what_was_tracked_before_are_not_offered_any_more(opened: PageState, trackers: Trackers) -> None:
    actions.click(opened, 24.5, 20.5)
    track(opened, trackers)
    actions.start_export(opened, trackers, [Export.CSV])
    finish(opened)
    assert opened.files
    actions.go_to(opened, 5)
    actions.drag(opened, (20, 10), (60, 50))
    track(opened, trackers)
    assert not opened.files


def test_what_was_proposed_is_not_proposed_again(state: PageState) -> None:
    bundled = Trackers("cpu")
    actions.start_generated(state)
    finish(state)
    actions.propose(state, bundled)
    proposed = list(state.object_ids)
    view(state, bundled)
    with pytest.raises(InputError, match="your objects already"):
        actions.propose(state, bundled)
    assert state.object_ids == proposed
    for _ in proposed:
        actions.remove_object(state)
    actions.propose(state, bundled)
    assert state.object_ids == proposed


def test_frames_that_are_damaged_are_told_of(state: PageState, trackers: Trackers, make_video: MakeVideo) -> None:
    path = make_video("damaged.mp4", frames=12)
    with av.open(str(path)) as container:
        packet = next(islice(container.demux(container.streams.video[0]), 5, None))
    assert packet.pos is not None
    with path.open("r+b") as file:
        file.seek(packet.pos + 4)
        file.write(bytes(4))  # which only decoding shows
    actions.open_upload(state, path)
    actions.click(state, 24.5, 20.5)
    track(state, trackers)
    assert state.clip is not None
    lost = 12 - state.clip.frame_count
    assert lost > 0
    assert state.message == f"Done. Left out, since damaged: {lost} of 12 frames."
