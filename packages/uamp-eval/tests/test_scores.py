import math

import numpy as np
import pytest
from uamp_eval.scores import FIGURES, ObjectResult, in_percent, seen_unseen_figures, sequence_figures, summarise


def result(sequence: str, number: int, j: list[float], f: list[float]) -> ObjectResult:
    return ObjectResult(sequence, number, tuple(map(str, range(len(j)))), np.array(j), np.array(f))


def test_global_figures_are_means_over_objects_not_over_sequences() -> None:
    objects = [
        result("camel", 1, [1.0] * 8, [0.5] * 8),
        result("dogs", 1, [0.0] * 8, [0.25] * 8),
        result("dogs", 2, [0.5] * 8, [0.75] * 8),
    ]
    summary = summarise(objects)
    assert list(summary) == ["global", "objects"]
    assert tuple(summary["global"]) == FIGURES
    assert list(summary["objects"]) == ["camel_1", "dogs_1", "dogs_2"]
    assert summary["global"]["J-Mean"] == pytest.approx(0.5, abs=1e-15)
    assert summary["global"]["F-Mean"] == pytest.approx(0.5, abs=1e-15)
    # a half is not above a half
    assert summary["global"]["J-Recall"] == pytest.approx(1 / 3)
    assert summary["global"]["F-Recall"] == pytest.approx(1 / 3)
    assert summary["objects"]["camel_1"] == dict(zip(FIGURES, (0.75, 1.0, 1.0, 0.0, 0.5, 0.0, 0.0), strict=True))
    assert sequence_figures(objects)["dogs"]["J&F-Mean"] == pytest.approx(0.375)


def test_decay_is_the_first_quarter_minus_the_last() -> None:
    summary = summarise([result("a", 1, [1.0] * 100 + [0.5] * 200 + [0.25] * 100, [1.0] * 400)])
    # 101 frames each: the official bins share the frame at their border
    assert summary["objects"]["a_1"]["J-Decay"] == pytest.approx((100.5 - 25.5) / 101)


def test_two_results_of_one_object_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="same sequence"):
        summarise([result("a", 1, [1.0], [1.0])] * 2)
    with pytest.raises(ValueError, match="no object"):
        summarise([])


def test_g_weighs_seen_and_unseen_categories_alike() -> None:
    objects = [
        result("a", 1, [1.0], [0.8]),
        result("a", 2, [0.5], [0.6]),
        result("b", 1, [0.3], [0.1]),
    ]
    figures = seen_unseen_figures(objects, {"a_1": True, "a_2": True, "b_1": False})
    assert figures["J-Seen"] == pytest.approx(0.75)
    assert figures["J-Unseen"] == pytest.approx(0.3)
    assert figures["F-Seen"] == pytest.approx(0.7)
    assert figures["F-Unseen"] == pytest.approx(0.1)
    assert figures["G"] == pytest.approx((0.75 + 0.3 + 0.7 + 0.1) / 4)


@pytest.mark.parametrize("seen", [{}, {"a_1": True, "b_1": None}, {"a_1": True, "b_1": True}])
def test_there_is_no_g_where_a_category_is_unknown_or_a_kind_is_missing(seen: dict[str, bool | None]) -> None:
    assert seen_unseen_figures([result("a", 1, [1.0], [1.0]), result("b", 1, [1.0], [1.0])], seen) == {}


def test_percent_has_no_minus_zero() -> None:
    assert in_percent(-0.0001) == "0.0"
    assert in_percent(0.90649) == "90.6"
    assert in_percent(-0.1234) == "-12.3"
    assert in_percent(math.nextafter(1, 0)) == "100.0"
