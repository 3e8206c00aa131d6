"""Fetching a large file so that an attempt that was cut off is gone on with."""

from __future__ import annotations

import http.client
import logging
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from uamp_data.atomic import unwritable
from uamp_data.errors import DataError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Told the bytes done so far and the bytes there will be, None where nobody says."""

PART_SUFFIX: Final = ".part"
_TIMEOUT_SECONDS: Final = 30
_BLOCK_BYTES: Final = 1 << 18
_FRUITLESS_ATTEMPTS: Final = 3
_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS, _NOTHING_AFTER = 408, 429, 416


def download_file(url: str, target: Path, *, progress: Progress | None = None) -> None:
    """Fetches a file, going on where an earlier attempt stopped.

    What has arrived lies in `target` with `.part` appended until all of it is there. A dropped connection is taken up
    again as long as each attempt brings something new; Ctrl-C leaves the part for the next call.

    Args:
        url: Where from, http or https.
        target: Where to; its folder is created, if need be, when the first bytes arrive.
        progress: Called after every block.

    Raises:
        DataError: The address is none, the server cannot be reached or refuses, or the file cannot be written.
    """
    check_url(url)
    part = target.with_name(target.name + PART_SUFFIX)
    fruitless = 0
    try:
        while True:
            have = part.stat().st_size if part.exists() else 0
            cause = ""
            try:
                if _fetch_rest(url, part, have, progress):
                    break
            except _ServerError as error:
                if error.final:
                    raise DataError(f"The server refused {url} ({error}): check the address.") from error
                cause = f" ({error})"
            fruitless = 0 if part.exists() and part.stat().st_size > have else fruitless + 1
            if fruitless == _FRUITLESS_ATTEMPTS:
                kept = f"; what arrived is kept in {part}" if part.exists() else ""
                raise DataError(f"{url} could not be fetched{cause}: check the network and try again{kept}.")
        part.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error


def check_url(url: str) -> None:
    """Makes sure that an address is one of the web.

    Raises:
        DataError: It is not.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in url):
        raise DataError(f"{url!r} is no address of a file: give one that begins with https:// or http://.")


class _ServerError(Exception):
    """The server could not be reached or did not answer as it should; `final` if asking again is no use."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def _fetch_rest(url: str, part: Path, have: int, progress: Progress | None) -> bool:
    """Asks for what comes after the first `have` bytes and writes it; True if the file is whole."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _NOTHING_AFTER:
            # the part is as long as the file, or longer than what the server has now
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return True
            part.unlink(missing_ok=True)
            return False
        final = 400 <= error.code < 500 and error.code not in (_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS)
        raise _ServerError(f"HTTP {error.code} {error.reason}", final=final) from error
    except (OSError, http.client.HTTPException) as error:
        raise _ServerError(_reason(error)) from error
    with answer:
        start, total = _span(answer)
        if start not in (0, have):
            raise _ServerError("it sent another part of the file than was asked for", final=True)
        if total is not None:
            require_space(part.parent, total - start)
        return _write(answer, part, start, total, progress)


def _span(answer: http.client.HTTPResponse) -> tuple[int, int | None]:
    """The first byte of the answer and the length of the whole file, None if the server does not say."""
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if answer.status == http.client.PARTIAL_CONTENT and span is not None:
        return int(span[1]), None if span[2] == "*" else int(span[2])
    length = answer.headers.get("Content-Length")
    return 0, int(length) if length is not None and length.isdecimal() else None


def _write(
    answer: http.client.HTTPResponse, part: Path, start: int, total: int | None, progress: Progress | None
) -> bool:
    """Writes the answer from byte `start` of the part on; True if it ended where it should."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    with part.open("r+b") as file:
        file.seek(start)
        done = start
        while True:
            try:
                block = answer.read1(_BLOCK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                logger.info("the connection dropped after %d bytes: %s", done, error)
                return False
            if not block:
                break
            file.write(block)
            done += len(block)
            if progress is not None:
                progress(done, total)
        if total is not None and done != total:
            return False
        file.truncate()
        return True


def require_space(folder: Path, needed: int) -> None:
    """Makes sure that a disk has room before much time goes into filling it.

    Args:
        folder: A folder on it, which need not be there yet.
        needed: Bytes.

    Raises:
        DataError: It has not.
    """
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if free < needed:
        raise DataError(
            f"The disk of {folder} is too full ({free / 1e9:.1f} GB are free, {needed / 1e9:.1f} GB needed): "
            "free some space or name another folder."
        )


def _reason(error: BaseException) -> str:
    """What an error says, without Python's wrapping."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
