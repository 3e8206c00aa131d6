"""A thread that reads ahead loses, repeats and reorders nothing, and passes errors on."""

import threading
from collections.abc import Iterator

import pytest
from pipes_of_files import in_time
from uamp_data.ahead import read_ahead


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


def test_what_cannot_be_iterated_is_said_instead_of_waited_for() -> None:
    class Gone:
        def __iter__(self) -> Iterator[int]:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        in_time(lambda: list(read_ahead(Gone())))


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
    reader.close()
    assert closed.is_set()
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())
