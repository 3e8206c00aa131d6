"""What people can do on the page. Each action changes the state of one tab or raises one sentence; no Gradio here."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from uamp_data.errors import DataError
from uamp_data.words import counted
from uamp_model.errors import InputError

from uamp_cli.page.clips import Clip, generated_clip, open_clip
from uamp_cli.page.export import About, Export, write_exports
from uamp_cli.page.jobs import Job
from uamp_cli.page.marks import Drawing, Marks, next_object, pack_mask
from uamp_cli.page.results import Found
from uamp_cli.page.state import WELCOME, PageState, Tool
from uamp_cli.page.tracking import Trackers
from uamp_cli.page.view import found_on

MOST_OBJECTS_PROPOSED = 3
SAME_OBJECT = 0.5
"""Share of a proposal from which on it is an object that is there already, or several."""
POINT = "Point at an object to follow it."


def start_generated(state: PageState) -> None:
    """Make the generated clip, which takes a while the first time, and show it."""
    _refuse_while_busy(state)

    def work(job: Job) -> None:
        clip = generated_clip()
        job.check()
        job.note = "This is a generated clip. Click on one of the moving things to follow it."
        with state.lock:
            _show(state, clip, job.note)

    _start(state, Job("Making the clip"), work)


def open_upload(state: PageState, upload: Path) -> None:
    """Show a video that the browser has sent; the page keeps a name for it of its own.

    Raises:
        DataError: if it cannot be read.
    """
    _refuse_while_busy(state)
    videos = state.folder / "videos"
    videos.mkdir(exist_ok=True)
    # the video that is shown may have the same name, and stays if this one cannot be read
    own = Path(tempfile.mkdtemp(dir=videos))
    try:
        open_named(state, str(_keep(upload, own)))
    except Exception as error:
        shutil.rmtree(own, ignore_errors=True)
        if isinstance(error, DataError):  # people know the file by its name alone
            raise DataError(str(error).replace(f"{own}{os.sep}", "")) from error
        raise
    for earlier in videos.iterdir():
        if earlier != own:
            shutil.rmtree(earlier, ignore_errors=True)


def open_named(state: PageState, name: str) -> None:
    """Show a video file, a folder of frames or a pattern.

    Raises:
        DataError: if it cannot be read.
    """
    _refuse_while_busy(state)
    clip = open_clip(name)
    _show(state, clip, "Go to a frame where the object is in plain view. Click on it, or drag a box around it.")


def go_to(state: PageState, frame: int) -> None:
    """Look at another frame, the nearest there is."""
    clip = _clip(state)
    state.frame = min(max(frame, 0), clip.frame_count - 1)
    if state.frame in state.track.results:
        state.say("Is a mask wrong here? Point at it and press Track.")
    elif state.drawing.frames():
        state.say("Not tracked yet: press Track, or point at an object here.")
    else:
        state.say(POINT)


def choose_tool(state: PageState, tool: Tool) -> None:
    """Say what the next click means; nothing if a click with this tool was quicker and has said so."""
    if state.tool is tool:
        return
    state.tool = tool
    hints = {
        Tool.ON: "Click on the object.",
        Tool.BESIDE: "Click where the mask covers too much.",
        Tool.BOX: "Click two opposite corners of a box around the object, or drag from one to the other.",
    }
    state.say(hints[tool])


def choose_object(state: PageState, object_id: int) -> None:
    """Say which object the next click is about."""
    if object_id not in state.object_ids:
        raise InputError(f"There is no object {object_id}: choose one of the list.")
    state.object_id = object_id


def add_object(state: PageState) -> None:
    """Begin another object; one that was not pointed at yet serves."""
    _refuse_while_busy(state)
    marked = state.drawing.first_frames()
    free = [i for i in state.object_ids if i not in marked]
    if not free:
        free = [next_object(state.object_ids)]
        state.object_ids.append(free[0])
    state.object_id = free[0]
    state.tool = Tool.ON if state.tool is Tool.BESIDE else state.tool
    state.say(f"Click on object {free[0]}.")


def remove_object(state: PageState) -> None:
    """Forget the chosen object on all frames."""
    _refuse_while_busy(state)
    gone = state.object_id
    first = state.drawing.first_frames().get(gone)
    state.drawing.remove(gone)
    state.object_ids = [i for i in state.object_ids if i != gone] or [1]
    state.object_id = state.object_ids[-1]
    if first is not None:
        state.track.touch(0)
        state.track.snapshots.clear()
    _drop_unmarked(state)
    state.say(f"Object {gone} is gone.")


def click(state: PageState, x: float, y: float) -> None:
    """Point at (x, y), in pixels of the video, with the chosen tool.

    Raises:
        InputError: if there is no video or the point is none of it.
    """
    marks = _marks_to_change(state, [(x, y)])
    if state.tool is Tool.BOX:
        marks.add_corner(x, y)
        if marks.corner is not None:
            state.say("Now click the opposite corner.")
            return
    elif state.tool is Tool.BESIDE and marks.box is None and marks.tracked is None and not marks.points:
        raise InputError("Click on the object first, then beside it where the mask covers too much.")
    else:
        marks.add_point(x, y, int(state.tool is Tool.ON))
    state.track.touch(state.frame)
    state.say(_after_click(state))


def drag(state: PageState, one: tuple[float, float], other: tuple[float, float]) -> None:
    """Draw a box between two opposite corners, (x, y) in pixels of the video, whichever tool is chosen.

    Raises:
        InputError: if there is no video, or a corner is none of it, or the box has no area.
    """
    _marks_to_change(state, [one, other]).set_box(one, other)
    state.track.touch(state.frame)
    state.say(_after_click(state))


def undo(state: PageState) -> None:
    """Take the last click on this frame back."""
    _refuse_while_busy(state)
    marks = state.drawing.of(state.frame, state.object_id)
    if marks.is_empty and marks.corner is None:
        raise InputError(f"There is no click for object {state.object_id} on this frame to take back.")
    _touch_from(state)
    marks.undo()
    _drop_unmarked(state)
    state.say(_after_less(state))


def clear_marks(state: PageState) -> None:
    """Forget what was pointed at for the chosen object on this frame."""
    _refuse_while_busy(state)
    _touch_from(state)
    state.drawing.clear(state.frame, state.object_id)
    _drop_unmarked(state)
    state.say(_after_less(state))


def propose(state: PageState, trackers: Trackers) -> None:
    """Let the model point at what stands out on this frame.

    Raises:
        InputError: if nothing does.
    """
    clip = _clip(state)
    _refuse_while_busy(state)
    tracker, frame = trackers.get(state.model, state.memory), clip.frame(state.frame)
    suggestions = tracker.suggest_prompts(frame.image, max_objects=MOST_OBJECTS_PROPOSED)
    if not suggestions:
        raise InputError("Nothing stands out on this frame: click on the object yourself.")
    known = found_on(state, trackers, frame)
    new = [one for one in suggestions if known is None or (known.ids[one.mask] > 0).mean() < SAME_OBJECT]
    if not new:
        raise InputError("What stands out on this frame are your objects already: click on another one yourself.")
    for suggestion in new:
        add_object(state)
        x0, y0, x1, y1 = suggestion.box
        corners = (max(x0, 0), max(y0, 0)), (min(x1, clip.width), min(y1, clip.height))
        state.drawing.of(state.frame, state.object_id).set_box(*corners)
    state.track.touch(state.frame)
    state.say("Remove what you do not want to follow, or press Track.")


def choose_tracker(state: PageState, model: str, memory: str) -> None:
    """Track with another model or memory setting: what was tracked with the one before is dropped."""
    if (model, memory) == (state.model, state.memory):
        return
    _refuse_while_busy(state)
    state.model, state.memory = model, memory
    state.track.reset()
    if state.clip is None:
        state.say(WELCOME)
    else:
        state.say("Press Track to track with these settings." if state.drawing.frames() else POINT)


def start_tracking(state: PageState, trackers: Trackers) -> None:
    """Track in the background: from the first change on, or where it was cancelled.

    Raises:
        InputError: if there is nothing to track.
    """
    clip = _clip(state)
    _refuse_while_busy(state)
    if not state.drawing.frames():
        raise InputError("There is nothing to track yet: click on an object first.")
    model, memory, track, drawing = state.model, state.memory, state.track, state.drawing
    state.files = []  # they hold what was tracked before

    def work(job: Job) -> None:
        track.run(job, trackers.get(model, memory), clip, drawing)

    _start(state, Job("Tracking", clip.frame_count), work)


def start_export(state: PageState, trackers: Trackers, exports: Sequence[Export]) -> None:
    """Write files for download in the background.

    Raises:
        InputError: if there is nothing to write.
    """
    clip = _clip(state)
    _refuse_while_busy(state)
    if not exports:
        raise InputError("Choose what to download first.")
    if len(state.track.results) == 0:
        raise InputError("There is nothing to download yet: press Track first.")
    folder = state.folder / "files"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    state.files = []
    results = state.track.results
    about = About(clip, state.model, state.memory, str(trackers.get(state.model, state.memory).device))

    stale = [index for index in results.frames() if not state.track.is_current(index, state.drawing)]

    def work(job: Job) -> None:
        state.files = write_exports(job, results, exports, folder, about)
        if stale:
            where = f"Frames {stale[0]} to {stale[-1]}" if len(stale) > 1 else f"Frame {stale[0]}"
            job.note = f"{where}: tracked before your last change. {job.note}".strip()

    _start(state, Job("Writing files", clip.frame_count), work)


def cancel(state: PageState) -> None:
    """End the work in the background after the frame it is at."""
    if state.job is not None and state.is_busy:
        state.job.cancel()


def finish(state: PageState) -> None:
    """Say what the work in the background has come to, once it is over, and say so once."""
    job = state.job
    if job is None or not job.is_finished or job.is_told:
        return
    job.is_told = True
    if job.error is not None:
        state.say(job.error, is_error=True)
    elif job.is_cancelled and state.clip is None:
        state.say("Cancelled.")
    elif job.is_cancelled and job.what.startswith("Writing"):
        state.say("Cancelled: no files were written.")
    elif job.is_cancelled:
        state.say(f"Cancelled with {counted(len(state.track.results), 'frame')} tracked: press Track to go on.")
    elif state.files and job.what.startswith("Writing"):
        state.say("The files are ready to download." + (f" {job.note}" if job.note else ""))
    else:
        state.say(job.note or "Done. Go through the frames; click where a mask is wrong and press Track again.")


def _keep(upload: Path, folder: Path) -> Path:
    """A name in a folder for a file that the browser has sent; Gradio removes its own after a while."""
    kept = folder / upload.name
    try:
        os.link(upload, kept)
    except OSError:
        shutil.copyfile(upload, kept)
    return kept


def _show(state: PageState, clip: Clip, message: str) -> None:
    if state.clip is not None:
        state.clip.close()
    state.clip, state.frame, state.files, state.seen = clip, 0, [], None
    state.object_ids, state.object_id, state.tool, state.drawing = [1], 1, Tool.ON, Drawing()
    state.eye.forget()
    state.track.reset()
    state.say(message)


def _start(state: PageState, job: Job, work: Callable[[Job], None]) -> None:
    state.say(f"{job.what} …")
    state.job, state.job_started = job, time.monotonic()
    job.start(work)


def _clip(state: PageState) -> Clip:
    if state.clip is None:
        raise InputError("There is no video yet: drop one or use the generated clip.")
    return state.clip


def _marks_to_change(state: PageState, places: Sequence[tuple[float, float]]) -> Marks:
    """The marks of the chosen object on this frame, which are about to change at these (x, y)."""
    clip = _clip(state)
    _refuse_while_busy(state)
    if not all(0 <= x <= clip.width and 0 <= y <= clip.height for x, y in places):
        raise InputError("That is outside the picture: click on it.")
    marks = state.drawing.of(state.frame, state.object_id)
    if marks.is_empty and marks.corner is None:
        marks.tracked = _tracked_mask(state)
    return marks


def _refuse_while_busy(state: PageState) -> None:
    if state.is_busy:
        raise InputError("There is work going on: wait for its end or cancel it first.")


def _touch_from(state: PageState) -> None:
    """The marks on this frame change: from here on nothing holds; if they were an object's first, not before either."""
    first = state.drawing.first_frames().get(state.object_id)
    state.track.touch(0 if first == state.frame and len(state.drawing.frames()) > 1 else state.frame)


def _tracked_mask(state: PageState) -> bytes | None:
    """The tracked mask that the first click on a frame corrects."""
    found: Found | None = state.track.results.get(state.frame)
    if found is None:
        return None
    mask = found.ids == state.object_id
    return pack_mask(mask) if mask.any() else None


def _drop_unmarked(state: PageState) -> None:
    """What was found for an object that is marked nowhere any more is neither shown nor written."""
    marked = state.drawing.first_frames()
    if marked:
        state.track.results.keep(marked)
    else:
        state.track.reset()
    state.seen = None


def _after_less(state: PageState) -> str:
    """What to do after marks were taken away."""
    return _after_click(state) if state.drawing.frames() else POINT


def _after_click(state: PageState) -> str:
    if len(state.track.results) > 0:
        return "Press Track to track on from here."
    return "Press Track, or click again where the mask is wrong."
