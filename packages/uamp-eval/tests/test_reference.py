"""The plain reference beside the definitions, pixel by pixel, and what the evaluation tool is known to answer."""

import math

import numpy as np
import pytest
from uamp_eval.reference import (
    Mask,
    reference_boundary,
    reference_f,
    reference_jaccard,
    reference_score_frame,
)

Pixels = list[tuple[int, int]]


def pixels_of_boundary(mask: Mask) -> Pixels:
    height, width = mask.shape
    pixels = []
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if any(v < height and u < width and mask[v, u] != mask[y, x] for v, u in neighbours):
                pixels.append((y, x))
    return pixels


def f_by_pixels(prediction: Mask, truth: Mask, radius: int) -> float:
    predicted, true = pixels_of_boundary(prediction), pixels_of_boundary(truth)
    if not predicted or not true:
        return float(predicted == true)

    def found_share(pixels: Pixels, others: Pixels) -> float:
        near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in pixels]
        return sum(near) / len(near)

    precision, recall = found_share(predicted, true), found_share(true, predicted)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def random_masks(seed: int) -> tuple[Mask, Mask]:
    """Two masks of an odd size: blocks, noise, or nearly nothing, often up to the border."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 25, 2)
    density = rng.choice([0.01, 0.1, 0.5, 0.95])
    side = int(rng.integers(1, 7))
    coarse = rng.random((2, height // side + 1, width // side + 1)) < density
    fine = coarse.repeat(side, axis=1).repeat(side, axis=2)[:, :height, :width]
    return fine[0], fine[1]


@pytest.mark.parametrize("seed", range(60))
def test_the_reference_equals_the_definitions(seed: int) -> None:
    prediction, truth = random_masks(seed)
    for mask in (prediction, truth):
        assert [(int(y), int(x)) for y, x in np.argwhere(reference_boundary(mask))] == pixels_of_boundary(mask)
    radius = math.ceil(0.008 * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))
    assert reference_f(prediction, truth) == pytest.approx(f_by_pixels(prediction, truth, radius), abs=1e-12)
    for wide in (2, 5, 40):
        expected = f_by_pixels(prediction, truth, wide)
        assert reference_f(prediction, truth, bound=wide) == pytest.approx(expected, abs=1e-12)
    pairs = list(zip(prediction.flat, truth.flat, strict=True))
    both, either = sum(p and t for p, t in pairs), sum(p or t for p, t in pairs)
    assert reference_jaccard(prediction, truth) == (both / either if either else 1)


def test_void_pixels_are_taken_out_of_both_masks() -> None:
    rng = np.random.default_rng(0)
    prediction, truth, void = rng.random((3, 12, 17)) < 0.5
    assert reference_jaccard(prediction, truth, void) == reference_jaccard(prediction & ~void, truth & ~void)
    assert reference_f(prediction, truth, void) == reference_f(prediction & ~void, truth & ~void)


def test_half_pixel_convention_and_borders() -> None:
    square = np.zeros((6, 6), bool)
    square[2:4, 2:4] = True
    # 3×3 pixels from the upper left neighbour on, less the one whose three neighbours are like it.
    ring = [[1, 1], [1, 2], [1, 3], [2, 1], [2, 3], [3, 1], [3, 2], [3, 3]]
    assert np.argwhere(reference_boundary(square)).tolist() == ring
    corner = np.zeros((3, 3), bool)
    corner[2, 2] = True
    assert np.argwhere(reference_boundary(corner)).tolist() == [[1, 1], [1, 2], [2, 1]]
    assert not reference_boundary(np.ones((3, 4), bool)).any()


def test_empty_masks() -> None:
    empty, some = np.zeros((5, 5), bool), np.eye(5, dtype=bool)
    assert (reference_jaccard(empty, empty), reference_f(empty, empty)) == (1, 1)
    assert (reference_f(some, empty), reference_f(empty, some)) == (0, 0)


def test_a_frame_is_scored_object_by_object() -> None:
    truth = np.array([[1, 1, 0, 2], [1, 1, 0, 2]], np.uint8)
    prediction = np.array([[1, 0, 0, 2], [1, 0, 0, 2]], np.uint8)
    j, f = reference_score_frame(prediction, truth, [2, 1, 9])
    assert j.tolist() == [1, 0.5, 1]
    assert f.tolist() == [1, 1, 1]
