"""Video in and out, masks, data sets and synthetic clips for UAMP."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uamp_data.davis import DavisDataset
    from uamp_data.errors import DataError
    from uamp_data.folders import FolderDataset
    from uamp_data.frames import Frame, VideoReader
    from uamp_data.masks import davis_palette, read_annotation, read_mask, write_mask
    from uamp_data.reader import open_video
    from uamp_data.sequence import DiskSequence
    from uamp_data.writer import VideoWriter
    from uamp_data.youtube_vos import YoutubeVosDataset

__all__ = [
    "DataError",
    "DavisDataset",
    "DiskSequence",
    "FolderDataset",
    "Frame",
    "VideoReader",
    "VideoWriter",
    "YoutubeVosDataset",
    "davis_palette",
    "open_video",
    "read_annotation",
    "read_mask",
    "write_mask",
]

# Where each public name lives. They are imported when first used: FFmpeg and OpenCV take long to load, and a process
# that only generates clips or reports an error needs neither.
_HOMES = {
    "DataError": "uamp_data.errors",
    "DavisDataset": "uamp_data.davis",
    "DiskSequence": "uamp_data.sequence",
    "FolderDataset": "uamp_data.folders",
    "Frame": "uamp_data.frames",
    "VideoReader": "uamp_data.frames",
    "VideoWriter": "uamp_data.writer",
    "YoutubeVosDataset": "uamp_data.youtube_vos",
    "davis_palette": "uamp_data.masks",
    "open_video": "uamp_data.reader",
    "read_annotation": "uamp_data.masks",
    "read_mask": "uamp_data.masks",
    "write_mask": "uamp_data.masks",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
