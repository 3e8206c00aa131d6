"""What the page knows about each browser tab."""

import logging
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from uamp_cli.page.clips import Clip
from uamp_cli.page.jobs import Job
from uamp_cli.page.marks import Drawing
from uamp_cli.page.results import Found, Results
from uamp_cli.page.tracking import Eye, Track

logger = logging.getLogger(__name__)

GRACE = 120.0
"""Seconds that a tab's work is kept after the tab has gone: a reload comes back for it."""
MOST_TABS = 16
"""Tabs whose work is kept; beyond, the one that was quiet the longest is forgotten."""
WELCOME = "Drop a video, or use the generated clip."


class Tool(StrEnum):
    """What a click on the picture means."""

    ON = "on"
    BESIDE = "beside"
    BOX = "box"


@dataclass(eq=False, slots=True)
class PageState:
    """One tab's work. Whoever reads or changes it holds `lock`.

    Attributes:
        folder: for this tab's files; removed with it.
        model: name of the model to track with.
        memory: name of the memory setting.
        track: how far the video is tracked.
        clip: the video, None before there is one.
        frame: the frame that is looked at.
        object_ids: all objects, in the order they were added.
        object_id: the one that clicks are about.
        tool: what a click means.
        drawing: what was pointed at.
        eye: shows masks where people click, before anything is tracked.
        job: the work in the background; stays when it is over, until the next.
        job_started: when it began, on the monotonic clock.
        message: the sentence the page shows.
        is_error: whether it says that something went wrong.
        files: what can be downloaded.
        seen: the masks that the marks of the frame that is looked at give, with a key of all that they depend on.
        touched: when something was last asked for, on the monotonic clock.
    """

    folder: Path
    model: str
    memory: str
    track: Track
    clip: Clip | None = None
    frame: int = 0
    object_ids: list[int] = field(default_factory=lambda: [1])
    object_id: int = 1
    tool: Tool = Tool.ON
    drawing: Drawing = field(default_factory=Drawing)
    eye: Eye = field(default_factory=Eye)
    job: Job | None = None
    job_started: float = 0.0
    message: str = WELCOME
    is_error: bool = False
    files: list[Path] = field(default_factory=list)
    seen: tuple[object, Found] | None = None
    touched: float = field(default_factory=time.monotonic)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def is_busy(self) -> bool:
        """Whether work goes on in the background."""
        return self.job is not None and not self.job.is_finished

    def say(self, message: str, *, is_error: bool = False) -> None:
        """Show a sentence."""
        self.message, self.is_error = message, is_error

    def close(self) -> None:
        """Stop the work and remove the files."""
        if self.job is not None:
            self.job.cancel()
            self.job.join(timeout=10)
        with self.lock:
            if self.clip is not None:
                self.clip.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def new_state(folder: Path, model: str, memory: str) -> PageState:
    """The state of a new tab, with a folder of its own in `folder`."""
    own = Path(tempfile.mkdtemp(prefix="tab-", dir=folder))
    return PageState(own, model, memory, Track(Results(own)))


@dataclass(slots=True)
class Tabs:
    """The states of all tabs.

    Attributes:
        folder: where their files are.
        model: what a new tab starts with.
        memory: likewise.
    """

    folder: Path
    model: str
    memory: str
    _states: dict[str, PageState] = field(default_factory=dict)
    _visits: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, tab: str, visit: str | None = None) -> PageState:
        """The state of a tab, a new one if it is not known.

        Args:
            tab: the tab's name; empty as long as a slow page does not know it yet.
            visit: the tab's connection, see `leave`. What was done over it before the name was known is the tab's.
        """
        with self._lock:
            early = self._states.pop(visit, None) if tab and visit else None
            tab = tab or self._visits.get(visit or "", visit or "")
            if visit is not None:
                self._visits[visit] = tab
            state = self._states.get(tab) or early or new_state(self.folder, self.model, self.memory)
            self._states[tab] = state
            state.touched = time.monotonic()
            extra = self._quietest(len(self._states) - MOST_TABS, keep=tab)
            if early is not None and early is not state:  # a reload whose first click came before the tab's name
                extra.append(early)
        for old in extra:
            old.close()
        return state

    def leave(self, visit: str, grace: float = GRACE) -> None:
        """A connection has ended: unless the tab is back within `grace` seconds, its work is dropped."""
        with self._lock:
            tab = self._visits.pop(visit, None)
        if tab is None:
            return
        if grace <= 0:
            self._drop_if_left(tab)
            return
        timer = threading.Timer(grace, self._drop_if_left, (tab,))
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """Drop everything."""
        with self._lock:
            states, self._states = list(self._states.values()), {}
        for state in states:
            if state.job is not None:
                state.job.cancel()
        for state in states:
            state.close()

    def __len__(self) -> int:
        return len(self._states)

    def _drop_if_left(self, tab: str) -> None:
        with self._lock:
            if tab in self._visits.values():
                return
            state = self._states.pop(tab, None)
        if state is not None:
            logger.debug("the work of a tab that has gone is dropped")
            state.close()

    def _quietest(self, count: int, keep: str) -> list[PageState]:
        order = sorted((tab for tab in self._states if tab != keep), key=lambda tab: self._states[tab].touched)
        return [self._states.pop(tab) for tab in order[: max(count, 0)]]
