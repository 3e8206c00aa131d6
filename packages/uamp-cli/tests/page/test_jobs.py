import threading

from uamp_cli.page.jobs import Job, sentence
from uamp_model.errors import InputError


def test_a_job_counts_and_ends() -> None:
    job = Job("Counting", 3)

    def work(running: Job) -> None:
        for index in running.watched(range(3)):
            running.advance(index)

    job.start(work)
    job.join(10)
    assert job.is_finished
    assert (job.done, job.frame, job.error, job.is_cancelled) == (3, 2, None, False)


def test_a_cancelled_job_ends_at_the_next_frame() -> None:
    job, reached = Job("Counting", 5), threading.Event()
    go_on = threading.Event()

    def work(running: Job) -> None:
        for index in running.watched(range(5)):
            running.advance(index)
            reached.set()
            assert go_on.wait(10)

    job.start(work)
    assert reached.wait(10)
    job.cancel()
    go_on.set()
    job.join(10)
    assert job.is_cancelled
    assert job.done == 1


def test_what_goes_wrong_becomes_one_sentence() -> None:
    job = Job("Failing")

    def work(running: Job) -> None:
        raise InputError("That\n  is wrong: do this.")

    job.start(work)
    job.join(10)
    assert job.error == "That is wrong: do this."
    assert job.is_finished


def test_the_unexpected_is_named(caplog: "object") -> None:
    assert sentence(ZeroDivisionError("by zero")).startswith("Something unexpected went wrong (ZeroDivisionError: by")


def test_waiting_ends_with_the_job() -> None:
    job = Job("Nothing")
    job.start(lambda running: None)
    job.wait(seen=0, timeout=10)
    assert job.is_finished
