"""The files that the page offers for download, written while the video is read once more."""

import re
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from uamp_data.words import counted

from uamp_cli.page.clips import Clip
from uamp_cli.page.jobs import Job
from uamp_cli.page.results import Found, Results
from uamp_cli.sources import sound_file
from uamp_cli.tracking import TrackedFrame
from uamp_cli.writers.coco import CocoFile
from uamp_cli.writers.group import WriterGroup
from uamp_cli.writers.pictures import CutoutFolder, MaskFolder
from uamp_cli.writers.report import JsonReport
from uamp_cli.writers.summary import SummaryPicture
from uamp_cli.writers.table import CsvFile
from uamp_cli.writers.videos import CutoutVideo, GreenScreenVideo, OverlayVideo
from uamp_cli.writers.writer import VideoForm, Writer

if TYPE_CHECKING:
    from uamp_data.frames import Frame


class Export(StrEnum):
    """What can be downloaded, as people read it."""

    OVERLAY = "video with masks"
    UNCERTAINTY = "… beside uncertainty"
    MASKS = "masks (PNG)"
    CUTOUTS = "cut-outs (PNG)"
    CUTOUT_MOV = "cut-out (ProRes)"
    CUTOUT_WEBM = "cut-out (WebM)"
    GREEN_SCREEN = "green screen"
    SUMMARY = "summary picture"
    JSON = "JSON"
    COCO = "COCO"
    CSV = "CSV"


@dataclass(frozen=True, slots=True)
class About:
    """What the files say about their origin.

    Attributes:
        clip: the video.
        model: the model's name.
        memory: the memory setting's name.
        device: where it was computed.
    """

    clip: Clip
    model: str
    memory: str
    device: str

    @property
    def title(self) -> str:
        """For people."""
        return f"{Path(self.clip.name).name}: {self.model}, memory {self.memory}"

    @property
    def form(self) -> VideoForm:
        """What videos have in common with the input."""
        clip = self.clip
        sound = sound_file(clip.name)
        return VideoForm(clip.height, clip.width, clip.frame_rate, clip.time_base, sound, clip.pixel_aspect)


def write_exports(job: Job, results: Results, exports: Sequence[Export], folder: Path, about: About) -> list[Path]:
    """Write files of all frames; those that were not tracked have no objects.

    Raises:
        Cancelled: if the job was cancelled; then nothing is left.
        DataError: if a file cannot be written.
    """
    clip = about.clip
    job.begin("Writing files", clip.frame_count)
    stem = re.sub(r"[^\w.-]+", "_", Path(clip.name).stem) or "video"
    group: WriterGroup

    def summary() -> Mapping[str, object]:
        return _summary(results, about, group.frame_count)

    with WriterGroup(partial(_open, export, folder / stem, about, summary) for export in exports) as group:
        for frame in job.watched(clip.frames()):
            group.add((results.get(frame.index) or _nothing(frame)).on(frame))
            job.advance(frame.index)
    job.note = " ".join([*_untracked(results, clip), *(f"{note[:1].upper()}{note[1:]}." for note in group.notes)])
    return [_packed(writer.path) for writer in group.writers]


def _open(export: Export, stem: Path, about: About, summary: Callable[[], Mapping[str, object]]) -> Writer:
    form = about.form
    openers: Mapping[Export, tuple[str, Callable[[Path], Writer]]] = {
        Export.OVERLAY: (".mp4", lambda path: _PlainOverlay(path, form)),
        Export.UNCERTAINTY: ("_uncertainty.mp4", lambda path: OverlayVideo(path, form, shows_uncertainty=True)),
        Export.MASKS: ("_masks", MaskFolder),
        Export.CUTOUTS: ("_cutouts", CutoutFolder),
        Export.CUTOUT_MOV: ("_cutout.mov", lambda path: CutoutVideo(path, form)),
        Export.CUTOUT_WEBM: ("_cutout.webm", lambda path: CutoutVideo(path, form)),
        Export.GREEN_SCREEN: ("_green.mp4", lambda path: GreenScreenVideo(path, form)),
        Export.SUMMARY: ("_summary.png", lambda path: SummaryPicture(path, form, about.title)),
        Export.JSON: (".json", lambda path: JsonReport(path, summary)),
        Export.COCO: ("_coco.json", lambda path: CocoFile(path, about.title)),
        Export.CSV: (".csv", CsvFile),
    }
    ending, opener = openers[export]
    return opener(stem.with_name(f"{stem.name}_uamp{ending}"))


class _PlainOverlay(OverlayVideo):
    """The overlay alone: frames bring their uncertainty for other writers."""

    def add(self, frame: TrackedFrame) -> None:
        super().add(replace(frame, uncertainty=None))


def _summary(results: Results, about: About, frames: int) -> Mapping[str, object]:
    objects = results.object_ids()
    return {
        "frames": frames,
        "objects": len(objects),
        "model": about.model,
        "memory": about.memory,
        "device": about.device,
    }


def _untracked(results: Results, clip: Clip) -> list[str]:
    """A sentence about the frames that were not tracked, if there are any."""
    missing = clip.frame_count - len(results)
    return [f"Without objects, since not tracked: {counted(missing, 'frame')}."] if missing else []


def _nothing(frame: "Frame") -> Found:
    empty = np.zeros(frame.image.shape[:2], np.uint8)
    return Found(empty, empty, {})


def _packed(path: Path) -> Path:
    """A folder of pictures as one file; they are compressed already."""
    if not path.is_dir():
        return path
    archive = path.with_name(f"{path.name}.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for picture in sorted(path.iterdir()):
            packed.write(picture, f"{path.name}/{picture.name}")
    shutil.rmtree(path)
    return archive
