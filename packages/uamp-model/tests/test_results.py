import torch
from torch import Tensor
from uamp_model.focus import Window
from uamp_model.results import Seen, empty_result, make_result

SIZE = (40, 60)


def _seen(logits: Tensor, *, given: bool = False, correction: Tensor | None = None) -> Seen:
    return Seen(logits, logits, correction, None, torch.tensor(4.0), torch.tensor(0.5), given)


def _map(low: float, high: float) -> Tensor:
    """A map whose left half is low and whose right half is high."""
    return torch.tensor([low] * 8 + [high] * 8).expand(1, 1, 16, 16).clone()


def test_maps_are_enlarged_to_the_video() -> None:
    result = make_result({5: _seen(_map(-3, 3)), 2: _seen(_map(2, -2))}, 9, Window.whole(SIZE))
    assert (result.frame_index, result.object_ids) == (9, (5, 2))
    assert result.masks.shape == result.logits.shape == result.uncertainty.shape == (2, *SIZE)
    assert torch.equal(result.masks, result.logits > 0)
    assert result.masks[0, :, 40:].all()
    assert not result.masks[0, :, :20].any()
    assert torch.equal(result.masks[1], ~result.masks[0])
    assert result.scores.tolist() == [0.5, 0.5]


def test_a_mask_that_was_given_is_beyond_doubt_and_keeps_its_outline() -> None:
    vague = _map(-0.5, 0.5)
    picture = torch.zeros(*SIZE, 3, dtype=torch.uint8)
    picture[:, 33:] = 255
    window = Window.whole(SIZE)
    plain = make_result({1: _seen(vague), 2: _seen(vague)}, 0, window)
    result = make_result({1: _seen(vague), 2: _seen(vague, given=True)}, 0, window, picture=picture, outline=1.0)
    assert result.uncertainty[0].min() > 0.2
    assert result.uncertainty[1].max() == 0
    assert torch.equal(result.logits[1], plain.logits[1])
    assert not torch.equal(result.logits[0], plain.logits[0])


def test_what_the_learned_head_said_is_added_to_the_doubt() -> None:
    sure = _map(-9, 9)
    window = Window.whole(SIZE)
    plain, corrected = (make_result({1: _seen(sure, correction=c)}, 0, window) for c in (None, _map(0.0, 0.4)))
    change = corrected.uncertainty - plain.uncertainty
    assert torch.allclose(change[0, :, 40:], torch.full((40, 20), 0.4))
    assert change[0, :, :20].abs().max() < 1e-6


def test_nothing_is_seen_outside_the_window() -> None:
    window = Window(top=5, left=10, height=20, width=20, frame=SIZE)
    result = make_result({1: _seen(_map(3, 3))}, 0, window)
    assert result.masks.sum() == 400
    assert result.masks[0, 5:25, 10:30].all()


def test_a_frame_without_objects_has_empty_maps() -> None:
    result = empty_result(3, SIZE, torch.device("cpu"))
    assert (result.frame_index, result.object_ids) == (3, ())
    assert result.masks.shape == result.logits.shape == result.uncertainty.shape == (0, *SIZE)
    assert result.masks.dtype == torch.bool
    assert result.scores.shape == (0,)
