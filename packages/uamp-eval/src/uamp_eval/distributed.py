"""Several processes, on one machine or many, that share the work of one command.

Started by `torchrun` or `accelerate launch`, each process finds its place in the environment. Processes exchange
a few numbers and names, never tensors, so the launcher's key-value store is all they need, whatever device they
compute on: that also works where several share one GPU. Each also tells the others there that it is alive and whether
it failed, so that nobody waits for one that is gone, and nobody gives up on one that is merely slow.

torch is imported when processes really join.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from uamp_model.errors import DeviceError, InputError, UampError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

PATIENCE = timedelta(minutes=10)
"""How long a process may be silent (loading a model, say, or on a single frame) before the others give up."""
_BEAT_SECONDS, _LOOK_SECONDS = 0.5, 0.1
_FAREWELL_SECONDS = 10.0
"""How long process 0 stays for the others, who may still be reading what all have done: the store may live in it."""

_log = logging.getLogger(__name__)


class OtherProcessError(UampError):
    """The work ended because of another process, which has said or will say why itself."""


class Team(Protocol):
    """The processes that share the work; also one process alone."""

    @property
    def rank(self) -> int:
        """This process's number, from 0."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def agree(self, decide: Callable[[], T]) -> T:
        """Let process 0 decide something that JSON can hold, and tell all; if it fails, all fail."""

    def beat(self) -> None:
        """Say that this process is alive; call it at every frame.

        Raises:
            OtherProcessError: if another process failed.
        """

    def together(self, work: Callable[[], T]) -> list[T]:
        """Do one's part of the work and return what all did, which JSON can hold, by rank.

        Raises:
            OtherProcessError: if another process failed or fell silent. One's own errors are raised as they are.
        """


@dataclass(frozen=True, slots=True)
class Alone:
    """A team of one."""

    rank: int = 0
    size: int = 1

    def agree(self, decide: Callable[[], T]) -> T:
        """Decide."""
        return decide()

    def beat(self) -> None:
        """Nobody listens."""

    def together(self, work: Callable[[], T]) -> list[T]:
        """Do all the work."""
        return [work()]


def share_out(costs: Mapping[str, int], processes: int) -> list[list[str]]:
    """Share jobs out: the longest first, each to whom has least to do so far.

    Args:
        costs: by job, in any unit.
        processes: how many share; those beyond the number of jobs get none.

    Returns:
        The jobs of each process, the longest first. Equal costs go by name, so every process finds the same answer.
    """
    shares: list[list[str]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for job in sorted(costs, key=lambda name: (-costs[name], name)):
        least = min(range(processes), key=loads.__getitem__)
        shares[least].append(job)
        loads[least] += costs[job]
    return shares


def launched() -> tuple[int, int]:
    """This process's number and the number of processes, as the launcher says; (0, 1) without one.

    Raises:
        InputError: if the environment contradicts itself.
    """
    rank, size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if not 0 <= rank < size:
        raise InputError(f"RANK is {rank} but WORLD_SIZE is {size}: unset both, or start with torchrun.")
    return rank, size


def device_of_process(device: str) -> str:
    """Give each process on a machine a GPU of its own.

    Args:
        device: what the person asked for. Only "auto" and "cuda" leave a choice.

    Raises:
        DeviceError: if there are fewer GPUs than processes.
        InputError: if the environment contradicts itself.
    """
    if launched()[1] == 1 or device not in ("auto", "cuda"):
        return device
    import torch

    if not torch.cuda.is_available():
        return device
    local, count = _number("LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= count:
        raise DeviceError(f"Process {local} of this machine has no GPU of its own: start {count} at most.")
    return f"cuda:{local}"


@contextmanager
def join_team() -> Iterator[Team]:
    """Join the processes that the launcher started; without a launcher, a team of one.

    Raises:
        OtherProcessError: if the others do not show up.
        InputError: if the environment is not one a launcher makes.
    """
    rank, size = launched()
    if size == 1:
        yield Alone()
        return
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        with _lost_others(rank):
            store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    except ValueError as error:  # an address or port is missing
        raise InputError(f"The processes cannot find each other ({error}): start them with torchrun.") from error
    team = _Joined(rank, size, PrefixStore("uamp", store))
    yield team
    team.leave()


@dataclass(slots=True)
class _Joined:
    """A process among others.

    Attributes:
        rank, size: see `Team`.
        store: keys seen by all: "failed", "beat/<rank>", "agreed/<n>/0", "done/<phase>/<rank>" and "left/<rank>".
        patience: for how many seconds another process may be silent before it is given up.
        agreements, phase: how often `agree` and `together` were called.
        beats: how often this process said that it is alive.
        last_beat: when it last did.
    """

    rank: int
    size: int
    store: "Store"
    patience: float = PATIENCE.total_seconds()
    agreements: int = 0
    phase: int = 0
    beats: int = 0
    last_beat: float = float("-inf")

    def agree(self, decide: Callable[[], T]) -> T:
        self.agreements += 1
        what = f"agreed/{self.agreements}"
        if self.rank == 0:
            try:
                decided = decide()
            except BaseException as error:
                with suppress(OtherProcessError):
                    self._say(what, (None, _sentence(error)))
                raise
            self._say(what, (decided, None))
            return decided
        value, failure = self._hear(what, [0])[0]
        if failure is not None:
            raise OtherProcessError(failure)
        return value  # type: ignore[no-any-return]

    def beat(self) -> None:
        now = time.monotonic()
        if now - self.last_beat < _BEAT_SECONDS:
            return
        self.last_beat = now
        self.beats += 1
        with _lost_others(self.rank):
            self.store.set(f"beat/{self.rank}", str(self.beats))
        self._check_failed()

    def together(self, work: Callable[[], T]) -> list[T]:
        self.phase += 1
        try:
            own = work()
        except OtherProcessError:
            raise
        except BaseException as error:
            with suppress(RuntimeError):
                self.store.set("failed", json.dumps([self.rank, _sentence(error)]))
            raise
        self._say(f"done/{self.phase}", own)
        return self._hear(f"done/{self.phase}", range(self.size))

    def leave(self) -> None:
        """Part from the others when all is done."""
        deadline = time.monotonic() + _FAREWELL_SECONDS
        with suppress(RuntimeError):  # whose store it was has left already
            self.store.set(f"left/{self.rank}", "1")
            while self.rank == 0 and not self.store.check([f"left/{r}" for r in range(self.size)]):
                if time.monotonic() > deadline:
                    return
                time.sleep(_LOOK_SECONDS)

    def _say(self, what: str, value: object) -> None:
        with _lost_others(self.rank):
            self.store.set(f"{what}/{self.rank}", json.dumps(value))

    def _hear(self, what: str, ranks: Sequence[int]) -> list[Any]:
        """What processes say of something; they are waited for as long as they show signs of life."""
        heard = {rank: ("", time.monotonic()) for rank in ranks}
        while True:
            self.beat()
            with _lost_others(self.rank):
                missing = [rank for rank in ranks if not self.store.check([f"{what}/{rank}"])]
                if not missing:
                    return [json.loads(self.store.get(f"{what}/{rank}")) for rank in ranks]
                for rank in missing:
                    key = f"beat/{rank}"
                    beat = str(self.store.get(key)) if self.store.check([key]) else ""
                    if beat != heard[rank][0]:
                        heard[rank] = (beat, time.monotonic())
            self._check_failed()
            silent = [r for r in missing if time.monotonic() - heard[r][1] > self.patience]
            if silent:
                raise OtherProcessError(
                    f"Process {silent[0]} has been silent for {self.patience:.0f} s: stop all processes and start "
                    "them again; the sequences that are finished will be kept."
                )
            time.sleep(_LOOK_SECONDS)

    def _check_failed(self) -> None:
        with _lost_others(self.rank):
            failure = self.store.get("failed") if self.store.check(["failed"]) else None
        if failure is not None:
            rank, sentence = json.loads(failure)
            raise OtherProcessError(sentence if rank != self.rank else f"This process failed before: {sentence}")


def _sentence(error: BaseException) -> str:
    """What to tell the other processes."""
    if isinstance(error, KeyboardInterrupt):
        return "Another process was interrupted: start them again to go on."
    return str(error) or type(error).__name__


@contextmanager
def _lost_others(rank: int) -> Iterator[None]:
    """Torch says in many ways that a connection broke or timed out; all are RuntimeErrors."""
    try:
        yield
    except RuntimeError as error:
        _log.debug("process %d lost the others", rank, exc_info=error)
        raise OtherProcessError(
            "Another process of this run ended or does not answer: see what it says, then start all of them again; "
            "the sequences that are finished will be kept."
        ) from error


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not text.isdecimal():
        raise InputError(f"The environment variable {variable} is {text!r}, which is no number: unset it.")
    return int(text)
