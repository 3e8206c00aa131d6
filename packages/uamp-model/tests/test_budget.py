"""Reading a share of the memory: which cells, and what it does to masks."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from uamp_model.attention import Glance, Tokens, attend
from uamp_model.budget import Share, by_doubt, check_budget, near_object, reading_order, share_of, spread, stand_in
from uamp_model.errors import InputError
from uamp_model.forms import FAST
from uamp_model.sam2 import ImageFeatures, MemoryTokens, Sam2, attend_memory, build_model
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


def test_a_budget_counts_all_pairs_of_cells() -> None:
    cells = 4096
    for budget in (0.2, 0.25, 0.5, 0.75):
        share = share_of(budget, cells, 7)
        assert share is not None
        others, read = cells - share.doubtful, share.given + sum(share.tracked)
        assert (share.doubtful * 7 * cells + others * read) / (7 * cells**2) == pytest.approx(budget, abs=1e-3)
        assert (share.doubtful * cells + others * share.own) / cells**2 == pytest.approx(budget, abs=1e-3)
    assert share_of(1.0, cells, 7) is None
    assert share_of(0.25, 600, 7) == Share(60, 300, (133, 53, 53, 53, 53, 53), 100), "a third for the newest frame"
    assert share_of(0.9, 100, 7) == Share(36, 100, (100, 78, 78, 78, 78, 78), 84), "no more than there is"


def test_of_the_smallest_input_some_cell_reads_everything() -> None:
    share = share_of(0.2, 4, 7)
    assert share is not None
    assert share.doubtful == 1


@pytest.mark.parametrize("budget", [0.0, 0.1, 1.5, float("nan"), "0.5", None])
def test_no_such_budget(budget: Any) -> None:
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


def test_the_most_doubtful_cells_come_first() -> None:
    doubt = torch.zeros(2, 1, 64, 64)
    doubt[0, :, 20:24, 36:40], doubt[0, :, 20:24, 32:36] = 0.9, 0.5
    order = by_doubt(doubt, (16, 16))
    assert order[0, :2].tolist() == [5 * 16 + 9, 5 * 16 + 8]
    assert sorted(order[0].tolist()) == list(range(256))
    assert torch.equal(order[1], spread((16, 16))), "where nothing is in doubt, an even part of everything"


def test_what_is_read_stands_in_for_the_rest_of_its_kind() -> None:
    near = torch.zeros(1, 100, dtype=torch.bool)
    near[:, :20] = True
    worth = stand_in(near, torch.tensor([[0, 1, 2, 3, 4, 50, 51]]))
    torch.testing.assert_close(worth[0].exp(), torch.tensor([4.0, 4, 4, 4, 4, 40, 40]))
    assert (stand_in(near, torch.arange(100)[None]) == 0).all(), "nothing where all are read"


def some_of(count: int, of: int) -> Tensor:
    """Two objects' cells, other ones for each."""
    return torch.stack([torch.randperm(of)[:count] for _ in range(2)])


def test_a_glance_at_everything_is_reading_everything(model: Sam2) -> None:
    cells = (SIZE // 16) ** 2
    now, values, keys = torch.randn(1, cells, 128), torch.randn(2, cells + 4, 64), torch.randn(2, cells + 4, 64)
    position, bias = torch.randn(1, cells, 128), torch.randn(2, cells + 4)
    order = some_of(cells, cells)
    glance = Glance(order[:, :9], order[:, 9:], some_of(cells, cells), torch.zeros(2, cells), torch.randperm(cells))
    with torch.inference_mode():
        whole = attend(model.memory_attention, now, position, Tokens(values, keys, cells, bias))
        in_two = attend(model.memory_attention, now, position, Tokens(values, keys, cells, bias, glance))
        torch.testing.assert_close(in_two, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("biased", [False, True])
def test_a_glance_is_reading_with_the_rest_hidden(model: Sam2, *, biased: bool) -> None:
    """The plain form hides from the sam2 package's parts what is not read, at minus infinity."""
    side = SIZE // 16
    cells = side**2
    order = some_of(cells, cells)
    glance = Glance(order[:, :9], order[:, 9:], some_of(40, 3 * cells), torch.rand(2, 40), torch.randperm(cells)[:20])
    given = (torch.randn(2, 3, 64, side, side), torch.tensor([[0, 5, 6]] * 2), torch.randn(2, 2, 128), torch.rand(1, 2))
    bias = torch.randn(2, 3, side, side) if biased else None
    image = torch.randn(1, 128, side, side).expand(2, -1, -1, -1)
    features = ImageFeatures(image, image, image, torch.randn(1, 128, side, side))
    with torch.inference_mode():
        plain, fast = (
            attend_memory(model, features, MemoryTokens(*given, bias=bias, glance=glance), fast=form)
            for form in (None, FAST)
        )
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
        whole = attend_memory(model, features, MemoryTokens(*given, bias=bias), fast=FAST)
        assert not torch.allclose(fast, whole, atol=1e-2), "reading everything is something else"


def test_cells_that_stand_in_for_others_are_read_like_copies(model: Sam2) -> None:
    cells = (SIZE // 16) ** 2
    now, position = torch.randn(1, cells, 128), torch.randn(1, cells, 128)
    values, keys = torch.randn(1, 2 * cells + 4, 64), torch.randn(1, 2 * cells + 4, 64)
    given, tracked, pointers = slice(0, cells), slice(cells, 2 * cells), slice(2 * cells, None)
    bias = torch.zeros(1, 2 * cells + 4)
    nowhere = torch.zeros(1, 3 * cells, dtype=torch.bool)
    bias[:, tracked] = stand_in(nowhere, torch.arange(cells)[None])

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
        assert tokens.glance is not None
        for number in range(1 + min(t, 6)):
            of_frame = tokens.glance.rows[0] // cells == number
            assert tokens.glance.worth[0, of_frame].exp().sum() == pytest.approx(cells, rel=0.02)
        assert sorted([*tokens.glance.whole[0].tolist(), *tokens.glance.others[0].tolist()]) == list(range(cells))


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
    apart, differences = 0.0, []
    for t, frame in enumerate(clip(14)):
        prompts = {1: Prompt.box(30, 20, 60, 50), 2: Prompt.points([[80, 70]])} if t == 0 else None
        found, expected = fast.step(frame, prompts).logits, plain.step(frame, prompts).logits
        differences.append(float((found - expected).abs().max()))  # memories are kept in bfloat16
        apart = max(apart, float((whole.step(frame, prompts).logits - expected).abs().max()))
    assert sorted(differences)[-5] < 1e-3, "but for frames on which cells of nearly equal doubt changed places"
    assert max(differences) < apart, "reading everything is something else"
    assert apart > 5e-3
