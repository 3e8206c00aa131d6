"""Whether doubt tells where a mask is wrong: histograms of doubt over right and wrong pixels, and figures from them.

A source of doubt gives every pixel of an object's mask a value in [0, 1]. It ranks well if wrong pixels have higher
values than right ones (AUROC, AUPRC), and it is calibrated if a share d of the pixels with doubt d is wrong (ECE).
Histograms of several videos add up, so nothing but them needs to be kept. Nothing here needs torch.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uamp_eval.atomic import write_atomically

_log = logging.getLogger(__name__)

CALIBRATION = "calibration.json"
"""Name of the file that lies beside a sequence's masks."""

UNCERTAINTY, ENTROPY, ONE_MINUS_SCORE = "uncertainty", "entropy", "1 - score"
SOURCES = (UNCERTAINTY, ENTROPY, ONE_MINUS_SCORE)
"""The tracker's uncertainty map, and what it has to beat: the entropy of the mask's own logits, in bits, and one minus
the object's score, the same for all its pixels."""

EDGE, FRAME = "edge", "frame"
REGIONS = (EDGE, FRAME)
"""The pixels near the edge of the mask or of the truth, and those of the whole frame."""

EQUAL_BINS = 1000
_FINER_OCTAVES, _BINS_PER_OCTAVE = 14, 4
_FINER_BINS = _FINER_OCTAVES * _BINS_PER_OCTAVE + 1
BINS = EQUAL_BINS - 1 + _FINER_BINS
"""Bins of equal width, the first of which is split finer: a sharp mask doubts most of its pixels by less than that, and
the ranking must not take all of them for equal. The finest bins are of what float32 can tell from 0 in 1 − x."""

RELIABILITY_BINS = 20
_FORMAT = 1

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The pixels whose doubt lies in one of `RELIABILITY_BINS` ranges of equal width.

    Attributes:
        doubt: mean doubt.
        wrong: share of wrong pixels.
        weight: share of all pixels.
    """

    doubt: float
    wrong: float
    weight: float


@dataclass(slots=True, eq=False)
class ErrorHistogram:
    """How often each doubt occurs.

    Attributes:
        counts: 2×BINS numbers of right and of wrong pixels by rising doubt.
    """

    counts: Counts = field(default_factory=lambda: np.zeros((2, BINS), np.int64))

    def add(self, doubt: NDArray[np.float32], wrong: NDArray[np.bool_]) -> None:
        """Count pixels: their doubt in [0, 1] and whether they are wrong, two arrays of one shape."""
        places = bins_of(doubt.reshape(-1))
        places[wrong.reshape(-1)] += BINS
        self.counts += np.bincount(places, minlength=2 * BINS).reshape(2, BINS)

    def add_equal(self, doubt: float, right: int, wrong: int) -> None:
        """Count pixels that all have one doubt."""
        place = int(bins_of(np.array([doubt], np.float32))[0])
        self.counts[:, place] += (right, wrong)

    @property
    def wrong_share(self) -> float | None:
        """Share of wrong pixels; None without pixels."""
        total = int(self.counts.sum())
        return float(self.counts[1].sum() / total) if total else None

    def auroc(self) -> float | None:
        """Probability that a wrong pixel has a higher doubt than a right one, equal doubts counting half.

        None unless there are wrong and right pixels.
        """
        right, wrong = self.counts.astype(np.float64)
        pairs = right.sum() * wrong.sum()
        below = np.cumsum(right) - right
        return float((wrong * (below + right / 2)).sum() / pairs) if pairs else None

    def auprc(self) -> float | None:
        """Average precision of finding wrong pixels by their doubt; None unless there are any.

        The precision of each threshold weighs as much as it adds recall, without interpolation. Doubt that knows
        nothing reaches the share of wrong pixels.
        """
        right, wrong = self.counts[:, ::-1].astype(np.float64)
        found, taken = np.cumsum(wrong), np.cumsum(wrong + right)
        if not found[-1]:
            return None
        some = taken > 0
        return float((wrong[some] * found[some] / taken[some]).sum() / found[-1])

    def reliability(self) -> list[ReliabilityBin]:
        """The ranges that hold pixels, by rising doubt."""
        total = int(self.counts.sum())
        bins = []
        for start, end in pairwise(_COARSE):
            number = self.counts[:, start:end].sum(axis=0)
            held = int(number.sum())
            if held:
                doubt = float(number @ _CENTRES[start:end]) / held
                bins.append(ReliabilityBin(doubt, float(self.counts[1, start:end].sum()) / held, held / total))
        return bins

    def ece(self) -> float | None:
        """Expected calibration error: mean distance of doubt and share wrong over the ranges; None without pixels."""
        bins = self.reliability()
        return sum(one.weight * abs(one.doubt - one.wrong) for one in bins) if bins else None

    def figures(self) -> dict[str, float | None]:
        """The three figures as fractions, None where a figure has no meaning."""
        return {"AUROC": self.auroc(), "AUPRC": self.auprc(), "ECE": self.ece()}


def _no_pixels() -> dict[str, dict[str, ErrorHistogram]]:
    return {region: {source: ErrorHistogram() for source in SOURCES} for region in REGIONS}


@dataclass(slots=True, eq=False)
class Calibration:
    """The histograms of one memory setting on some videos.

    Attributes:
        histograms: by region and source.
        sequences: how many videos they are of.
        truth: of one video, the digest of what it was compared with, see `doubt.truth_digest`; empty if unknown.
    """

    histograms: Mapping[str, Mapping[str, ErrorHistogram]] = field(default_factory=_no_pixels)
    sequences: int = 1
    truth: str = ""

    @property
    def pixels(self) -> int:
        """How many pixels were counted in the edge region."""
        return int(self.histograms[EDGE][UNCERTAINTY].counts.sum())

    def include(self, other: "Calibration") -> None:
        """Add the pixels of other videos."""
        for region, sources in self.histograms.items():
            for source, histogram in sources.items():
                histogram.counts += other.histograms[region][source].counts
        self.sequences += other.sequences

    def figures(self, region: str = EDGE) -> dict[str, dict[str, float | None]]:
        """By source: AUROC, AUPRC and ECE as fractions."""
        return {source: histogram.figures() for source, histogram in self.histograms[region].items()}

    def document(self) -> dict[str, object]:
        """The figures as `results.json` holds them.

        Returns:
            By source the figures in the edge region; `whole_frame`: the same in the whole frame; `wrong`: by region
            the share of wrong pixels; `sequences`.
        """
        return {
            **self.figures(EDGE),
            "whole_frame": self.figures(FRAME),
            "wrong": {region: sources[UNCERTAINTY].wrong_share for region, sources in self.histograms.items()},
            "sequences": self.sequences,
        }


def bins_of(doubt: NDArray[np.float32]) -> NDArray[np.intp]:
    """The bin of each doubt; those outside [0, 1] count as 0 or 1."""
    scaled = doubt * np.float32(EQUAL_BINS)
    places = scaled.astype(np.intp)
    np.clip(places, 0, EQUAL_BINS - 1, out=places)
    places += _FINER_BINS - 1
    low = np.flatnonzero(scaled < 1)
    octaves = np.log2(np.maximum(scaled[low], np.float32(2.0**-_FINER_OCTAVES / 2)))
    finer = np.floor(octaves * _BINS_PER_OCTAVE).astype(np.intp) + _FINER_BINS
    places[low] = np.maximum(finer, 0)
    return places


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Write the histograms of one video beside its masks.

    Raises:
        InputError: it cannot be written.
    """
    document = json.dumps(packed(calibration), separators=(",", ":"), ensure_ascii=False)
    write_atomically(folder / CALIBRATION, document + "\n")


def read_calibration(results: Path, sequences: Iterable[str]) -> Calibration | None:
    """Add up what was collected of some videos.

    Args:
        results: the folder that holds <sequence>/calibration.json.
        sequences: names of the videos; those of which nothing was collected are left out.

    Returns:
        The sum; None if nothing was collected of any.
    """
    total = Calibration(sequences=0)
    for sequence in sequences:
        one = _read(results / sequence / CALIBRATION)
        if one is not None:
            total.include(one)
    return total if total.pixels else None


def measured_against(folder: Path) -> str | None:
    """The digest of the truth that a video's doubt was measured against.

    Args:
        folder: the one of the video's masks.

    Returns:
        The digest, see `Calibration.truth`; None if no doubt was measured.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return None
    found = _read(path)
    return "" if found is None else found.truth


def packed(calibration: Calibration) -> dict[str, object]:
    """The histograms of one video as JSON holds them: of the bins that hold pixels."""
    histograms = {
        region: {source: _held(histogram.counts) for source, histogram in sources.items()}
        for region, sources in calibration.histograms.items()
    }
    return {"format": _FORMAT, "bins": BINS, "truth": calibration.truth, "histograms": histograms}


def unpacked(document: Any) -> Calibration:
    """The histograms that `packed` wrote.

    Raises:
        ValueError, LookupError, TypeError, OverflowError: the document is something else.
    """
    if (document["format"], document["bins"]) != (_FORMAT, BINS):
        raise ValueError("another format")
    calibration = Calibration(truth=str(document.get("truth", "")))
    for region, sources in calibration.histograms.items():
        for source, histogram in sources.items():
            held, *counts = document["histograms"][region][source]
            histogram.counts[:, held] = counts
    return calibration


def _held(counts: Counts) -> list[list[int]]:
    """The bins that hold pixels: their numbers, and how many right and wrong ones each holds."""
    held = np.flatnonzero(counts.any(axis=0))
    return [held.tolist(), *counts[:, held].tolist()]


def _read(path: Path) -> Calibration | None:
    try:
        return unpacked(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        _log.warning("%s cannot be read (%s); what it says of doubt is left out.", path, error)
        return None


def _edges() -> NDArray[np.float64]:
    """BINS + 1 borders of the bins."""
    finer = 2.0 ** (np.arange(1 - _FINER_BINS, 1) / _BINS_PER_OCTAVE)
    return np.concatenate([[0.0], finer, np.arange(2, EQUAL_BINS + 1)]) / EQUAL_BINS


_EDGES = _edges()
_CENTRES = (_EDGES[1:] + _EDGES[:-1]) / 2
_COARSE = [0, *range(_FINER_BINS - 1 + EQUAL_BINS // RELIABILITY_BINS, BINS + 1, EQUAL_BINS // RELIABILITY_BINS)]
