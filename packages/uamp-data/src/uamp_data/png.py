"""The structure of a PNG file, as far as it must be known before a decoder is trusted with it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, PALETTE, GREY_ALPHA = 0, 3, 4
"""Three of the colour types of a PNG header."""

_HEADER = struct.Struct(">8xBB")  # behind width and height
_HEADER_LENGTH = 13


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What the header of a PNG says.

    Attributes:
        bit_depth: Bits of one sample: 1, 2, 4, 8 or 16.
        colour_type: `GREY`, `PALETTE`, `GREY_ALPHA`, or 2 and 6 for RGB without and with transparency.
    """

    bit_depth: int
    colour_type: int


def parse_png(data: bytes) -> PngHeader | None:
    """Walks through a PNG's chunks and compares every checksum.

    Decoders forgive a lot: Pillow shows a file that lost its last bytes if the pixels happen to be complete.

    Args:
        data: The whole file, which begins with `SIGNATURE`.

    Returns:
        The header, or None if a chunk is cut off or damaged or the end is missing.
    """
    position, header = len(SIGNATURE), None
    view = memoryview(data)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = bytes(view[position + 4 : position + 8]), position + 12 + length
        if end > len(data):
            return None
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != checksum:
            return None
        if header is None:
            if kind != b"IHDR" or length != _HEADER_LENGTH:
                return None
            header = PngHeader(*_HEADER.unpack_from(data, position + 8))
        if kind == b"IEND":
            return header
        position = end
    return None
