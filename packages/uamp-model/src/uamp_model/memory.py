"""What an object remembers, and which of it a frame reads.

SAM 2's rule: all conditioning frames (those with a prompt), the last `num_maskmem` − 1 other frames' memory features,
and the object pointers of the conditioning frames and of the last 15 others. The other rule reads, of memory
features, the last frame's and the best of the latest that are good enough. A bank keeps what its rule can still read
and nothing else, so its size does not depend on the length of the video. Shapes: see `types.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from uamp_model.attention import Glance
from uamp_model.budget import Reading, Share, spread, stand_in
from uamp_model.devices import to_device
from uamp_model.propagation import acts, read_bias
from uamp_model.sam2 import MemoryTokens, Sam2

MAX_CONDITIONING = 16
"""Prompted frames that a bank keeps: the first one and the most recent."""


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """One frame in the memory of N objects that live in lockstep (N = 1 in a session).

    Attributes:
        frame: the frame's number.
        features: N×D×h×w memory features, or None once the frame is too old for them to be read.
        pointer: N×C object pointer.
        doubt: N×1×h×w uncertainty of the cells in [0, 1], or None where nothing is in doubt.
        quality: how good the frame is to be remembered by, in [0, 1].
        reading: how it is read in part, or None where all is read.
    """

    frame: int
    features: Tensor | None
    pointer: Tensor
    doubt: Tensor | None = None
    quality: float = 1.0
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """What a bank keeps of tracked frames.

    Attributes:
        feature_frames: frames back from the newest at which memory features can no longer be read, by SAM 2's rule.
        pointer_frames: the same for pointers.
        quality: where positive, the other rule holds: quality that a frame needs for its features to be kept.
        pool: how many of those frames are kept, by the other rule.
    """

    feature_frames: int
    pointer_frames: int
    quality: float = 0.0
    pool: int = 0


@dataclass(slots=True)
class MemoryBank:
    """The bounded memory of N objects: entries by frame number."""

    conditioning: dict[int, MemoryEntry] = field(default_factory=dict)
    recent: dict[int, MemoryEntry] = field(default_factory=dict)

    def remember_prompted(self, entry: MemoryEntry) -> None:
        """Keep a conditioning frame; beyond `MAX_CONDITIONING` the oldest but the first is forgotten."""
        self.recent.pop(entry.frame, None)
        self.conditioning[entry.frame] = entry
        if len(self.conditioning) > MAX_CONDITIONING:
            del self.conditioning[list(self.conditioning)[1]]

    def remember(self, entry: MemoryEntry, kept: Retention) -> None:
        """Keep a tracked frame; what can no longer be read loses its features, then its pointer."""
        self.recent[entry.frame] = entry
        readable = self._readable(entry, kept)
        for frame, old in list(self.recent.items()):
            if frame in readable:
                continue
            if abs(entry.frame - frame) >= kept.pointer_frames:
                del self.recent[frame]
            elif old.features is not None:
                self.recent[frame] = replace(old, features=None, doubt=None, reading=None)

    def _readable(self, newest: MemoryEntry, kept: Retention) -> set[int]:
        """Frames whose features some later frame may read."""
        if kept.quality <= 0:
            return {frame for frame in self.recent if abs(newest.frame - frame) < kept.feature_frames}
        good = [f for f, e in self.recent.items() if e.features is not None and e.quality >= kept.quality]
        latest = list(self.recent)[-2:]  # the newest is read by the next frame, the one before where that is corrected
        return {*latest, *good[-kept.pool - 1 :]}  # one more, as the newest is not of the pool

    def last(self, frame: int, direction: int) -> MemoryEntry | None:
        """The entry of the frame before, prompted or not, if there is one."""
        before = frame - direction
        return self.recent.get(before) or self.conditioning.get(before)


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a bank a frame reads.

    Attributes:
        spatial: pairs of recency (see `MemoryTokens`) and entry.
        pointers: pairs of age in frames and entry.
        latest: the entry nearest in time, which says where the object is in doubt.
    """

    spatial: tuple[tuple[int, MemoryEntry], ...]
    pointers: tuple[tuple[int, MemoryEntry], ...]
    latest: MemoryEntry

    @property
    def layout(self) -> tuple[int, int, int]:
        """Numbers of memories, of pointers, and of the conditioning frames among the memories.

        Objects of equal layout go through attention in one batch.
        """
        return len(self.spatial), len(self.pointers), sum(recency == 0 for recency, _ in self.spatial)


def select_recent(model: Sam2, bank: MemoryBank, frame: int, direction: int) -> Selection:
    """SAM 2's selection for the given frame when tracking forward (`direction` 1) or in reverse (−1)."""
    spatial = [(0, entry) for entry in bank.conditioning.values()]
    for recency in range(1, model.num_maskmem):
        entry = bank.recent.get(frame - direction * (model.num_maskmem - recency))
        if entry is not None:
            spatial.append((recency, entry))
    return _selection(model, bank, frame, direction, spatial)


def select_best(model: Sam2, bank: MemoryBank, frame: int, direction: int, kept: Retention) -> Selection:
    """Conditioning frames, the last frame, and the best of the latest `kept.pool` frames of at least `kept.quality`.

    They count as consecutive: the newest has the recency of the last frame, whatever lies between. Pointers are
    selected as by SAM 2.
    """
    last = bank.recent.get(frame - direction)
    past = [e for e in bank.recent.values() if (frame - e.frame) * direction > 0 and e is not last]
    good = [e for e in past if e.features is not None and e.quality >= kept.quality]
    pool = good[max(len(good) - kept.pool, 0) :]
    room = model.num_maskmem - 1 - (last is not None)
    order = sorted(range(len(pool)), key=lambda i: (pool[i].quality, i), reverse=True)[:room]
    chosen = [pool[i] for i in sorted(order)] + ([] if last is None else [last])
    first = model.num_maskmem - len(chosen)
    spatial = [(0, entry) for entry in bank.conditioning.values()] + list(enumerate(chosen, first))
    return _selection(model, bank, frame, direction, spatial)


def _selection(
    model: Sam2, bank: MemoryBank, frame: int, direction: int, spatial: Sequence[tuple[int, MemoryEntry]]
) -> Selection:
    latest = min((entry for _, entry in spatial), key=lambda entry: abs(frame - entry.frame))
    return Selection(tuple(spatial), _select_pointers(model, bank, frame, direction), latest)


def _select_pointers(model: Sam2, bank: MemoryBank, frame: int, direction: int) -> tuple[tuple[int, MemoryEntry], ...]:
    pointers = []
    for entry in bank.conditioning.values():
        age = (frame - entry.frame) * direction
        if age >= 0 or not model.only_obj_ptrs_in_the_past_for_eval:
            pointers.append((age, entry))
    for age in range(1, model.max_obj_ptrs_in_encoder):
        recent = bank.recent.get(frame - direction * age)
        if recent is not None:
            pointers.append((age, recent))
    return tuple(pointers)


def gather(
    selections: Sequence[Selection],
    *,
    age_span: int,
    read: float | Tensor = 0.0,
    anchor: float = 0.0,
    share: Share | None = None,
) -> MemoryTokens:
    """Stack selections of one layout into the tokens that attention reads.

    Args:
        selections: one per bank, of equally many objects; these follow one another on the first axis of the result.
        age_span: the age in frames that counts as 1 in the pointers' temporal encoding.
        read: β, how much less doubtful cells are read; 0 is SAM 2's attention.
        anchor: γ, how much more conditioning frames are read; 0 is SAM 2's attention.
        share: how many cells are read, where not all are.
    """
    # channels last, as the tracker's entries are and as attention wants its tokens
    features = [_features(entry).permute(0, 2, 3, 1) for selection in selections for _, entry in selection.spatial]
    spatial = torch.stack(features, dim=1).unflatten(1, (len(selections), -1)).transpose(0, 1).flatten(0, 1)
    pointers = [torch.stack([entry.pointer for _, entry in selection.pointers], dim=1) for selection in selections]
    stacked = torch.cat(pointers)
    biased = acts(read) or acts(anchor)
    biases = [_bias(selection, read, anchor) for selection in selections] if biased else []
    ages = [[float(age) for age, _ in selection.pointers] for selection in selections]
    return MemoryTokens(
        spatial.permute(0, 1, 4, 2, 3),
        _recency(selections, len(features[0]), stacked.device),
        stacked,
        to_device(ages, stacked.device) / max(age_span, 1),
        torch.cat(biases) if biases else None,
        None if share is None else _glance(selections, share),
    )


def _recency(selections: Sequence[Selection], count: int, device: torch.device) -> Tensor:
    """N×M recency of what `count` objects of each selection read; one row, expanded, where it is the same for all."""
    rows = [[recency for recency, _ in selection.spatial] for selection in selections]
    if all(row == rows[0] for row in rows):
        return to_device(rows[:1], device).expand(count * len(rows), -1)
    return to_device(rows, device).repeat_interleave(count, dim=0)


def _glance(selections: Sequence[Selection], share: Share) -> Glance:
    """Which cells read everything, and what the others read; see `budget.py`."""
    doubtful = torch.cat([_reading(selection.latest).doubtful for selection in selections])
    whole, others = doubtful[:, : share.doubtful], doubtful[:, share.doubtful :]
    rows, worth = zip(*(_read_in_part(selection, share) for selection in selections), strict=True)
    height, width = _features(selections[0].latest).shape[-2:]
    own = spread((height, width), doubtful.device)[: share.own]
    return Glance(whole, others, torch.cat(rows), torch.cat(worth), own)


def _read_in_part(selection: Selection, share: Share) -> tuple[Tensor, Tensor]:
    """N×k of the M·h·w cells, and what is added to their scores."""
    given = sum(recency == 0 for recency, _ in selection.spatial)
    tracked = share.tracked[: len(selection.spatial) - given]
    rows, worth = [], []
    for number, count in enumerate([share.given] * given + list(reversed(tracked))):
        reading = _reading(selection.spatial[number][1])
        read = reading.order[:, :count]
        rows.append(read + number * reading.order.shape[1])
        worth.append(stand_in(reading.near, read))
    return torch.cat(rows, dim=1), torch.cat(worth, dim=1)


def _bias(selection: Selection, strength: float | Tensor, anchor: float) -> Tensor:
    """N×M×h×w: γ on conditioning frames; see also `propagation.read_bias`."""
    biases = []
    for recency, entry in selection.spatial:
        weight = torch.full_like(_features(entry)[:, 0], 0.0 if recency > 0 else anchor, dtype=torch.float32)
        biases.append(weight if entry.doubt is None else weight + read_bias(entry.doubt[:, 0], strength))
    return torch.stack(biases, dim=1)


def _reading(entry: MemoryEntry) -> Reading:
    if entry.reading is None:
        raise RuntimeError(f"frame {entry.frame} is read in part, but was remembered to be read whole")
    return entry.reading


def _features(entry: MemoryEntry) -> Tensor:
    if entry.features is None:
        raise RuntimeError(f"frame {entry.frame} is read after its memory features were dropped")
    return entry.features
