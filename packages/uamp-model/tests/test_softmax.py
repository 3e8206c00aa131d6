"""Averages with fewer passes are those of softmax, whatever the scores."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from uamp_model.softmax import SCALE, average_by


def scores_of(product: Tensor) -> tuple[Callable[[slice], Tensor], list[slice]]:
    """What gives columns of the scores as often as it is asked, and which it was asked for."""
    asked: list[slice] = []

    def again(columns: slice) -> Tensor:
        asked.append(columns)
        return product[..., columns] * SCALE

    return again, asked


@pytest.mark.parametrize("shape", [(5, 40), (3, 5, 40)])
@pytest.mark.parametrize("offset", [-40.0, 0.0, 60.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_usual_scores_are_taken_as_they_are(shape: tuple[int, ...], offset: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    scores = (2 * torch.randn(shape) + offset).to(dtype)
    values = torch.randn(*shape[:-2], shape[-1], 7).to(dtype)
    again, asked = scores_of(scores)
    out = torch.empty(*shape[:-1], 7, dtype=dtype)
    assert average_by(again, values, out)
    assert len(asked) == 1
    rounding = {torch.float32: 1e-4, torch.float64: 1e-10, torch.bfloat16: 0.3}[dtype]  # 60 in bfloat16 is 60 ± 0.125
    torch.testing.assert_close(out, torch.softmax(scores, -1) @ values, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("shape", [(5, 40), (3, 5, 40)])
@pytest.mark.parametrize("columns", [1, 16, 40, 64])
def test_some_columns_at_a_time_are_the_same(shape: tuple[int, ...], columns: int) -> None:
    torch.manual_seed(0)
    scores, values = 2 * torch.randn(shape), torch.randn(*shape[:-2], shape[-1], 7)
    again, asked = scores_of(scores)
    out = torch.full((*shape[:-1], 7), torch.nan)
    assert average_by(again, values, out, columns=columns)
    assert len(asked) == -(-shape[-1] // columns)
    torch.testing.assert_close(out, torch.softmax(scores, -1) @ values)


@pytest.mark.parametrize("offset", [-1000.0, -70.0, 85.0, 1000.0])
@pytest.mark.parametrize("row", [0, 4])
@pytest.mark.parametrize("columns", [None, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_row_too_high_or_too_low_is_enough_for_softmax(
    offset: float, row: int, columns: int | None, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    scores = 2 * torch.randn(5, 40)
    scores[row] += offset
    scores = scores.to(dtype)
    values = torch.randn(40, 7).to(dtype)
    again, asked = scores_of(scores)
    out = torch.empty(5, 7, dtype=dtype)
    assert not average_by(again, values, out, columns=columns)
    assert len(asked) == -(-40 // (columns or 40)) + 1
    rounding = 1e-3 if dtype == torch.float32 else 0.1
    expected = torch.softmax((scores * SCALE) / SCALE, -1) @ values
    torch.testing.assert_close(out, expected, rtol=rounding, atol=rounding)


def test_what_failed_once_need_not_be_tried_again() -> None:
    again, asked = scores_of(torch.randn(5, 40))
    out = torch.empty(5, 7)
    assert not average_by(again, torch.randn(40, 7), out, boldly=False)
    assert len(asked) == 1


def test_what_is_not_a_number_stays_so() -> None:
    scores = torch.randn(5, 40)
    scores[2, 3] = torch.nan
    out = torch.empty(5, 7)
    assert not average_by(scores_of(scores)[0], torch.randn(40, 7), out, columns=16)
    assert out.isnan().all(dim=1).tolist() == [False, False, True, False, False]
