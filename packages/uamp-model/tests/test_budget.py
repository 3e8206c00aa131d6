"""Reading a share of the memory: which cells, and what it does to masks."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from uamp_model import attention
from uamp_model.attention import Part, Tokens, attend
from uamp_model.budget import Share, check_budget, informative_cells, share_of, stand_in
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
    assert share_of(0.5, 100, 7) == Share((100, 100, 50), 50), "the newest frames whole"
    assert share_of(2 / 7, 100, 7) == Share((100,), 29)


@pytest.mark.parametrize("budget", [0.0, 0.1, 1.5, float("nan")])
def test_no_such_budget(budget: float) -> None:
    with pytest.raises(InputError, match=r"from 0\.2 to 1"):
        check_budget(budget)


def test_the_object_and_its_surroundings_come_first() -> None:
    logits = torch.full((2, 1, 64, 64), -5.0)
    logits[0, :, 16:24, 32:40] = 5  # cells 4–5 × 8–9
    kept = informative_cells(logits, torch.zeros_like(logits), (16, 16), 30)
    assert kept.shape == (2, 30)
    assert all(len(set(row.tolist())) == 30 for row in kept)
    assert {(int(i) // 16, int(i) % 16) for i in kept[0, :4]} == {(4, 8), (4, 9), (5, 8), (5, 9)}
    found = {(int(i) // 16, int(i) % 16) for i in kept[0]}
    assert {(y, x) for y in range(3, 7) for x in range(7, 11)} <= found
    assert {(2, 2), (2, 14), (14, 2), (14, 14)} <= found


def test_sure_cells_come_before_doubtful_ones() -> None:
    logits = torch.full((1, 1, 64, 64), 5.0)
    uncertainty = torch.zeros_like(logits)
    uncertainty[..., :32] = 1
    kept = informative_cells(logits, uncertainty, (16, 16), 128)
    assert (kept % 16 >= 8).all()


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


def test_cells_that_stand_in_for_others_are_read_like_copies(model: Sam2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uamp_model.budget.STAND_IN", 1.0)
    cells = (SIZE // 16) ** 2
    now, position = torch.randn(1, cells, 128), torch.randn(1, cells, 128)
    values, keys = torch.randn(1, 2 * cells + 4, 64), torch.randn(1, 2 * cells + 4, 64)
    given, tracked, pointers = slice(0, cells), slice(cells, 2 * cells), slice(2 * cells, None)
    bias = torch.zeros(1, 2 * cells + 4)
    bias[:, tracked] = stand_in(3 * cells, cells)

    def copied(tokens: Tensor) -> Tensor:
        return torch.cat([tokens[:, part] for part in (given, tracked, tracked, tracked, pointers)], dim=1)

    with torch.inference_mode():
        read = attend(model.memory_attention, now, position, Tokens(values, keys, 2 * cells, bias=bias))
        many = attend(model.memory_attention, now, position, Tokens(copied(values), copied(keys), 4 * cells))
        torch.testing.assert_close(read, many, rtol=1e-4, atol=1e-5)


def test_what_is_read_of_tracked_frames_stands_in_for_the_rest(model: Sam2) -> None:
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
        read = sum(part.shape[1] for part in tokens.kept if part is not None)
        assert (tokens.bias[:, 0] == 0).all()
        expected = torch.full_like(tokens.bias[:, 1], stand_in(min(t, 6) * cells, read))
        torch.testing.assert_close(tokens.bias[:, 1], expected)


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
        for budget, exact in ((0.25, False), (0.25, True), (1.0, True))
    )
    apart = 0.0
    for t, frame in enumerate(clip(9)):
        prompts = {1: Prompt.box(30, 20, 60, 50), 2: Prompt.points([[80, 70]])} if t == 0 else None
        found, expected = fast.step(frame, prompts).logits, plain.step(frame, prompts).logits
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-3)  # memories are kept in bfloat16
        apart = max(apart, float((whole.step(frame, prompts).logits - expected).abs().max()))
    assert apart > 1e-2, "reading everything is something else"
