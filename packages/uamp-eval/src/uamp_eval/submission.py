"""Results as the zip that a benchmark's server takes. Nothing here needs torch."""

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

from uamp_model.errors import InputError

from uamp_eval.atomic import atomic_file
from uamp_eval.sequences import VideoSequence

YOUTUBE_VOS_TOP = "Annotations"
"""Folder of everything in a zip for YouTube-VOS: Annotations/<video>/<frame>.png."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16
_PNG = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3


def write_submission(
    results: Path, sequences: Sequence[VideoSequence], target: Path, *, top: str = YOUTUBE_VOS_TOP
) -> list[str]:
    """Zip the listed frames of all sequences. The file appears complete and checked, or not at all.

    The same results always give the same bytes.

    Args:
        results: folder with <sequence>/<frame>.png, as a run writes it.
        sequences: the videos; one picture of each is read to compare its size.
        target: the zip; replaced if it exists, or what a link there leads to.
        top: the folder that everything lies in; "" for none, as DAVIS test-dev wants it.

    Returns:
        The names of the entries, in order.

    Raises:
        InputError: if a mask is missing, no 8-bit PNG of ids or of another size than its video, or the zip cannot be
            written. What reading a picture raises is passed on.
    """
    entries: dict[str, Path] = {}
    for sequence in sequences:
        masks = [results / sequence.name / f"{sequence.frame_names[frame]}.png" for frame in sequence.listed]
        _check_masks(sequence, masks)
        entries.update({"/".join(filter(None, (top, sequence.name, mask.name))): mask for mask in masks})
    if not entries:
        raise InputError("There is nothing to submit: no sequence lists a frame.")
    names = sorted(entries)
    with atomic_file(target) as temporary:
        _write(temporary, {name: entries[name] for name in names})
        _check_zip(temporary, names, target)
    return names


def _check_masks(sequence: VideoSequence, masks: Sequence[Path]) -> None:
    if not masks:
        return
    height, width = sequence.image(sequence.listed[0]).shape[:2]
    for mask in masks:
        found = _png_size(mask)
        if found != (width, height):
            raise InputError(
                f"The mask {mask} is {found[0]}×{found[1]} pixels but its video is {width}×{height}: "
                "run the evaluation of this sequence again."
            )


def _png_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG of ids, from its header."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError as error:
        raise InputError(
            f"The mask {path} cannot be read, and a submission needs every listed frame: finish the evaluation first."
        ) from error
    if len(head) == 26 and head.startswith(_PNG) and head[12:16] == b"IHDR":
        width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
        if depth <= 8 and colour in (_GREY, _PALETTE):
            return width, height
    raise InputError(f"{path} is not an 8-bit PNG of object ids: run the evaluation of this sequence again.")


def _write(path: Path, entries: dict[str, Path]) -> None:
    """PNGs are compressed already and are stored as they are."""
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        for name, source in entries.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = _READABLE
            archive.writestr(entry, source.read_bytes())


def _check_zip(path: Path, names: list[str], target: Path) -> None:
    """Read everything back."""
    try:
        with zipfile.ZipFile(path) as archive:
            sound = archive.testzip() is None and archive.namelist() == names
    except zipfile.BadZipFile:
        sound = False
    if not sound:
        raise InputError(f"The zip {target} did not read back as it was written: check the disk and try again.")
