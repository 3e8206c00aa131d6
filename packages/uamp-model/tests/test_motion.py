"""The motion filter: a proper covariance, a still box, batches, and a plain filter to compare with."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from uamp_model.motion import (
    MotionState,
    box_iou,
    expected_boxes,
    mask_boxes,
    predict_motion,
    start_motion,
    to_corners,
    to_motion_boxes,
    update_motion,
)

boxes = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(0.2, 5), st.floats(1, 400))


def _tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 4)


@given(st.lists(st.one_of(st.none(), boxes), min_size=1, max_size=30), boxes)
def test_covariance_stays_symmetric_and_positive(
    seen: list[tuple[float, ...] | None], first: tuple[float, ...]
) -> None:
    state = start_motion(_tensor(first))
    for box in seen:
        state = predict_motion(state)
        if box is not None:
            state = update_motion(state, _tensor(box))
        assert torch.equal(state.covariance, state.covariance.transpose(1, 2))
        assert torch.linalg.eigvalsh(state.covariance).min() > 0
        assert torch.linalg.eigvalsh(expected_boxes(state)[1]).min() > 0


@given(boxes)
def test_a_still_box_stays(box: tuple[float, ...]) -> None:
    state = start_motion(_tensor(box))
    for _ in range(20):
        state = update_motion(predict_motion(state), _tensor(box))
    torch.testing.assert_close(expected_boxes(predict_motion(state))[0], _tensor(box), rtol=1e-9, atol=1e-9)


def test_a_steady_motion_is_foreseen() -> None:
    state = start_motion(_tensor([10, 20, 0.5, 40]))
    for t in range(1, 40):
        state = update_motion(predict_motion(state), _tensor([10 + 3 * t, 20 - t, 0.5, 40]))
    expected = expected_boxes(predict_motion(state))[0]
    torch.testing.assert_close(expected, _tensor([10 + 3 * 40, 20 - 40, 0.5, 40]), rtol=0, atol=0.05)


def test_doubt_grows_while_nothing_is_seen() -> None:
    state = predict_motion(start_motion(_tensor([10, 20, 0.5, 40])))
    later = predict_motion(predict_motion(state))
    assert torch.det(expected_boxes(later)[1]) > torch.det(expected_boxes(state)[1])


@given(st.lists(st.tuples(boxes, boxes), min_size=2, max_size=6))
def test_a_batch_equals_single_filters(pairs: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    first, second = _tensor([a for a, _ in pairs]), _tensor([b for _, b in pairs])
    together = predict_motion(update_motion(predict_motion(start_motion(first)), second))
    apart = MotionState.join(
        [
            predict_motion(update_motion(predict_motion(start_motion(a[None])), b[None]))
            for a, b in zip(first, second, strict=True)
        ]
    )
    torch.testing.assert_close(together.mean, apart.mean, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(together.covariance, apart.covariance, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(together.pick(slice(0, 1)).mean, apart.mean[:1], rtol=1e-12, atol=1e-9)


def test_update_equals_the_textbook() -> None:
    """The Kalman equations as every textbook has them, with an explicit inverse, in numpy."""
    state = predict_motion(start_motion(_tensor([100, 80, 0.7, 60])))
    measured = np.array([104.0, 79.0, 0.75, 58.0])
    mean, covariance = state.mean[0].numpy(), state.covariance[0].numpy()
    seen = np.eye(4, 8)
    noise = np.diag(np.square([60 / 20, 60 / 20, 0.1, 60 / 20]))
    gain = covariance @ seen.T @ np.linalg.inv(seen @ covariance @ seen.T + noise)
    new = update_motion(state, _tensor(measured))
    np.testing.assert_allclose(new.mean[0].numpy(), mean + gain @ (measured - seen @ mean), rtol=1e-10)
    np.testing.assert_allclose(new.covariance[0].numpy(), (np.eye(8) - gain @ seen) @ covariance, rtol=1e-8, atol=1e-9)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_mask_boxes_are_tight(height: int, width: int, seed: int, share: float) -> None:
    masks = torch.from_numpy(np.random.default_rng(seed).random((2, 3, height, width)) < share * 0.2)
    corners, found = mask_boxes(masks)
    for mask, corner, there in zip(masks.flatten(0, 1), corners.flatten(0, 1), found.flatten(), strict=True):
        rows, columns = np.nonzero(mask.numpy())
        assert bool(there) == (len(rows) > 0)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]
        assert corner.tolist() == expected


@given(boxes)
def test_box_forms_are_inverse(box: tuple[float, ...]) -> None:
    torch.testing.assert_close(to_motion_boxes(to_corners(_tensor(box))), _tensor(box), rtol=1e-9, atol=1e-6)


def test_box_iou_known_values() -> None:
    unit = _tensor([0, 0, 2, 2])
    others = _tensor([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [0, 0, 0, 0]])
    torch.testing.assert_close(box_iou(unit, others), torch.tensor([1, 1 / 3, 0, 0], dtype=torch.float64))
