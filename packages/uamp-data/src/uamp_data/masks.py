from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pictures

from uamp_data.atomic import atomic_file
from uamp_data.errors import DataError, FileError
from uamp_data.png import GREY, GREY_ALPHA, PALETTE, SIGNATURE, parse_png

Ids = npt.NDArray[np.uint8]
"""Object ids, H×W: 0 is background, 1 to 254 are objects, 255 is void."""

VOID = 255
"""Marks pixels that belong to nothing and count for nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredMask:
    """A mask of a benchmark as it is stored.

    Attributes:
        ids: H×W, its values.
        white: Where it is white, H×W, if it shows black and white alone; else None. White is an object, or void if the
            other masks of its video hold ids.
    """

    ids: Ids
    white: npt.NDArray[np.bool_] | None = None

    @property
    def numbered(self) -> bool | None:
        """Whether the masks of its video hold ids; None if it shows no object and so cannot tell."""
        if self.white is not None:
            return False
        return True if ((self.ids > 0) & (self.ids < VOID)).any() else None

    def as_ids(self, *, numbered: bool) -> Ids:
        """H×W object ids, given whether the masks of its video hold ids."""
        return self.ids if numbered or self.white is None else self.white.astype(np.uint8)


_LARGEST_GREY_ID = 127
_HALF = 128
_SAVE_AS = "save it as a palette or 8-bit grey PNG"
_LOSSY = ("JPEG", "MPO")
_REFUSED_COLOUR_TYPES = {2: "RGB colours", 6: "RGB colours with transparency"}


def davis_palette() -> npt.NDArray[np.uint8]:
    """The colours of DAVIS and PASCAL VOC, 256×3 uint8 RGB.

    The rule: bits 0, 1, 2 of an id are the highest bits of red, green and blue, bits 3, 4, 5 the next ones, and so on.
    """
    ids = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for level in range(3):
        for channel in range(3):
            bit = (ids >> (3 * level + channel)) & 1
            palette[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return palette


def read_mask(path: str | Path) -> Ids:
    """Reads a mask picture as object ids.

    | the file | is read as |
    |---|---|
    | palette (`P`) | its indices, 255 is void; a palette of greys is read as grey |
    | 1 bit | background and object 1 |
    | grey (`L`), only 0 and 255 | background and object 1 |
    | grey, values up to 127, perhaps 255 | ids, 255 is void; so 0 and 1 are background and object 1 |
    | grey with 255 and values from 128 to 254 | a mask with soft edges: object 1 from 128 |
    | grey with values from 128 to 254, without 255 | refused: neither ids nor a mask |
    | JPEG, any mode | grey with soft edges, since ids do not survive its compression |
    | 16-bit grey | as 8-bit grey if it holds 0 to 255, or 0 and 65535 as 0 and 255; refused otherwise |
    | `LA`, `RGBA` | without the transparency, unless there is but one colour: then the transparency is the grey |
    | RGB, all grey | as grey |
    | RGB, colours of the DAVIS palette alone | the ids of the colours |
    | any other RGB | refused |

    Args:
        path: The picture.

    Returns:
        H×W uint8: 0 background, 1 to 254 objects, 255 void.

    Raises:
        DataError: The file is missing, damaged, no picture, or not to be read as a mask.
    """
    path = Path(path)
    try:
        with Pictures.open(path) as picture:
            picture.load()
            return _to_ids(picture, path)
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def read_annotation(path: str | Path) -> Ids:
    """Reads a mask of a benchmark, where a guess would change the scores: only PNG, ids as they are stored.

    | the file | is read as |
    |---|---|
    | palette PNG | its indices, 255 is void |
    | grey PNG of up to 8 bits | its values, 255 is void |
    | grey PNG of 8 bits with the same transparency everywhere | likewise |
    | any of them, showing only black and white (0 and 255), as DAVIS 2016 does | background and object 1 |
    | 16 bits, RGB, transparency that varies, any other format, damaged or cut off | refused |

    A palette says black and white if all its colours are greys and the used ones are 0 and 255. In a video whose other
    masks hold ids, black and white is void without an object, which one file cannot tell: see
    `DiskSequence.annotation`.

    Args:
        path: The file.

    Returns:
        H×W uint8: 0 background, 1 to 254 objects, 255 void.

    Raises:
        DataError: The file is missing or refused; the sentence names it and says what to do.
    """
    return read_stored(path).as_ids(numbered=False)


def read_stored(path: str | Path) -> StoredMask:
    """Reads what `read_annotation` reads, and leaves open what black and white mean.

    Raises:
        DataError: As for `read_annotation`.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if not data:
            raise _mask_error(path, "is empty", "replace it")
        if not data.startswith(SIGNATURE):
            raise _mask_error(path, "is not a PNG", _SAVE_AS)
        header = parse_png(data)
        if header is None:
            raise _mask_error(path, "is damaged or cut off", "replace it")
        if header.bit_depth == 16:
            raise _mask_error(path, "has 16 bits", _SAVE_AS)
        if header.colour_type not in (GREY, PALETTE, GREY_ALPHA):
            kind = _REFUSED_COLOUR_TYPES.get(header.colour_type, "an unknown colour type")
            raise _mask_error(path, f"has {kind}", _SAVE_AS)
        with Pictures.open(io.BytesIO(data), formats=("PNG",)) as picture:
            picture.load()
            if header.colour_type != GREY_ALPHA:
                return _as_stored(picture, header.bit_depth)
            grey, alpha = picture.split()
            if alpha.getcolors(1) is None:  # then nobody can tell which of the two is the mask
                raise _mask_error(path, "has transparency that varies", _SAVE_AS)
            return _as_stored(grey, header.bit_depth)
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def write_mask(path: str | Path, ids: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> None:
    """Writes object ids as a palette PNG in the DAVIS colours; missing folders are created.

    The file appears complete or not at all.

    Args:
        path: Where to.
        ids: H×W, 0 to 255, or booleans.

    Raises:
        DataError: `ids` is not such an array, or the file cannot be written.
    """
    path = Path(path)
    if ids.ndim != 2 or ids.size == 0 or (ids.dtype != np.bool_ and not np.issubdtype(ids.dtype, np.integer)):
        raise DataError(f"A mask must be H×W whole numbers, not {ids.dtype} of shape {ids.shape}.")
    if ids.min() < 0 or ids.max() > 255:
        raise DataError(f"A mask holds ids from {ids.min()} to {ids.max()}: a PNG palette has 0 to 255.")
    picture = Pictures.fromarray(np.ascontiguousarray(ids, dtype=np.uint8))
    picture.putpalette(davis_palette().tobytes())
    with atomic_file(path) as temporary:
        picture.save(temporary, format="PNG")


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return _mask_error(path, "does not exist", "check the path")
    if isinstance(error, IsADirectoryError):
        return _mask_error(path, "is a folder", "name a picture in it")
    if isinstance(error, PermissionError):
        return _mask_error(path, "cannot be read (permission denied)", "change its permissions")
    return _mask_error(path, "is damaged or not a picture", "save it again as PNG")


def _mask_error(path: Path, problem: str, remedy: str) -> FileError:
    return FileError(path, problem, remedy, kind="The mask")


def _as_stored(picture: Pictures.Image, bit_depth: int) -> StoredMask:
    """The samples of a decoded palette or grey PNG, and whether they are black and white alone."""
    values: Ids = np.array(picture, dtype=np.uint8)
    shown = values
    if picture.mode == "P":
        greys = _grey_palette(picture)
        if greys is None:
            return StoredMask(values)
        shown = greys[values]
    elif bit_depth < 8 and picture.mode == "L":
        values //= np.uint8(255 // ((1 << bit_depth) - 1))  # Pillow spreads 2 and 4 bits over 0 to 255
        return StoredMask(values)
    white = shown == VOID
    count = np.count_nonzero(white)
    alone = count > 0 and np.count_nonzero(shown == 0) + count == shown.size
    return StoredMask(values, white if alone else None)


def _to_ids(picture: Pictures.Image, path: Path) -> Ids:
    if picture.mode in ("P", "PA"):
        indices = np.array(picture if picture.mode == "P" else picture.getchannel("P"), dtype=np.uint8)
        greys = _grey_palette(picture)
        return indices if greys is None else _grey_to_ids(greys[indices], path)
    if picture.mode == "1":
        return np.array(picture, dtype=np.uint8)
    if picture.format in _LOSSY:
        return (np.asarray(picture.convert("L")) >= _HALF).astype(np.uint8)
    if picture.mode.startswith("I"):
        return _grey_to_ids(_narrowed(np.asarray(picture), path), path)
    if picture.mode == "L":
        return _grey_to_ids(np.array(picture), path)
    if picture.mode in ("LA", "RGB", "RGBA"):
        return _colour_to_ids(picture, path)
    raise DataError(f"The mask {path} has the colour mode {picture.mode}: save it as a palette or grey PNG.")


def _grey_palette(picture: Pictures.Image) -> Ids | None:
    """What grey each index stands for, or None if the palette has colours."""
    colours = np.frombuffer(bytes(picture.getpalette("RGB") or []), dtype=np.uint8).reshape(-1, 3)
    used = np.flatnonzero(picture.histogram()[:256])
    # indices that the palette does not reach, and a palette in which every entry used is black, tell no greys
    if used.size == 0 or used[-1] >= len(colours) or not colours[used].any():
        return None
    if (colours != colours[:, :1]).any():
        return None
    greys = np.zeros(256, dtype=np.uint8)
    greys[: len(colours)] = colours[:, 0]
    return greys


def _grey_to_ids(grey: Ids, path: Path) -> Ids:
    """Tells ids from a 0/255 mask by the values that occur; the table is in `read_mask`."""
    values = np.unique(grey)
    between = values[(values > _LARGEST_GREY_ID) & (values < VOID)]
    if between.size == 0:
        only_white = values[values > 0].tolist() == [255]
        return (grey > 0).astype(np.uint8) if only_white else grey
    if values[-1] == VOID:
        return (grey >= _HALF).astype(np.uint8)
    raise DataError(
        f"The mask {path} holds the grey value {between[0]}, which is neither an object id (1 to {_LARGEST_GREY_ID}) "
        "nor white: save it with black and white alone, or as a palette PNG."
    )


def _narrowed(wide: npt.NDArray[np.integer], path: Path) -> Ids:
    """16-bit grey as 8-bit."""
    values = np.unique(wide)
    if values[0] >= 0 and values[-1] <= 255:
        return wide.astype(np.uint8)
    if values.tolist() in ([0, 65535], [65535]):
        return (wide > 0).astype(np.uint8) * np.uint8(255)
    raise DataError(f"The mask {path} holds values from {values[0]} to {values[-1]}: save ids from 0 to 255 in it.")


def _colour_to_ids(picture: Pictures.Image, path: Path) -> Ids:
    bands = np.asarray(picture)
    colours, alpha = bands, None
    if picture.mode in ("LA", "RGBA"):
        colours, alpha = bands[..., :-1], bands[..., -1]
    if alpha is not None and alpha.min() != alpha.max() and (colours == colours[0, 0]).all():
        return _grey_to_ids(np.ascontiguousarray(alpha), path)
    if (colours == colours[..., :1]).all():
        return _grey_to_ids(np.ascontiguousarray(colours[..., 0]), path)
    codes = _colour_codes(colours)
    palette_codes = _colour_codes(davis_palette())
    order = np.argsort(palette_codes)
    place = np.searchsorted(palette_codes, codes, sorter=order).clip(max=255)
    ids: Ids = order[place].astype(np.uint8)
    strange = palette_codes[ids] != codes
    if strange.any():
        y, x = np.argwhere(strange)[0]
        raise DataError(
            f"The mask {path} has the colour {tuple(colours[y, x].tolist())}, which is not in the DAVIS palette: "
            "save it as a palette or grey PNG."
        )
    return ids


def _colour_codes(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """One number for each RGB colour along the last axis."""
    red, green, blue = np.moveaxis(colours.astype(np.int64), -1, 0)
    codes: npt.NDArray[np.int64] = (red << 16) | (green << 8) | blue
    return codes
