"""What a bank keeps and what a frame reads of it, by SAM 2's rule."""

import pytest
import torch
from uamp_model.memory import MAX_CONDITIONING, MemoryBank, MemoryEntry, Retention, Selection, gather, select_recent
from uamp_model.sam2 import Sam2, build_model


@pytest.fixture(scope="module")
def model() -> Sam2:
    return build_model("nano", image_size=64)


def entry(frame: int) -> MemoryEntry:
    return MemoryEntry(frame, torch.full((1, 64, 4, 4), float(frame)), torch.full((1, 128), float(frame)))


def filled(frames: range, model: Sam2, *, prompted: int) -> MemoryBank:
    bank = MemoryBank()
    for frame in frames:
        if frame == prompted:
            bank.remember_prompted(entry(frame))
        else:
            bank.remember(entry(frame), Retention(model.num_maskmem, model.max_obj_ptrs_in_encoder))
    return bank


def read(selection: Selection) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return [(r, e.frame) for r, e in selection.spatial], [(a, e.frame) for a, e in selection.pointers]


@pytest.mark.parametrize("direction", [1, -1])
def test_a_frame_reads_its_prompt_six_memories_and_fifteen_pointers(model: Sam2, direction: int) -> None:
    frames = range(30) if direction == 1 else range(59, 29, -1)
    bank = filled(frames, model, prompted=frames[0])
    now = frames[-1] + direction
    spatial, pointers = read(select_recent(model, bank, now, direction))
    assert spatial[0] == (0, frames[0])
    assert spatial[1:] == [(r, now - direction * (7 - r)) for r in range(1, 7)]
    assert pointers[0] == (30, frames[0])
    assert pointers[1:] == [(age, now - direction * age) for age in range(1, 16)]


def test_a_young_track_reads_what_there_is(model: Sam2) -> None:
    bank = filled(range(3), model, prompted=0)
    spatial, pointers = read(select_recent(model, bank, 3, 1))
    assert spatial == [(0, 0), (5, 1), (6, 2)]
    assert pointers == [(3, 0), (1, 2), (2, 1)]


def test_pointers_from_the_future_of_the_direction_are_left_out(model: Sam2) -> None:
    bank = filled(range(3), model, prompted=0)
    bank.remember_prompted(entry(9))
    spatial, pointers = read(select_recent(model, bank, 3, 1))
    assert (0, 9) in spatial
    assert 9 not in [frame for _, frame in pointers]


def test_a_bank_forgets_what_no_frame_can_read(model: Sam2) -> None:
    bank = filled(range(200), model, prompted=0)
    assert list(bank.conditioning) == [0]
    assert min(bank.recent) >= 199 - model.max_obj_ptrs_in_encoder
    assert sum(e.features is not None for e in bank.recent.values()) <= model.num_maskmem


def test_the_first_prompt_is_kept_and_old_ones_go() -> None:
    bank = MemoryBank()
    for frame in range(40):
        bank.remember_prompted(entry(frame))
    assert list(bank.conditioning) == [0, *range(40 - MAX_CONDITIONING + 1, 40)]


def test_gathered_objects_keep_their_own_values_and_times(model: Sam2) -> None:
    early, late = filled(range(4), model, prompted=0), filled(range(10, 14), model, prompted=10)
    selections = [select_recent(model, early, 4, 1), select_recent(model, late, 14, 1)]
    assert selections[0].layout == selections[1].layout
    tokens = gather(selections, age_span=15)
    assert tokens.spatial.shape == (2, 4, 64, 4, 4)
    assert tokens.spatial[:, :, 0, 0, 0].tolist() == [[0, 1, 2, 3], [10, 11, 12, 13]]
    assert tokens.pointers.shape == (2, 4, 128)
    assert tokens.recency[0].tolist() == [0, 4, 5, 6]


def test_an_anchor_weighs_conditioning_frames_alone(model: Sam2) -> None:
    bank = filled(range(6), model, prompted=0)
    bank.remember_prompted(entry(3))
    selection = select_recent(model, bank, 6, 1)
    given = [frame.frame for _, frame in selection.spatial]
    assert given == [0, 3, 1, 2, 4, 5]
    assert gather([selection], age_span=15).bias is None
    bias = gather([selection], age_span=15, anchor=0.7).bias
    assert bias is not None
    assert bias.shape == (1, 6, 4, 4)
    assert (bias[:, :2] == torch.tensor(0.7)).all()
    assert (bias[:, 2:] == 0).all()
