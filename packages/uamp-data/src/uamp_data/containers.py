"""Opening a video file or stream with FFmpeg."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av
from av.container import InputContainer

# Tags that are no UTF-8 end PyAV before 19 unless it is told to replace what it cannot read; from 19 on it always does.
_LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


def open_container(
    address: str, *, options: Mapping[str, str] | None = None, timeout: float | None = None
) -> InputContainer:
    """Opens what FFmpeg reads; `file:` before a path keeps it from being taken for something else.

    Args:
        address: A URL, or `file:` and a path.
        options: FFmpeg's, of the protocol or the format.
        timeout: Seconds to wait for an answer.

    Raises:
        av.error.FFmpegError, OSError, ValueError: There is nothing there, or nothing that FFmpeg can read.
    """
    container: InputContainer = av.open(address, "r", options=dict(options or {}), timeout=timeout, **_LENIENT)
    return container
