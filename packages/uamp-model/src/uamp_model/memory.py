"""What an object remembers, and which of it a frame reads.

The rule is SAM 2's: all conditioning frames (those with a prompt), the last `num_maskmem` − 1 other frames' memory
features, and the object pointers of the conditioning frames and of the last 15 others. A bank keeps what the rule
can still read and nothing else, so its size does not depend on the length of the video. Shapes: see `types.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

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
    """

    frame: int
    features: Tensor | None
    pointer: Tensor


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

    def remember(self, entry: MemoryEntry, *, features_kept: int, pointers_kept: int) -> None:
        """Keep a tracked frame; frames too far from it to be read again lose their features, then their pointer."""
        self.recent[entry.frame] = entry
        for frame, old in list(self.recent.items()):
            distance = abs(entry.frame - frame)
            if distance >= pointers_kept:
                del self.recent[frame]
            elif distance >= features_kept and old.features is not None:
                self.recent[frame] = replace(old, features=None)


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a bank a frame reads.

    Attributes:
        spatial: pairs of recency (see `MemoryTokens`) and entry.
        pointers: pairs of age in frames and entry.
    """

    spatial: tuple[tuple[int, MemoryEntry], ...]
    pointers: tuple[tuple[int, MemoryEntry], ...]

    @property
    def layout(self) -> tuple[int, int]:
        """Numbers of memories and pointers: objects of equal layout go through attention in one batch."""
        return len(self.spatial), len(self.pointers)


def select_recent(model: Sam2, bank: MemoryBank, frame: int, direction: int) -> Selection:
    """SAM 2's selection for the given frame when tracking forward (`direction` 1) or in reverse (−1)."""
    spatial = [(0, entry) for entry in bank.conditioning.values()]
    for recency in range(1, model.num_maskmem):
        entry = bank.recent.get(frame - direction * (model.num_maskmem - recency))
        if entry is not None:
            spatial.append((recency, entry))
    pointers = []
    for entry in bank.conditioning.values():
        age = (frame - entry.frame) * direction
        if age >= 0 or not model.only_obj_ptrs_in_the_past_for_eval:
            pointers.append((age, entry))
    for age in range(1, model.max_obj_ptrs_in_encoder):
        entry = bank.recent.get(frame - direction * age)
        if entry is not None:
            pointers.append((age, entry))
    return Selection(tuple(spatial), tuple(pointers))


def gather(selections: Sequence[Selection], *, age_span: int) -> MemoryTokens:
    """Stack selections of one layout into the tokens that attention reads.

    Args:
        selections: one per bank; their objects follow one another on the first axis of the result.
        age_span: the age in frames that counts as 1 in the pointers' temporal encoding.
    """
    spatial, recency, pointers, ages = [], [], [], []
    for selection in selections:
        features = torch.stack([_features(entry) for _, entry in selection.spatial], dim=1)
        pointer = torch.stack([entry.pointer for _, entry in selection.pointers], dim=1)
        n, device = len(features), features.device
        spatial.append(features)
        pointers.append(pointer)
        recency.append(torch.tensor([r for r, _ in selection.spatial], device=device).expand(n, -1))
        ages.append(torch.tensor([float(a) for a, _ in selection.pointers], device=device))
    stacked = torch.cat(pointers)
    return MemoryTokens(
        torch.cat(spatial).to(stacked.dtype), torch.cat(recency), stacked, torch.stack(ages) / max(age_span, 1)
    )


def _features(entry: MemoryEntry) -> Tensor:
    if entry.features is None:
        raise RuntimeError(f"frame {entry.frame} is read after its memory features were dropped")
    return entry.features
