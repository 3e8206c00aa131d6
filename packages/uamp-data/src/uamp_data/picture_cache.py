"""Decoded pictures kept in memory up to a bound; those not asked for longest go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


class PictureCache:
    """Arrays by key, at most `limit` bytes in all. Threads may share it."""

    def __init__(self, limit: int) -> None:
        """Starts empty; with a limit of 0 nothing is kept."""
        self.limit, self._held = limit, 0
        self._pictures: OrderedDict[Hashable, Picture] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes in use."""
        return self._held

    def get(self, key: Hashable, read: Callable[[], Picture]) -> Picture:
        """A picture, read only if it is not here.

        Args:
            key: What it is known by.
            read: Reads it; what it raises is passed on, and nothing is kept.

        Returns:
            The array, which must not be changed: others share it.
        """
        with self._lock:
            found = self._pictures.get(key)
            if found is not None:
                self._pictures.move_to_end(key)
                return found
        # Outside the lock, so that threads decode side by side; two that want the same one read it twice.
        picture = read()
        picture.setflags(write=False)
        with self._lock:
            if key not in self._pictures:
                self._pictures[key] = picture
                self._held += picture.nbytes
            while self._held > self.limit:
                _, dropped = self._pictures.popitem(last=False)
                self._held -= dropped.nbytes
        return picture
