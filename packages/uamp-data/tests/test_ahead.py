"""Threads that read ahead and write behind lose, repeat and reorder nothing, and pass errors on."""

import threading
from collections.abc import Iterator

import pytest
from uamp_data.ahead import WriteBehind, read_ahead


def test_all_items_in_order() -> None:
    for most in (1, 2, 50):
        assert list(read_ahead(range(100), most=most)) == list(range(100))
    assert list(read_ahead([])) == []


def test_no_more_than_allowed_are_read_ahead() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            asked.append(i)
            yield i

    for i in read_ahead(items(), most=2):
        # one with us, two in the queue, one that waits to enter it
        assert len(asked) <= i + 4


def test_an_error_comes_after_what_was_read_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    found = []
    with pytest.raises(OSError, match="gone"):  # noqa: PT012 - what came before the error counts
        for item in read_ahead(items()):
            found.append(item)
    assert found == [1, 2]


def test_stopping_early_closes_the_source_and_its_thread() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    reader = read_ahead(items(), most=1)
    assert next(reader) == 1
    reader.close()  # type: ignore[attr-defined]
    assert closed.is_set()
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())


def test_everything_is_written_in_order() -> None:
    written: list[int] = []
    with WriteBehind(written.append, most=2) as writer:
        for i in range(50):
            writer.put(i)
    assert written == list(range(50))


def test_an_error_of_the_writer_ends_the_run() -> None:
    written: list[int] = []

    def write(item: int) -> None:
        if item == 3:
            raise OSError("disk full")
        written.append(item)

    with pytest.raises(OSError, match="disk full"), WriteBehind(write, most=1) as writer:  # noqa: PT012
        for i in range(1000):
            writer.put(i)
    assert written == [0, 1, 2]


def test_an_error_for_the_last_item_is_raised_on_leaving() -> None:
    def write(item: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), WriteBehind(write) as writer:
        writer._give(1)


def test_an_error_of_the_caller_leaves_the_rest_undone() -> None:
    entered, go_on = threading.Event(), threading.Event()
    written: list[int] = []

    def write(item: int) -> None:
        entered.set()
        go_on.wait(10)
        written.append(item)

    with pytest.raises(KeyboardInterrupt), WriteBehind(write, most=8) as writer:  # noqa: PT012
        for i in range(5):
            writer.put(i)
        entered.wait(10)
        writer._stopped.set()
        go_on.set()
        raise KeyboardInterrupt
    assert written == [0]
