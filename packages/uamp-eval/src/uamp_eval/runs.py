"""Run trackers over a benchmark's videos and write what they say, by as many processes as there are."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import torch
from uamp_model import DeviceError, InputError, VideoTracker
from uamp_model.devices import enough_memory
from uamp_model.layers_file import weights_digest

from uamp_eval.calibration import measured_against, write_calibration
from uamp_eval.distributed import Alone, Team, share_out
from uamp_eval.doubt import DoubtCollector, truth_digest
from uamp_eval.fingerprint import Fingerprint, describe_sequences, take_fingerprint
from uamp_eval.protocols import check_prompts, run_sequence
from uamp_eval.results_store import ResultFolder, is_plain_name
from uamp_eval.scoring import ScoringRule
from uamp_eval.sequences import Ids, VideoSequence

_log = logging.getLogger(__name__)

_FILE_SYSTEM_SECONDS = 60
"""For how long a file system of several machines may hide what another one wrote."""

FRAMES_A_STEP = 12
"""One step of a rehearsal takes about as long as tracking so many frames."""

WriteMask = Callable[[Path, Ids], None]
"""Writes object ids as a PNG; raises an error with one sentence, which is passed on."""


class RunProgress(Protocol):
    """Is told how far this process is."""

    def run_started(self, frames: int, steps: int, kept: int) -> None:
        """This process has `frames` frames and `steps` of rehearsal to do; `kept` sequences had results already."""

    def sequence_started(self, name: str, frames: int) -> None:
        """A sequence begins."""

    def step_done(self) -> None:
        """One more step of a rehearsal is done, for one memory setting."""

    def frame_done(self) -> None:
        """One more frame is done, for all memory settings."""

    def sequence_finished(self, name: str) -> None:
        """A sequence's results have their final name."""


class Silence:
    """Tells nobody."""

    def run_started(self, frames: int, steps: int, kept: int) -> None:
        """See `RunProgress`."""

    def sequence_started(self, name: str, frames: int) -> None:
        """See `RunProgress`."""

    def step_done(self) -> None:
        """See `RunProgress`."""

    def frame_done(self) -> None:
        """See `RunProgress`."""

    def sequence_finished(self, name: str) -> None:
        """See `RunProgress`."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did, all processes together; the same on each.

    Attributes:
        folders: by memory setting, where its results are.
        fingerprints: by memory setting.
        sequences: how many were tracked now.
        kept: how many were whole before.
        frames: how many were tracked now.
        seconds: how long the slowest process tracked.
        speeds: by memory setting, frames a second of a process that tracks with it alone; none where nothing was done.
        processes: how many there were.
    """

    folders: Mapping[str, Path]
    fingerprints: Mapping[str, Fingerprint]
    sequences: int
    kept: int
    frames: int
    seconds: float
    speeds: Mapping[str, float]
    processes: int

    @property
    def frames_per_second(self) -> float:
        """Frames tracked in a second, each for all memory settings; 0 if there was nothing to do."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class _Run:
    """What the steps of a run share."""

    trackers: Mapping[str, VideoTracker]
    folders: Mapping[str, ResultFolder]
    write: WriteMask
    team: Team
    progress: RunProgress
    calibrate: ScoringRule | None
    spent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def run_benchmark(
    trackers: Mapping[str, VideoTracker],
    sequences: Sequence[VideoSequence],
    output: Path,
    *,
    write: WriteMask,
    protocol: str,
    overwrite: bool = False,
    calibrate: ScoringRule | None = None,
    progress: RunProgress | None = None,
    team: Team | None = None,
) -> RunSummary:
    """Track all sequences that have no results yet and write their listed frames to OUTPUT/<memory>/<sequence>/.

    A sequence's folder appears when it is whole. What a killed run has finished is kept by the next one with the same
    settings. Several processes need to see the same output folder.

    Args:
        trackers: by memory setting, all of one network.
        sequences: the videos; each needs a name of its own.
        output: folder of all results.
        write: writes one mask.
        protocol: what is run, such as "DAVIS 2017 val"; results of another protocol are not taken over.
        overwrite: remove results that are there first.
        calibrate: compare the masks with the truth as soon as they are there, on the objects and frames that count by
            this rule, and keep beside them how doubtful right and wrong pixels were, see `calibration`. Every video
            must then have what the rule scores. Where this was done with another truth, a video is tracked again.
        progress: hears about this process's share.
        team: the processes that share the work, see `distributed.join_team`; without it this one does it all.

    Raises:
        InputError: if results of other settings are in the way, a prompt is wrong, or the output cannot be written.
        DeviceError: if the device runs out of memory.
        OtherProcessError: if another process failed.
        What reading pictures and `write` raise.
    """
    team = Alone() if team is None else team
    folders = {memory: ResultFolder(output / memory) for memory in trackers}
    run = _Run(trackers, folders, write, team, Silence() if progress is None else progress, calibrate)

    @cache
    def describe() -> dict[str, Fingerprint]:
        _check_sequences(sequences)
        return _fingerprints(trackers, sequences, protocol, team)

    def prepare() -> tuple[dict[str, str], dict[str, list[str]]]:
        if not overwrite:  # before the first record is written: a run that is refused leaves none
            for memory, fingerprint in describe().items():
                folders[memory].check(fingerprint)
        for memory, fingerprint in describe().items():
            folders[memory].prepare(fingerprint, overwrite=overwrite)
        return _records(describe()), _to_do(run, sequences)

    records, missing = team.agree(prepare)
    team.together(lambda: team.rank == 0 or _check_same(team, records, _records(describe())))
    by_name = {sequence.name: sequence for sequence in sequences}
    costs = {name: sum(_cost(trackers[m], by_name[name]) for m in missing[name]) for name in missing}
    own = [by_name[name] for name in share_out(costs, team.size)[team.rank]]
    steps = sum(trackers[memory].settings.rehearse for sequence in own for memory in missing[sequence.name])
    run.progress.run_started(sum(len(s.frame_names) for s in own), steps, len(sequences) - len(missing))
    done = team.together(lambda: (_track_all(run, own, missing), dict(run.spent)))
    _check_complete(team, folders, sequences)
    return RunSummary(
        folders={memory: folder.path for memory, folder in folders.items()},
        fingerprints=describe(),
        sequences=len(missing),
        kept=len(sequences) - len(missing),
        frames=sum(len(by_name[name].frame_names) for name in missing),
        seconds=max(seconds for seconds, _ in done),
        speeds=_speeds([spent for _, spent in done]),
        processes=team.size,
    )


def _check_sequences(sequences: Sequence[VideoSequence]) -> None:
    """Raise `InputError` unless all can be run and their results be told apart."""
    by_name: dict[str, VideoSequence] = {}
    for sequence in sequences:
        name, frames = sequence.name, list(sequence.frame_names)
        for part in (name, *frames):
            if not is_plain_name(part):
                raise InputError(f"{part!r} of the sequence {name!r} cannot be the name of a result: rename it.")
        if by_name.setdefault(name, sequence) is not sequence:
            raise InputError(f"The sequence {name} is named twice: name it once.")
        if not frames:
            raise InputError(f"The sequence {name} has no frames: remove it from the list.")
        if len(set(frames)) != len(frames):
            double = next(frame for frame in frames if frames.count(frame) > 1)
            raise InputError(f"The sequence {name} has two frames named {double}: remove one.")
        check_prompts(sequence)
    if not by_name:
        raise InputError("There is no sequence to run: name at least one.")


def _fingerprints(
    trackers: Mapping[str, VideoTracker], sequences: Sequence[VideoSequence], protocol: str, team: Team
) -> dict[str, Fingerprint]:
    def read_in_turn() -> Iterator[VideoSequence]:
        for sequence in sequences:
            team.beat()  # a whole data set is read, which may take longer than the others' patience
            yield sequence

    networks = {id(tracker.base): tracker.base for tracker in trackers.values()}
    weights = {key: weights_digest(network) for key, network in networks.items()}
    data = describe_sequences(read_in_turn())
    return {
        memory: take_fingerprint(tracker, sequences, protocol, weights=weights[id(tracker.base)], data=data)
        for memory, tracker in trackers.items()
    }


def _records(fingerprints: Mapping[str, Fingerprint]) -> dict[str, str]:
    return {memory: fingerprint.as_json() for memory, fingerprint in fingerprints.items()}


def _check_same(team: Team, first: Mapping[str, str], own: Mapping[str, str]) -> bool:
    """A process on another machine may have another file under the same name."""
    if own != first:
        raise InputError(f"Process {team.rank} has other weights, data or settings than process 0: make them the same.")
    return True


def _missing(folders: Mapping[str, ResultFolder], sequences: Sequence[VideoSequence]) -> dict[str, list[str]]:
    """By sequence that is not whole everywhere: the memory settings that lack it."""
    missing = {}
    for sequence in sequences:
        listed = _listed(sequence)
        lacking = [memory for memory, folder in folders.items() if not folder.is_whole(sequence.name, listed)]
        if lacking:
            missing[sequence.name] = lacking
    return missing


def _to_do(run: _Run, sequences: Sequence[VideoSequence]) -> dict[str, list[str]]:
    """By sequence that has to be tracked: with which memory settings."""
    missing = _missing(run.folders, sequences)
    again = {s.name: outdated for s in sequences if (outdated := _measured_otherwise(run, s, missing.get(s.name, ())))}
    if again:
        names = next(iter(again)) + (f" and {len(again) - 1} more" if len(again) > 1 else "")
        _log.warning("The doubt kept of %s was not measured against the present annotations: tracking again.", names)
    return missing | {name: [*missing.get(name, ()), *outdated] for name, outdated in again.items()}


def _measured_otherwise(run: _Run, sequence: VideoSequence, missing: Sequence[str]) -> list[str]:
    """The memory settings whose doubt was measured, but against other annotations than there are now."""
    if run.calibrate is None:
        return []
    run.team.beat()
    whole = {memory: folder.path / sequence.name for memory, folder in run.folders.items() if memory not in missing}
    measured = {memory: truth for memory, path in whole.items() if (truth := measured_against(path)) is not None}
    now = truth_digest(sequence, run.calibrate) if measured else None
    return [memory for memory, truth in measured.items() if truth != now]


def _cost(tracker: VideoTracker, sequence: VideoSequence) -> int:
    """How long a sequence takes, in frames."""
    return len(sequence.frame_names) + FRAMES_A_STEP * tracker.settings.rehearse


def _track_all(run: _Run, own: Sequence[VideoSequence], missing: Mapping[str, Sequence[str]]) -> float:
    """Do one process's share; returns how many seconds it took."""
    started = time.perf_counter()
    run.team.beat()
    for sequence in own:
        run.progress.sequence_started(sequence.name, len(sequence.frame_names))
        with _enough_memory(sequence, next(iter(run.trackers.values())).device):
            _track(run, sequence, missing[sequence.name])
        run.progress.sequence_finished(sequence.name)
    return time.perf_counter() - started


def _track(run: _Run, sequence: VideoSequence, memories: Sequence[str]) -> None:
    listed, names = set(sequence.listed), sequence.frame_names
    collector = None if run.calibrate is None else DoubtCollector(sequence, run.calibrate, memories)

    def tell(what: str, done: int, _: int) -> None:
        if what == "steps" and done > 0:
            run.progress.step_done()
        run.team.beat()

    with ExitStack() as stack:
        places = {
            m: stack.enter_context(run.folders[m].new_sequence(sequence.name, _listed(sequence))) for m in memories
        }
        for frame in run_sequence({m: run.trackers[m] for m in memories}, sequence, tell=tell):
            if frame.number in listed:
                for memory, place in places.items():
                    run.write(place / f"{names[frame.number]}.png", frame.labels[memory])
            for memory, seconds in frame.seconds.items():
                run.spent[memory].append(seconds)
            if collector is not None:
                collector.add(frame.number, frame.results)
            run.progress.frame_done()
            run.team.beat()
        for memory, calibration in ({} if collector is None else collector.calibrations).items():
            write_calibration(places[memory], calibration)


def _speeds(spent: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Frames a second by memory setting, from what each process measured."""
    together: dict[str, list[float]] = defaultdict(list)
    for own in spent:
        for memory, seconds in own.items():
            together[memory] += seconds
    return {memory: len(seconds) / max(sum(seconds), 1e-9) for memory, seconds in together.items()}


def _check_complete(team: Team, folders: Mapping[str, ResultFolder], sequences: Sequence[VideoSequence]) -> None:
    """What the other processes wrote must be seen by process 0; a network's file system may take its time."""
    deadline = time.monotonic() + (0 if team.size == 1 else _FILE_SYSTEM_SECONDS)
    while team.rank == 0 and (missing := _missing(folders, sequences)):
        if time.monotonic() >= deadline:
            raise InputError(
                f"The results of {next(iter(missing))} are not in {next(iter(folders.values())).path.parent}: "
                "all processes must see one output folder, and nobody may remove results during a run."
            )
        time.sleep(1)


def _listed(sequence: VideoSequence) -> list[str]:
    return [sequence.frame_names[frame] for frame in sequence.listed]


@contextmanager
def _enough_memory(sequence: VideoSequence, device: torch.device) -> Iterator[None]:
    try:
        with enough_memory(device):
            yield
    except DeviceError as error:
        raise DeviceError(f"Sequence {sequence.name}: {error}") from error
