from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from uamp_data.picture_cache import PictureCache


def picture(value: int) -> npt.NDArray[np.uint8]:
    return np.full((10, 10), value, np.uint8)


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache, read = PictureCache(250), []

    def get(key: int) -> int:
        def load() -> npt.NDArray[np.uint8]:
            read.append(key)
            return picture(key)

        return int(cache.get(key, load)[0, 0])

    assert [get(1), get(2), get(1), get(3), get(1), get(2)] == [1, 2, 1, 3, 1, 2]
    assert read == [1, 2, 3, 2]
    assert cache.held <= 250


def test_nothing_is_kept_without_room_or_after_an_error() -> None:
    cache = PictureCache(0)
    assert cache.get("a", lambda: picture(7)).max() == 7
    assert cache.held == 0

    def fail() -> npt.NDArray[np.uint8]:
        raise OSError

    roomy = PictureCache(1000)
    with pytest.raises(OSError):  # noqa: PT011 (the reader's own error comes through)
        roomy.get("a", fail)
    assert roomy.get("a", lambda: picture(1)).max() == 1


def test_shared_pictures_cannot_be_changed_and_threads_agree() -> None:
    cache = PictureCache(10_000)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: cache.get(n % 7, lambda: picture(n % 7)), range(200)))
    assert all((value == n % 7).all() for n, value in enumerate(found))
    assert cache.held == 700
    with pytest.raises(ValueError, match="read-only"):
        found[0][0] = 1
