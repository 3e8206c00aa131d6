"""Reading a share of the memory: which cells, and what it does to masks."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from uamp_model import attention
from uamp_model.attention import Part, Tokens, attend
from uamp_model.budget import Share, check_budget, near_object, reading_order, share_of, spread, stand_in
from uamp_model.errors import InputError
from uamp_model.sam2 import Sam2, build_model
from uamp_model.tracker import VideoTracker
from uamp_model.types import Prompt

SIZE = 128


@pytest.fixture(scope="module")
def model() -> Sam2:
    torch.manual_seed(0)
    return build_model("nano", image_size=SIZE)


def clip(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 80, (count, 90, 120, 3)).astype(np.uint8)
    for t, frame in enumerate(frames):
        frame[20 + t : 50 + t, 30 + t : 60 + t] = 220
    return list(frames)


def test_a_budget_counts_all_memories() -> None:
    for budget in (0.2, 0.25, 0.5, 0.75):
        share = share_of(budget, 4096, 7)
        assert share is not None
        assert (4096 + sum(share.tracked)) / (7 * 4096) == pytest.approx(budget, abs=1e-3)
        assert share.own == round(budget * 4096)
    assert share_of(1.0, 4096, 7) is None
    assert share_of(0.25, 600, 7) == Share((150, 60, 60, 60, 60, 60), 150), "a third for the newest frame"
    assert share_of(0.9, 100, 7) == Share((100, 86, 86, 86, 86, 86), 90), "no more than there is"


@pytest.mark.parametrize("budget", [0.0, 0.1, 1.5, float("nan")])
def test_no_such_budget(budget: float) -> None:
    with pytest.raises(InputError, match=r"from 0\.2 to 1"):
        check_budget(budget)


def test_any_first_part_of_the_cells_lies_evenly() -> None:
    order = spread((28, 28))
    assert sorted(order.tolist()) == list(range(28 * 28))
    quarter = order[: 14 * 14]
    assert set(quarter.tolist()) == {28 * y + x for y in range(0, 28, 2) for x in range(0, 28, 2)}
    for count in (49, 98, 300):
        quadrants = [(order[:count] // 28 >= 14) * 2 + (order[:count] % 28 >= 14) == number for number in range(4)]
        assert all(abs(int(part.sum()) - count / 4) <= 0.1 * count for part in quadrants)


def test_most_of_what_is_read_is_near_the_object_and_some_everywhere() -> None:
    logits = torch.full((2, 1, 64, 64), -5.0)
    logits[0, :, 16:32, 32:48] = 5  # cells 4–7 × 8–11 of 16 × 16, with those around them 6 × 6
    near = near_object(logits, (16, 16))
    assert near[0].sum() == 36
    assert not near[1].any()
    order = reading_order(near, (16, 16))
    assert all(sorted(row.tolist()) == list(range(256)) for row in order)
    for count in (10, 20, 40):
        assert near[0, order[0, :count]].sum() == pytest.approx(0.7 * count, abs=1)
    assert near[0, order[0, :120]].sum() == 36, "no more than there are"
    assert torch.equal(order[1], spread((16, 16))), "where there is no object, an even part of everything"


def test_what_is_read_stands_in_for_the_rest_of_its_kind() -> None:
    near = torch.zeros(1, 100, dtype=torch.bool)
    near[:, :20] = True
    read = torch.tensor([[0, 1, 2, 3, 4, 50, 51]])
    worth = stand_in(near, read)
    torch.testing.assert_close(worth[0, :20].exp(), torch.full((20,), 4.0))
    torch.testing.assert_close(worth[0, 20:].exp(), torch.full((80,), 40.0))
    assert (stand_in(near, torch.arange(100)[None]) == 0).all(), "nothing where all are read"


def test_reading_the_kept_cells_is_reading_with_the_others_hidden(model: Sam2) -> None:
    cells = (SIZE // 16) ** 2
    now, values, keys = torch.randn(1, cells, 128), torch.randn(2, cells + 4, 64), torch.randn(2, cells + 4, 64)
    kept = torch.stack([torch.randperm(cells)[:20].sort().values for _ in range(2)])
    hidden = torch.full((2, cells + 4), -torch.inf).scatter(1, kept, 0.0)
    hidden[:, cells:] = 0
    rows = torch.cat([kept, torch.arange(cells, cells + 4).expand(2, -1)], dim=1).unsqueeze(-1).expand(-1, -1, 64)
    position = torch.randn(1, cells, 128)
    with torch.inference_mode():
        whole = attend(model.memory_attention, now, position, Tokens(values, keys, cells, bias=hidden))
        part = Tokens(values.gather(1, rows), keys.gather(1, rows), 20, kept)
        torch.testing.assert_close(attend(model.memory_attention, now, position, part), whole, rtol=1e-4, atol=1e-5)


def test_cells_that_stand_in_for_others_are_read_like_copies(model: Sam2) -> None:
    cells = (SIZE // 16) ** 2
    now, position = torch.randn(1, cells, 128), torch.randn(1, cells, 128)
    values, keys = torch.randn(1, 2 * cells + 4, 64), torch.randn(1, 2 * cells + 4, 64)
    given, tracked, pointers = slice(0, cells), slice(cells, 2 * cells), slice(2 * cells, None)
    bias = torch.zeros(1, 2 * cells + 4)
    nowhere = torch.zeros(1, 3 * cells, dtype=torch.bool)
    bias[:, tracked] = stand_in(nowhere, torch.arange(cells)[None])[:, :cells]

    def copied(tokens: Tensor) -> Tensor:
        return torch.cat([tokens[:, part] for part in (given, tracked, tracked, tracked, pointers)], dim=1)

    with torch.inference_mode():
        read = attend(model.memory_attention, now, position, Tokens(values, keys, 2 * cells, bias=bias))
        many = attend(model.memory_attention, now, position, Tokens(copied(values), copied(keys), 4 * cells))
        torch.testing.assert_close(read, many, rtol=1e-4, atol=1e-5)


def test_every_frame_counts_for_all_of_its_cells(model: Sam2) -> None:
    session = VideoTracker(model, name="nano", memory="sam2", memory_budget=0.25).start()
    cells = (SIZE // 16) ** 2
    for t, frame in enumerate(clip(9)):
        session.step(frame, {1: Prompt.box(30, 20, 60, 50)} if t == 0 else None)
        tokens = session._gather([session._select(1, t + 1)])
        if t == 0:
            assert tokens.bias is None, "the conditioning frame alone is read whole"
            continue
        assert tokens.kept is not None
        assert tokens.bias is not None
        assert tokens.own is not None
        assert len(tokens.kept) == 1 + min(t, 6)
        assert tokens.kept[0] is None
        assert (tokens.bias[:, 0] == 0).all()
        assert tokens.own.shape == (1, cells // 4)
        for part, bias in zip(tokens.kept[1:], tokens.bias[0, 1:].flatten(1), strict=True):
            assert part is not None
            assert bias[part[0]].exp().sum() == pytest.approx(cells, rel=0.02)


def test_own_cells_are_read_as_if_the_others_were_hidden(model: Sam2, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = (SIZE // 16) ** 2
    now, values, keys = torch.randn(1, cells, 128), torch.randn(2, cells + 4, 64), torch.randn(2, cells + 4, 64)
    position = torch.randn(1, cells, 128)
    some, all_of_them = (torch.stack([torch.randperm(cells)[:count] for _ in range(2)]) for count in (20, cells))

    def with_hidden(own: Part, asked: Tensor, values: Tensor, scratch: Any, cells: Tensor | None) -> Tensor:
        rotation = attention._rotation(own, asked)
        q, k = (attention._rotate(project(asked), rotation) for project in (own.q_proj, own.k_proj))
        hidden = None if cells is None else torch.full((2, k.shape[1]), -torch.inf).scatter(1, cells, 0.0)
        out: Tensor = own.out_proj(scratch.average(q, k, own.v_proj(values), hidden))
        return out

    def attended(own: Tensor | None) -> Tensor:
        return attend(model.memory_attention, now, position, Tokens(values, keys, cells, own=own))

    with torch.inference_mode():
        whole, in_other_order, part = (attended(own) for own in (None, all_of_them, some))
        torch.testing.assert_close(in_other_order, whole, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(part, whole, atol=1e-3)
        monkeypatch.setattr(attention, "_attend_self", with_hidden)
        torch.testing.assert_close(part, attended(some), rtol=1e-4, atol=1e-5)


def test_the_whole_budget_changes_nothing_and_less_does(model: Sam2) -> None:
    sessions = {
        budget: VideoTracker(model, name="nano", memory="sam2", memory_budget=budget).start() for budget in (1.0, 0.25)
    }
    plain = VideoTracker(model, name="nano", memory="sam2").start()
    prompts = {0: {1: Prompt.box(30, 20, 60, 50), 2: Prompt.points([[80, 70]])}, 4: {3: Prompt.box(10, 10, 40, 40)}}
    less_differs = False
    for t, frame in enumerate(clip(10)):
        expected = plain.step(frame, prompts.get(t))
        found = {budget: session.step(frame, prompts.get(t)) for budget, session in sessions.items()}
        assert torch.equal(found[1.0].logits, expected.logits)
        assert found[0.25].logits.shape == expected.logits.shape
        less_differs = not torch.equal(found[0.25].logits, expected.logits)
    assert less_differs


def test_exact_trackers_may_have_a_budget(model: Sam2) -> None:
    session = VideoTracker(model, name="nano", memory="sam2", memory_budget=0.5, exact=True).start()
    for t, frame in enumerate(clip(4)):
        result = session.step(frame, {1: Prompt.box(30, 20, 60, 50)} if t == 0 else None)
        assert result.logits.isfinite().all()


def test_exact_trackers_read_the_same_cells(model: Sam2) -> None:
    """Those compute plainly, with the sam2 package's parts and the cells that are not read at minus infinity."""
    fast, plain, whole = (
        VideoTracker(model, name="nano", memory="sam2", memory_budget=budget, exact=exact).start()
        for budget, exact in ((0.2, False), (0.2, True), (1.0, True))
    )
    apart = 0.0
    for t, frame in enumerate(clip(14)):
        prompts = {1: Prompt.box(30, 20, 60, 50), 2: Prompt.points([[80, 70]])} if t == 0 else None
        found, expected = fast.step(frame, prompts).logits, plain.step(frame, prompts).logits
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-3)  # memories are kept in bfloat16
        apart = max(apart, float((whole.step(frame, prompts).logits - expected).abs().max()))
    assert apart > 1e-2, "reading everything is something else"
