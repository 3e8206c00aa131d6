"""Histograms of doubt against plain references that look at every pair of pixels and every threshold."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from uamp_eval.calibration import (
    BINS,
    CALIBRATION,
    EDGE,
    ENTROPY,
    EQUAL_BINS,
    FRAME,
    ONE_MINUS_SCORE,
    RELIABILITY_BINS,
    UNCERTAINTY,
    Calibration,
    ErrorHistogram,
    bins_of,
    read_calibration,
    write_calibration,
)

Doubts = NDArray[np.float32]
Wrong = NDArray[np.bool_]

# far enough from the borders of the bins, so that no two different values share one
apart = st.integers(0, EQUAL_BINS - 1).map(lambda number: (number + 0.5) / EQUAL_BINS)
samples = st.lists(st.tuples(apart, st.booleans()), min_size=1, max_size=60)


def histogram_of(doubt: Doubts, wrong: Wrong) -> ErrorHistogram:
    histogram = ErrorHistogram()
    histogram.add(doubt, wrong)
    return histogram


def arrays(values: list[tuple[float, bool]]) -> tuple[Doubts, Wrong]:
    return np.array([v for v, _ in values], np.float32), np.array([w for _, w in values])


def pairwise_auroc(doubt: Doubts, wrong: Wrong) -> float | None:
    pairs = [(bad > good) + (bad == good) / 2 for bad in doubt[wrong] for good in doubt[~wrong]]
    return float(np.mean(pairs)) if pairs else None


def threshold_auprc(doubt: Doubts, wrong: Wrong) -> float | None:
    if not wrong.any():
        return None
    total, recall = 0.0, 0.0
    for threshold in sorted(set(doubt.tolist()), reverse=True):
        taken = doubt >= threshold
        found = (taken & wrong).sum()
        total += float(found / taken.sum()) * (float(found / wrong.sum()) - recall)
        recall = float(found / wrong.sum())
    return total


def binned_ece(doubt: Doubts, wrong: Wrong) -> float:
    ranges = np.minimum((doubt * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    gaps = [
        (ranges == one).mean() * abs(doubt[ranges == one].astype(np.float64).mean() - wrong[ranges == one].mean())
        for one in set(ranges.tolist())
    ]
    return float(sum(gaps))


@given(samples)
def test_figures_agree_with_the_plain_references(values: list[tuple[float, bool]]) -> None:
    doubt, wrong = arrays(values)
    figures = histogram_of(doubt, wrong).figures()
    for name, expected in (("AUROC", pairwise_auroc(doubt, wrong)), ("AUPRC", threshold_auprc(doubt, wrong))):
        assert figures[name] == (None if expected is None else pytest.approx(expected, abs=1e-12))
    assert figures["ECE"] == pytest.approx(binned_ece(doubt, wrong), abs=1e-4)


@given(samples, samples)
def test_histograms_add_up(first: list[tuple[float, bool]], second: list[tuple[float, bool]]) -> None:
    one = histogram_of(*arrays(first))
    one.add(*arrays(second))
    assert np.array_equal(one.counts, histogram_of(*arrays(first + second)).counts)
    assert one.counts.sum() == len(first) + len(second)


@given(samples)
def test_doubt_turned_round_ranks_the_other_way(values: list[tuple[float, bool]]) -> None:
    doubt, wrong = arrays(values)
    there, back = histogram_of(doubt, wrong).auroc(), histogram_of(np.float32(1) - doubt, wrong).auroc()
    if there is not None and back is not None:
        assert there + back == pytest.approx(1)


def test_many_values_lose_next_to_nothing_to_the_bins() -> None:
    rng = np.random.default_rng(0)
    doubt = np.concatenate([rng.random(200), 10 ** rng.uniform(-7, 0, 200)]).astype(np.float32)
    wrong = rng.random(400) < doubt
    histogram = histogram_of(doubt, wrong)
    assert histogram.auroc() == pytest.approx(pairwise_auroc(doubt, wrong), abs=2e-3)
    assert histogram.auprc() == pytest.approx(threshold_auprc(doubt, wrong), abs=5e-3)
    assert histogram.ece() == pytest.approx(binned_ece(doubt, wrong), abs=1e-3)


def test_bins_rise_with_the_doubt_and_hold_what_is_outside_too() -> None:
    doubt = np.concatenate([[0], np.geomspace(1e-12, 1, 50_000)]).astype(np.float32)
    places = bins_of(doubt)
    assert (np.diff(places) >= 0).all()
    assert (places[0], places[-1]) == (0, BINS - 1)
    assert np.unique(places).size == BINS
    assert bins_of(np.array([-0.5, 1.5], np.float32)).tolist() == [0, BINS - 1]


def test_the_doubts_of_a_sharp_mask_are_told_apart() -> None:
    doubt = np.array([1e-6, 1e-6, 2e-4, 3e-4], np.float32)
    assert histogram_of(doubt, np.array([False, False, True, True])).auroc() == 1


def test_doubt_that_says_how_often_it_is_wrong_is_calibrated() -> None:
    rng = np.random.default_rng(1)
    doubt = rng.random(200_000, dtype=np.float32)
    honest = histogram_of(doubt, rng.random(doubt.size) < doubt)
    boastful = histogram_of(doubt * np.float32(0.5), rng.random(doubt.size) < doubt)
    assert honest.ece() == pytest.approx(0, abs=0.01)
    assert boastful.ece() == pytest.approx(0.25, abs=0.01)
    bins = honest.reliability()
    assert len(bins) == RELIABILITY_BINS
    assert sum(one.weight for one in bins) == pytest.approx(1)
    assert all(one.wrong == pytest.approx(one.doubt, abs=0.02) for one in bins)


def test_one_doubt_for_all_pixels_tells_nothing() -> None:
    histogram = ErrorHistogram()
    histogram.add_equal(0.25, right=75, wrong=25)
    assert histogram.figures() == {
        "AUROC": 0.5,
        "AUPRC": 0.25,
        "ECE": pytest.approx(0, abs=1 / EQUAL_BINS),
    }
    assert histogram.wrong_share == 0.25


def test_figures_without_a_meaning_are_none() -> None:
    assert ErrorHistogram().figures() == {"AUROC": None, "AUPRC": None, "ECE": None}
    assert ErrorHistogram().wrong_share is None
    right = histogram_of(np.array([0.0], np.float32), np.array([False]))
    assert right.figures() == {"AUROC": None, "AUPRC": None, "ECE": pytest.approx(0, abs=1e-6)}
    wrong = histogram_of(np.array([1.0], np.float32), np.array([True]))
    assert wrong.figures() == {"AUROC": None, "AUPRC": 1, "ECE": pytest.approx(0, abs=1 / EQUAL_BINS)}


def filled(seed: int) -> Calibration:
    rng = np.random.default_rng(seed)
    calibration = Calibration()
    for sources in calibration.histograms.values():
        for histogram in sources.values():
            histogram.add(rng.random(50, dtype=np.float32) ** 4, rng.random(50) < 0.3)
    return calibration


def test_what_is_written_is_read_and_added_up(tmp_path: Path) -> None:
    for name, seed in (("bear", 0), ("cows", 1)):
        write_calibration(tmp_path / name, filled(seed))
    total = read_calibration(tmp_path, ["bear", "cows", "dogs"])
    assert total is not None
    assert (total.sequences, total.pixels) == (2, 100)
    for region in (EDGE, FRAME):
        for source in (UNCERTAINTY, ENTROPY, ONE_MINUS_SCORE):
            expected = sum(filled(seed).histograms[region][source].counts for seed in (0, 1))
            assert np.array_equal(total.histograms[region][source].counts, expected)
    assert read_calibration(tmp_path, ["dogs"]) is None
    write_calibration(tmp_path / "dogs", Calibration())  # a video without a pixel to look at
    assert read_calibration(tmp_path, ["dogs"]) is None


ENDLESS = f'{{"format":1,"bins":{BINS},"histograms":{{"edge":{{"uncertainty":[[1],[1e999],[2]]}}}}}}'


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format":0}', '{"format":1,"bins":7,"histograms":{}}', "null", "[" * 100_000, ENDLESS],
    ids=len,
)
def test_a_file_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    write_calibration(tmp_path / "bear", filled(0))
    (tmp_path / "cows").mkdir()
    (tmp_path / "cows" / CALIBRATION).write_text(text)
    total = read_calibration(tmp_path, ["bear", "cows"])
    assert total is not None
    assert total.sequences == 1
    assert "cows" in caplog.text


def test_the_document_holds_the_figures_by_source_and_region() -> None:
    calibration = filled(3)
    document = calibration.document()
    assert document[UNCERTAINTY] == calibration.histograms[EDGE][UNCERTAINTY].figures()
    assert set(document) == {"uncertainty", "entropy", "1 - score", "whole_frame", "wrong", "sequences"}
    assert json.loads(json.dumps(document, allow_nan=False)) == document
