"""Several outputs that are written together."""

import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from uamp_data.interrupts import interrupts_deferred

from uamp_cli.tracking import TrackedFrame
from uamp_cli.writers.writer import Writer

logger = logging.getLogger(__name__)


class WriterGroup:
    """Writes the same frames to every one of its writers.

    As a context manager, leaving normally puts all in place; Ctrl-C does so too if there is a frame, and goes on; any
    other exception leaves nothing of any. Ctrl-C waits for the end of a frame, so that all outputs have the same ones.
    """

    def __init__(self, openers: Iterable[Callable[[], Writer]]) -> None:
        """Opens the writers; if one cannot be opened, nothing is left of the others."""
        self.writers: list[Writer] = []
        self.frame_count = 0
        try:
            for opener in openers:
                self.writers.append(opener())
        except BaseException:
            self.abort()
            raise

    @property
    def notes(self) -> list[str]:
        """What the writers have to say, after closing."""
        return list(dict.fromkeys(writer.note for writer in self.writers if writer.note is not None))

    def add(self, frame: TrackedFrame) -> None:
        """Give every writer the next frame."""
        with interrupts_deferred():
            for writer in self.writers:
                writer.add(frame)
            self.frame_count += 1

    def close(self) -> None:
        """Put all in place; if that fails for one, those not yet in place are discarded."""
        with interrupts_deferred():
            try:
                for writer in self.writers:
                    writer.close()
            except BaseException:
                self.abort()
                raise

    def abort(self) -> None:
        """Leave nothing of what is not in place."""
        with interrupts_deferred():
            for writer in self.writers:
                try:
                    writer.abort()
                except Exception as error:  # the others must go too, and what led here is what matters
                    logger.debug("discarding %s: %s", writer.path, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or (issubclass(kind, KeyboardInterrupt) and self.frame_count > 0):
            self.close()
        else:
            self.abort()
