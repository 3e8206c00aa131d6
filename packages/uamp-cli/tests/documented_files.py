"""The files that the READMEs and docs speak of, small, so that what they say to type can be run."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from documented import ROOT
from evaluation_trees import make_davis, make_video, make_youtube
from uamp_data.masks import write_mask
from uamp_data.writer import VideoWriter

SIDE = 320
FRAMES = 42
"""The README tracks from frame 40."""
WEIGHTS = ROOT / "packages/uamp-model/src/uamp_model/weights/nano.safetensors"
_CENTRES = ((190, 190), (70, 80), (270, 60))
_RADII = ((60, 90), (40, 50), (35, 40))
_COLOURS = ((250, 150, 40), (40, 120, 230), (240, 240, 240))


def picture_at(index: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A frame of the cat's video, H×W×3, and its H×W object ids: three things that drift over a dark ground."""
    image, ids = np.full((SIDE, SIDE, 3), (40, 70, 50), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    for number, ((x, y), radii, colour) in enumerate(zip(_CENTRES, _RADII, _COLOURS, strict=True), start=1):
        centre = (x + index // 4, y)
        cv2.ellipse(image, centre, radii, 0, 0, 360, colour, cv2.FILLED)
        cv2.ellipse(ids, centre, radii, 0, 0, 360, number, cv2.FILLED)
    return image, ids


def make_files(folder: Path) -> None:
    """Lay out every file and folder that the pages name."""
    with VideoWriter(folder / "cat.mp4", frame_rate=10, size=(SIDE, SIDE)) as video:
        for index in range(FRAMES):
            video.write(picture_at(index)[0])
    shutil.copy(folder / "cat.mp4", folder / "clip.mp4")
    for name in ("first.png", "first_frame.png", "00000.png"):
        write_mask(folder / name, picture_at(0)[1])
    shutil.copy(WEIGHTS, folder / "nano.safetensors")
    for name in ("configs", "packages", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    sequences = {"camel": 1, "bear": 2, "dogs": 2}
    for root in (folder / "DAVIS", folder / "data" / "DAVIS"):
        for split in ("train", "val"):
            make_davis(root, sequences, split=split)
    shutil.copytree(folder / "DAVIS" / "Annotations" / "480p", folder / "masks")
    make_youtube(folder / "YouTubeVOS", truth=True)
    for name in sequences:
        for root in (folder / "MOSE" / "valid", folder / "mine"):
            make_video(root / "JPEGImages" / name, root / "Annotations" / name, 2)
