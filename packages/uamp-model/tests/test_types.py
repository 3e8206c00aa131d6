"""Prompts say what is wrong with them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from uamp_model import InputError, Prompt
from uamp_model.preprocess import prepare_mask, prepare_points


def test_a_box_is_two_labelled_corners_and_takes_points() -> None:
    prompt = Prompt.box(1, 2, 5, 9).with_points([[3, 4]], [0])
    assert prompt.labels.tolist() == [2, 3, 0]
    assert prompt.xy.tolist() == [[1, 2], [5, 9], [3, 4]]


@pytest.mark.parametrize("corners", [(5, 2, 1, 9), (1, 9, 5, 2), (1, 1, 1, 5)])
def test_a_reversed_box_is_refused(corners: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="reversed"):
        Prompt.box(*corners)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Prompt.box(float("nan"), 0, 1, 1), "finite"),
        (lambda: Prompt.points([]), "at least one"),
        (lambda: Prompt.points([[1, 1]], [1, 0]), "one label per point"),
        (lambda: Prompt.points([[1, 1]], [2]), "must be 1"),
        (lambda: Prompt.points([[1, 1]], [0.5]), "must be 1"),
        (lambda: Prompt.points([[5, 6, 1], [7, 8, 0]]), "P×2"),
        (lambda: Prompt.points([[5, 6], [7]]), "must be numbers"),
        (lambda: Prompt.points("ab"), "must be numbers"),
        (lambda: Prompt.box("a", 1, 2, 3), "must be numbers"),  # type: ignore[arg-type]
        (lambda: Prompt.box("9", "9", "10", "8"), "reversed"),  # type: ignore[arg-type]
        (lambda: Prompt.box(100, 100, 100 + 1e-7, 101), "no area"),
        (lambda: Prompt.box(0, 0, 1e39, 1), "finite"),
        (lambda: Prompt.mask([[1, 2], [3]]), "height×width"),
        (lambda: Prompt.mask(torch.ones(4, 4, requires_grad=True)), "height×width"),
        (lambda: Prompt.mask(torch.ones(4, 4, dtype=torch.bfloat16)), "height×width"),
        (lambda: Prompt.points(torch.ones(1, 2, requires_grad=True)), "must be numbers"),
        (lambda: Prompt.mask(np.zeros((4, 4))), "empty"),
        (lambda: Prompt.mask(np.full((4, 4), np.nan)), "no numbers"),
        (lambda: Prompt.mask(np.zeros((4, 4, 3))), "height×width"),
        (lambda: Prompt.mask(np.ones((4, 4))).with_points([[1, 1]]), "cannot be combined"),
    ],
)
def test_wrong_prompts_are_named(make: Callable[[], Prompt], match: str) -> None:
    with pytest.raises(InputError, match=match):
        make()


def test_a_prompt_keeps_what_it_was_given() -> None:
    xy = np.ones((1, 2), np.float32)
    prompt = Prompt.points(xy)
    xy[:] = 99
    assert prompt.xy.tolist() == [[1, 1]]


def test_points_are_scaled_to_the_input_and_boxes_cut_at_the_border() -> None:
    xy, labels = prepare_points(Prompt.box(-10, 5, 50, 200), height=100, width=50, size=256)
    assert xy[0].tolist() == [[0, pytest.approx(12.8)], [256, 256]]
    assert labels.tolist() == [[2, 3]]


@pytest.mark.parametrize("prompt", [Prompt.box(60, 0, 70, 10), Prompt.points([[10, 101]]), Prompt.points([[-1, 5]])])
def test_what_lies_outside_the_picture_is_refused(prompt: Prompt) -> None:
    with pytest.raises(InputError, match="outside the picture"):
        prepare_points(prompt, height=100, width=50, size=256)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="10×20"):
        prepare_mask(np.ones((20, 10), bool), height=10, width=20, size=64)


def test_an_object_smaller_than_an_input_pixel_survives_resizing() -> None:
    region = np.zeros((2000, 2000), bool)
    region[1000, 1000] = True
    assert prepare_mask(region, 2000, 2000, 64).sum() >= 1
