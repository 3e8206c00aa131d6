"""Opens what a training configuration names: sources of clips, and sequences to validate on."""

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from uamp_data.augmentation import Augmentation
from uamp_data.clip_sequence import ClipSequence, pool_sequences
from uamp_data.errors import DataError
from uamp_data.pool import ClipPool, build_pool
from uamp_data.sequence import DiskSequence
from uamp_data.synthetic import generate_clip
from uamp_data.training_clips import MixedClips, TrainingClips
from uamp_data.training_sets import a_tenth, first_frames, hold_out, open_any, open_training_set
from uamp_eval.sequences import VideoSequence
from uamp_model.errors import InputError
from uamp_train.batches import ClipSource
from uamp_train.config import TrainConfig

log = logging.getLogger(__name__)

VALIDATION_SEED = 3_000_000_000
"""Seed of the first validation clip: beyond those of a pool with seed 0, below those of any other."""
VALIDATION_CLIPS, VALIDATION_FRAMES = 8, 16
_LEAST_ANNOTATED = 3
"""The first and the last annotated frame are not scored."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run learns from and is judged by.

    Attributes:
        clips: to train on.
        validation: sequences to follow; empty where there is no validation.
        judged_on: what they are, in words.
    """

    clips: ClipSource
    validation: Sequence[VideoSequence]
    judged_on: str = ""


def open_data(settings: TrainConfig) -> TrainingData:
    """Open the data sets, build the pool of generated clips if it is asked for, and hold out what is to be held out.

    Raises:
        DataError: a data set or a sequence is missing, nothing is left to train on, or the first mask of a sequence to
            validate on cannot be read or shows no object.
        InputError: a sequence to validate on has too few masks, or its name in common with another.
    """
    parts = settings.parts
    sets = [
        [] if part.dataset == "synthetic" else list(open_training_set(part.dataset, part.root or "", part.split or ""))
        for part in parts
    ]
    sets, validation, judged_on = _divide(sets, settings)
    augmentation = Augmentation(**settings.augment.model_dump())
    sources = [
        _generated(settings, augmentation)
        if part.dataset == "synthetic"
        else TrainingClips(sequences, augmentation, max_bad_samples=settings.max_bad_samples)
        for part, sequences in zip(parts, sets, strict=True)
    ]
    for part, sequences in zip(parts, sets, strict=True):
        if part.dataset != "synthetic":
            log.info("Training on %d sequences of %s in %s", len(sequences), part.dataset, part.root)
    weights = [part.weight for part in parts]
    clips = sources[0] if len(sources) == 1 else MixedClips(list(zip(sources, weights, strict=True)))
    return TrainingData(clips, validation, judged_on)


def _divide(
    sets: list[list[DiskSequence]], settings: TrainConfig
) -> tuple[list[list[DiskSequence]], Sequence[VideoSequence], str]:
    """What is left to train on, and what to validate on."""
    held_out = settings.val_sequences if settings.val_dataset_root is None else ()
    if settings.val_interval and settings.leaves_validation_open:
        held_out = _tenth_to_judge_by(sets, settings)
    kept, sequences = hold_out(sets, settings.train_sequences, held_out)
    if not settings.val_interval:
        return kept, (), ""
    where = "held out"
    if settings.val_dataset_root is not None:
        sequences = list(open_any(settings.val_dataset_root))
        where = f"of {settings.val_dataset_root}"
        if settings.val_sequences:
            _, sequences = hold_out([sequences], (), settings.val_sequences, where="the validation data")
    if not sequences:
        return kept, _generated_for_validation(settings), f"{VALIDATION_CLIPS} generated clips"
    sequences = _to_follow(sequences, settings)
    log.info("Validating on %d sequences %s: %s", len(sequences), where, ", ".join(s.name for s in sequences))
    return kept, sequences, f"{len(sequences)} sequences {where}"


def _tenth_to_judge_by(sets: list[list[DiskSequence]], settings: TrainConfig) -> tuple[str, ...]:
    """Names to hold out where nobody says which: a tenth, or for one that cannot validate the next by name that can."""
    by_name = defaultdict(list)
    for sequence in (sequence for part in sets for sequence in part):
        if not settings.train_sequences or sequence.name in settings.train_sequences:
            by_name[sequence.name].append(sequence)
    rest, held_out, problems = sorted(by_name), [], []
    for wanted in a_tenth(sequence.name for sequences in by_name.values() for sequence in sequences):
        place = bisect_left(rest, wanted)
        for name in (*rest[place:], *rest[:place]):
            rest.remove(name)
            try:
                _to_follow(by_name[name], settings)
            except (DataError, InputError) as error:
                problems.append(str(error))
            else:
                held_out.append(name)
                break
    if problems:
        log.warning("%d sequences cannot validate and are not held out. The first: %s", len(problems), problems[0])
    return tuple(held_out)


def _to_follow(sequences: Sequence[DiskSequence], settings: TrainConfig) -> list[DiskSequence]:
    """What is followed of sequences in validation, once it is sure that there is something to score.

    Raises:
        DataError: the first mask of one cannot be read or shows no object.
        InputError: one has too few masks, or two have one name.
    """
    names = [sequence.name for sequence in sequences]
    followed = []
    for sequence in sequences:
        cannot = f"The sequence {sequence.name} cannot validate, because"
        if names.count(sequence.name) > 1:
            raise InputError(f"{cannot} two data sets have one of this name: choose other val_sequences.")
        if len(sequence.annotated) < _LEAST_ANNOTATED:
            raise InputError(
                f"{cannot} of its annotated frames ({len(sequence.annotated)}) the first and the last are not scored: "
                "choose other val_sequences."
            )
        if settings.val_frames:
            sequence = first_frames(sequence, max(settings.val_frames, _LEAST_ANNOTATED))
        if min(sequence.prompts) >= sequence.annotated[-1]:
            raise InputError(f"{cannot} its objects enter in its last mask: choose other val_sequences.")
        followed.append(sequence)
    return followed


def _generated(settings: TrainConfig, augmentation: Augmentation) -> ClipSource:
    pool = _pool(settings)
    # The pool cuts, colours and degrades its clips itself, each time anew.
    return pool if settings.augment.is_endless else TrainingClips(pool_sequences(pool), augmentation)


def _pool(settings: TrainConfig) -> ClipPool:
    wanted = settings.pool

    def tell(done: int, total: int) -> None:
        if done == total or done % 20 == 0:
            log.info("Clip pool %s: %d of %d clips", wanted.folder, done, total)

    return build_pool(
        wanted.folder,
        clips=wanted.clips,
        num_frames=wanted.frames,
        size=wanted.size,
        seed=wanted.seed,
        families=wanted.families,
        workers=max(1, settings.num_workers),
        progress=tell,
    )


def _generated_for_validation(settings: TrainConfig) -> list[ClipSequence]:
    """Clips that no pool holds."""
    size = (settings.pool.size, settings.pool.size)
    frames = settings.val_frames or VALIDATION_FRAMES
    sequences = []
    for number in range(VALIDATION_CLIPS):
        clip = generate_clip(VALIDATION_SEED + number, num_frames=max(frames, _LEAST_ANNOTATED), size=size)
        sequences.append(ClipSequence(f"generated-{number}", clip.frames, clip.masks))
    return sequences
