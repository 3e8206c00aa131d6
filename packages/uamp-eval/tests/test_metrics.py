"""The metrics beside the plain reference, and by hand."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from uamp_eval.metrics import (
    Mask,
    boundary_f,
    clip_scores,
    jaccard,
    matching_radius,
    object_masks,
    object_scores,
    score_frame,
    sequence_scores,
)
from uamp_eval.reference import reference_f, reference_jaccard, reference_score_frame

Ids = NDArray[np.uint8]


def ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> Mask:
    y, x = np.indices(shape)
    inside: Mask = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1
    return inside


sides = st.integers(1, 33)
fractions = st.floats(0, 1)


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, int]) -> Mask:
    """Draw nothing, everything, single pixels, noise, or a few ellipses that may be cut by the borders."""
    kind = draw(st.sampled_from(["empty", "full", "pixel", "noise", "blobs"]))
    mask = np.full(shape, kind == "full")
    if kind == "pixel":
        mask[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = True
    elif kind == "noise":
        mask = draw(arrays(np.bool_, shape))
    elif kind == "blobs":
        for _ in range(draw(st.integers(1, 3))):
            centre = draw(fractions) * shape[0], draw(fractions) * shape[1]
            radii = 0.5 + draw(fractions) * shape[0] / 2, 0.5 + draw(fractions) * shape[1] / 2
            mask |= ellipse(shape, centre, radii)
    return mask


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask, Mask | None]:
    shape = draw(sides), draw(sides)
    prediction, truth = draw(masks(shape)), draw(masks(shape))
    if draw(st.booleans()):  # another memory layout, as slices and transposes of a caller's array have
        prediction, truth = np.asfortranarray(prediction), np.flip(np.flip(truth).copy())
    return prediction, truth, draw(st.none() | masks(shape))


@settings(max_examples=150, deadline=None)
@given(mask_pairs())
def test_jaccard_equals_the_reference(pair: tuple[Mask, Mask, Mask | None]) -> None:
    assert jaccard(*pair) == pytest.approx(reference_jaccard(*pair), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(mask_pairs(), st.sampled_from([0, 0.008, 0.08, 1, 3, 50]))
def test_boundary_f_equals_the_reference(pair: tuple[Mask, Mask, Mask | None], bound: float) -> None:
    assert boundary_f(*pair, bound=bound) == pytest.approx(reference_f(*pair, bound=bound), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(mask_pairs())
def test_measures_are_symmetric_bounded_and_one_for_equal_masks(pair: tuple[Mask, Mask, Mask | None]) -> None:
    prediction, truth, void = pair
    for measure in (jaccard, boundary_f):
        value = measure(prediction, truth, void)
        assert 0 <= value <= 1
        assert measure(truth, prediction, void) == pytest.approx(value, abs=1e-12)
        assert measure(truth, truth, void) == 1


def test_a_frame_of_real_size_equals_the_reference() -> None:
    # Sides where 0.008 of the diagonal rounds up to more than a pixel, with an object cut by two borders.
    shape = 161, 243
    truth = ellipse(shape, (150, 20), (60, 45)) | ellipse(shape, (40, 160), (20, 30))
    prediction = ellipse(shape, (148, 23), (57, 49)) | ellipse(shape, (44, 150), (22, 18))
    value = boundary_f(prediction, truth)
    assert value == pytest.approx(reference_f(prediction, truth), abs=1e-12)
    assert 0.1 < value < 0.9


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[Ids, Ids, list[int], Mask | None]:
    """Draw a truth, a prediction that is a moved, damaged copy or unrelated, ids of which some never show, and void."""
    shape = draw(sides), draw(sides)
    ids = draw(st.lists(st.integers(1, 255), min_size=1, max_size=12, unique=True))

    def labels() -> Ids:
        drawn = np.zeros(shape, np.uint8)
        for object_id in draw(st.permutations(ids)):
            drawn[draw(masks(shape))] = object_id
        return drawn

    truth = labels()
    prediction = labels()
    if draw(st.booleans()):
        moved = np.roll(truth, (draw(st.integers(-2, 2)), draw(st.integers(-2, 2))), (0, 1))
        prediction = np.where(draw(masks(shape)), prediction, moved)
    asked = draw(st.lists(st.sampled_from(ids) | st.integers(1, 255), max_size=8))
    return prediction, truth, asked, draw(st.none() | masks(shape))


@settings(max_examples=200, deadline=None)
@given(label_maps())
def test_score_frame_equals_the_reference(frame: tuple[Ids, Ids, list[int], Mask | None]) -> None:
    np.testing.assert_allclose(score_frame(*frame), reference_score_frame(*frame), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_score_frame_of_real_size_equals_the_reference(seed: int) -> None:
    # 480p, with objects that overlap, leave the frame, are moved, lost, made up, or only a pixel large.
    rng = np.random.default_rng(seed)
    shape = 480, 854
    truth, prediction = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for object_id in range(1, 9):
        centre, radii = rng.random(2) * shape, 5 + rng.random(2) * 150
        truth[ellipse(shape, tuple(centre), tuple(radii))] = object_id
        prediction[ellipse(shape, tuple(centre + rng.normal(0, 4, 2)), tuple(radii + rng.normal(0, 2, 2)))] = object_id
    truth[tuple(rng.integers(shape))] = 9
    prediction[prediction == 8] = 10
    ids, void = list(range(1, 12)), rng.random(shape) < 0.001
    for given_void in (None, void):
        fast, plain = (
            score_frame(prediction, truth, ids, given_void),
            reference_score_frame(prediction, truth, ids, given_void),
        )
        np.testing.assert_allclose(fast, plain, rtol=0, atol=1e-12)


def test_score_frame_gives_equal_and_missing_objects_1_and_lost_ones_0() -> None:
    truth = np.zeros((20, 30), np.uint8)
    truth[:, :10], truth[5:9, 15:20] = 3, 7
    prediction = np.where(truth == 3, truth, 0).astype(np.uint8)
    j, f = score_frame(prediction, truth, [7, 3, 5])
    assert j.tolist() == f.tolist() == [0, 1, 1]
    assert [len(values) for values in score_frame(prediction, truth, [])] == [0, 0]


def test_score_frame_takes_any_integers() -> None:
    rng = np.random.default_rng(0)
    prediction, truth = rng.integers(0, 3, (2, 21, 17)).astype(np.uint8) * 100
    expected = score_frame(prediction, truth, [100, 200])
    for kind in (np.int16, np.int64):
        wide = score_frame(prediction.astype(kind), truth.astype(kind), [100, 200])
        np.testing.assert_array_equal(wide, expected)


def test_object_masks_are_cut_to_boxes() -> None:
    truth, prediction = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    truth[3:5, 10:14], prediction[18:, 12] = 1, 2
    pairs = list(object_masks(prediction, truth, [1, 2, 3]))
    assert [masks[0].shape for masks in pairs] == [(4, 6), (3, 3), (0, 0)]
    assert [int(mask.sum()) for masks in pairs for mask in masks] == [0, 8, 2, 0, 0, 0]


@pytest.mark.parametrize(("shape", "radius"), [((480, 854), 8), ((1080, 1920), 18), ((3, 4), 1), ((75, 100), 1)])
def test_matching_radius(shape: tuple[int, int], radius: int) -> None:
    assert matching_radius(shape) == radius
    assert (matching_radius(shape, 1), matching_radius(shape, 7)) == (1, 7)


def test_values_by_hand() -> None:
    truth, prediction = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    truth[2:4, 2:4] = True
    prediction[2:4, 3:5] = True
    assert jaccard(prediction, truth) == pytest.approx(2 / 6)
    assert boundary_f(prediction, truth) == 1  # one pixel off is within the disk

    far = np.zeros((6, 6), bool)
    far[0, 0] = True
    assert boundary_f(far, np.roll(far, (5, 5), (0, 1))) == 0


def test_empty_masks() -> None:
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    assert (jaccard(empty, empty), boundary_f(empty, empty)) == (1, 1)
    assert (jaccard(full, empty), jaccard(empty, full)) == (0, 0)
    pixel = empty.copy()
    pixel[1, 1] = True
    assert (boundary_f(pixel, empty), boundary_f(empty, pixel)) == (0, 0)
    # A mask that fills the frame has no boundary either.
    assert boundary_f(full, empty) == 1


def test_void_pixels_do_not_count() -> None:
    truth, prediction, void = (np.zeros((8, 8), bool) for _ in range(3))
    truth[:4] = True
    prediction[:6] = True
    void[4:] = True
    assert jaccard(prediction, truth) == pytest.approx(4 / 6)
    assert jaccard(prediction, truth, void) == 1
    assert boundary_f(prediction, truth, void) == 1


def test_object_scores() -> None:
    values = np.array([1.0, 0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1])
    scores = object_scores(values)
    assert scores.mean == pytest.approx(values.mean())
    assert scores.recall == pytest.approx(4 / 9)  # 0.5 itself is not above
    assert scores.decay == pytest.approx(np.mean([1.0, 0.9, 0.8]) - np.mean([0.3, 0.2, 0.1]))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 47, 104, 300])
def test_decay_bins_by_the_definition(count: int) -> None:
    values = np.random.default_rng(count).random(count)
    # 1-based borders at equal steps, rounded to the nearest frame; Python rounds halves to even, as numpy does.
    borders = [round(1 + (count - 1) * k / 4 + 1e-10) for k in range(5)]
    first, last = values[borders[0] - 1 : borders[1]], values[borders[3] - 1 : borders[4]]
    assert object_scores(values).decay == pytest.approx(first.mean() - last.mean())


def test_sequence_scores_leave_out_the_first_and_the_last_frame() -> None:
    truth = np.zeros((5, 9, 9), bool)
    truth[:, 2:6, 2:6] = True
    prediction = truth.copy()
    prediction[[0, 2, 4]] = False
    scores = sequence_scores(prediction, truth)
    assert scores.jaccard.tolist() == [1, 0, 1]
    assert scores.boundary.tolist() == [1, 0, 1]
    assert scores.j.mean == scores.f.recall == pytest.approx(2 / 3)
    assert sequence_scores(prediction, truth, trim=False).jaccard.tolist() == [0, 1, 0, 1, 0]


def test_sequence_scores_take_void_frame_by_frame() -> None:
    truth, prediction, void = (np.zeros((3, 4, 4), bool) for _ in range(3))
    prediction[1, 0, 0] = True
    assert sequence_scores(prediction, truth).j.mean == 0
    void[1, 0, 0] = True
    assert sequence_scores(prediction, truth, void).j.mean == 1


def test_clip_scores_are_means_over_objects() -> None:
    truth = np.zeros((6, 40, 40), np.uint8)
    truth[:, 5:15, 5:15] = 1
    truth[:, 25:35, 5:25] = 7
    prediction = truth.copy()
    assert clip_scores(prediction, truth) == {"J-Mean": 1, "F-Mean": 1, "J&F-Mean": 1}
    prediction[prediction == 7] = 0  # never found
    prediction[:, 36:] = 3  # not in the truth: not scored
    assert clip_scores(prediction, truth) == {"J-Mean": 0.5, "F-Mean": 0.5, "J&F-Mean": 0.5}
    truth[:, 25:35, 5:25] = 255
    assert clip_scores(prediction, truth)["J-Mean"] == 1


def test_clip_scores_of_very_short_clips_use_every_frame() -> None:
    truth = np.ones((2, 4, 4), np.int64)
    prediction = truth.copy()
    prediction[1] = 0
    assert clip_scores(prediction, truth)["J-Mean"] == 0.5


def test_wrong_shapes_are_refused() -> None:
    mask = np.zeros((4, 4), bool)
    with pytest.raises(ValueError, match="both be H×W"):
        jaccard(mask, mask[:3])
    with pytest.raises(ValueError, match="Void"):
        boundary_f(mask, mask, mask[:3])
    with pytest.raises(ValueError, match="all be T×H×W"):
        sequence_scores(mask, mask)
    clip = np.zeros((4, 4, 4), bool)
    for frames in (2, 5):
        with pytest.raises(ValueError, match="all be T×H×W"):
            sequence_scores(clip, clip, np.zeros((frames, 4, 4), bool))
    with pytest.raises(ValueError, match="leaves none"):
        sequence_scores(mask[None], mask[None])
    with pytest.raises(ValueError, match="both be H×W"):
        score_frame(mask.astype(np.uint8), mask[:3].astype(np.uint8), [1])
    with pytest.raises(ValueError, match="ids from 1"):
        score_frame(mask.astype(np.uint8), mask.astype(np.uint8), [1, 0])
    with pytest.raises(ValueError, match="no object"):
        clip_scores(mask[None].astype(int), mask[None].astype(int))


def test_metrics_import_neither_torch_nor_the_model() -> None:
    code = "import sys, uamp_eval.metrics; print(*sorted({'torch', 'uamp_model', 'sam2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
