"""The writers of everything `uamp demo` was asked to write."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from uamp_cli.demo_settings import DemoSettings
from uamp_cli.sources import Source
from uamp_cli.terminal import STDOUT
from uamp_cli.writers.coco import CocoFile
from uamp_cli.writers.group import WriterGroup
from uamp_cli.writers.pictures import CutoutFolder, MaskFolder
from uamp_cli.writers.report import JsonReport
from uamp_cli.writers.summary import SummaryPicture
from uamp_cli.writers.table import CsvFile
from uamp_cli.writers.videos import CutoutVideo, GreenScreenVideo, OverlayVideo
from uamp_cli.writers.writer import VideoForm, Writer


def open_writers(
    settings: DemoSettings, source: Source, title: str, summary: Callable[[], Mapping[str, Any]]
) -> WriterGroup:
    """Start all outputs.

    Args:
        settings: what was asked for.
        source: the video.
        title: what it is and what tracks it, for people.
        summary: the keys of the JSON report before its frames, asked for at the end.

    Raises:
        DataError: if one cannot be started; then nothing is left of the others.
    """
    form = VideoForm(
        height=source.height,
        width=source.width,
        frame_rate=source.frame_rate,
        time_base=source.time_base,
        sound_of=source.sound_of,
        pixel_aspect=source.pixel_aspect,
    )
    shows_uncertainty = settings.show_uncertainty
    kinds: list[tuple[Path | None, Callable[[Path], Writer]]] = [
        (
            settings.output,
            lambda path: OverlayVideo(path, form, truth=source.truth, shows_uncertainty=shows_uncertainty),
        ),
        (settings.save_masks, MaskFolder),
        (settings.save_cutout, CutoutFolder),
        (settings.cutout_video, lambda path: CutoutVideo(path, form)),
        (settings.green_screen, lambda path: GreenScreenVideo(path, form)),
        (settings.summary, lambda path: SummaryPicture(path, form, title)),
        (settings.coco, lambda path: CocoFile(path, title)),
        (settings.csv, CsvFile),
        (settings.json, lambda path: JsonReport(path, summary)),
    ]
    wanted = [(path, make) for path, make in kinds if path is not None]
    # Standard output comes last: if whoever reads it goes away, the files are in place already.
    wanted.sort(key=lambda kind: kind[0] == STDOUT)
    return WriterGroup(partial(make, path) for path, make in wanted)
