"""Which pixels count as near an edge, which are wrong, and that a run keeps what it collects."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_videos import MANY, TinyVideo, contents, write_mask
from uamp_eval.calibration import (
    CALIBRATION,
    EDGE,
    ENTROPY,
    FRAME,
    ONE_MINUS_SCORE,
    UNCERTAINTY,
    Calibration,
    bins_of,
    read_calibration,
    write_calibration,
)
from uamp_eval.doubt import EDGE_REACH, FRAME_STEP, DoubtCollector, Mask, add_frame, edge_region, mask_entropy
from uamp_eval.results_store import ResultFolder
from uamp_eval.runs import run_benchmark
from uamp_eval.scoring import ScoringRule
from uamp_model import FrameResult, VideoTracker, load_tracker

SIZE = (60, 70)


def blob(top: int, bottom: int, left: int, right: int) -> Mask:
    mask = np.zeros(SIZE, np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def plain_region(*masks: Mask) -> Mask:
    """The definition, pixel by pixel."""
    height, width = SIZE
    edges = [
        (y, x)
        for mask in masks
        for y in range(height)
        for x in range(width)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
        if 0 <= y + dy < height and 0 <= x + dx < width and mask[y, x] != mask[y + dy, x + dx]
    ]
    rows, columns = np.mgrid[:height, :width]
    near = np.zeros(SIZE, np.bool_)
    for y, x in set(edges):
        near |= (rows - y) ** 2 + (columns - x) ** 2 <= EDGE_REACH**2
    return near


EMPTY, FULL = blob(0, 0, 0, 0), blob(0, 60, 0, 70)


@pytest.mark.parametrize(
    ("mask", "truth"),
    [
        (blob(20, 30, 20, 35), blob(22, 33, 18, 35)),
        (blob(2, 5, 1, 4), blob(55, 60, 60, 70)),
        (blob(20, 21, 20, 21), EMPTY),
        (EMPTY, blob(0, 60, 30, 70)),
        (FULL, blob(5, 10, 5, 10)),
        (FULL, FULL),
        (EMPTY, FULL),
        (EMPTY, EMPTY),
    ],
)
def test_the_edge_region_is_what_its_definition_says(mask: Mask, truth: Mask) -> None:
    box, near = edge_region(mask, truth)
    found = np.zeros(SIZE, np.bool_)
    found[box] = near
    assert np.array_equal(found, plain_region(mask, truth))


def test_entropy_is_one_bit_in_doubt_and_none_when_sure() -> None:
    logits = torch.cat([torch.linspace(-30, 30, 101), torch.tensor([0.0, 1e-4])])
    share = logits.double().sigmoid()
    bits = (torch.special.entr(share) + torch.special.entr(1 - share)) / np.log(2)
    assert np.allclose(mask_entropy(logits.numpy()), bits.numpy(), atol=5e-6)
    assert mask_entropy(np.array([0.0, -1024.0, 1024.0], np.float32)).tolist() == pytest.approx([1, 0, 0], abs=5e-6)


def result_of(logits: torch.Tensor, ids: tuple[int, ...], scores: list[float]) -> FrameResult:
    rng = torch.Generator().manual_seed(0)
    doubt = torch.rand(logits.shape, generator=rng)
    return FrameResult(1, ids, logits > 0, logits, doubt, torch.tensor(scores))


def counted(calibration: Calibration, region: str, source: str) -> tuple[int, int]:
    right, wrong = calibration.histograms[region][source].counts.sum(axis=1).tolist()
    return right, wrong


def test_pixels_are_wrong_where_an_objects_own_mask_differs() -> None:
    own = torch.full((2, *SIZE), -3.0)
    own[0, 20:30, 20:35] = 2.0
    own[1, 20:30, 20:35] = 5.0  # claims the same pixels; they would be its own in the merged map
    truth = np.zeros(SIZE, np.uint8)
    truth[22:30, 20:35] = 4
    calibration = Calibration()
    result = result_of(own, (4, 7), [0.9, 0.25])
    add_frame(calibration, result, truth, [4, 9])  # 7 does not count, nobody tracks 9
    near = plain_region(own[0].numpy() > 0, truth == 4)
    for source in (UNCERTAINTY, ENTROPY, ONE_MINUS_SCORE):
        assert counted(calibration, EDGE, source) == (near.sum() - 30, 30)
        assert sum(counted(calibration, FRAME, source)) == (60 // FRAME_STEP) * (70 // FRAME_STEP)
    histograms = calibration.histograms[EDGE]
    place = bins_of(np.array([0.1], np.float32))[0]
    assert histograms[ONE_MINUS_SCORE].counts[:, place - 1 : place + 2].sum() == near.sum()
    doubt = result.uncertainty[0].numpy()[near & (truth != 4) & (own[0].numpy() > 0)]
    assert np.array_equal(np.flatnonzero(histograms[UNCERTAINTY].counts[1]), np.unique(bins_of(doubt)))
    add_frame(calibration, result, truth, [7])
    assert counted(calibration, EDGE, UNCERTAINTY)[1] == 30 + 150


def test_void_pixels_do_not_count() -> None:
    logits = torch.full((1, *SIZE), -3.0)
    logits[0, 20:30, 20:35] = 2.0
    truth = np.zeros(SIZE, np.uint8)
    truth[18:32, 18:37] = 255
    calibration = Calibration()
    void = ScoringRule.YOUTUBE_VOS.void(truth)
    add_frame(calibration, result_of(logits, (1,), [0.5]), truth, [1], void)
    near = plain_region(logits[0].numpy() > 0, EMPTY)
    assert counted(calibration, EDGE, ENTROPY) == (near.sum() - 14 * 19, 0)
    assert counted(calibration, FRAME, ENTROPY)[1] == 0
    assert ScoringRule.DAVIS.void(truth) is None


@pytest.mark.parametrize(
    ("rule", "frames"),
    [(ScoringRule.DAVIS, {1: [1, 2, 3, 4]}), (ScoringRule.YOUTUBE_VOS, {1: [1, 2, 3, 4, 5], 3: [3, 4, 5]})],
)
def test_the_objects_and_frames_of_the_rule_are_looked_at(rule: ScoringRule, frames: dict[int, list[int]]) -> None:
    video = TinyVideo("late", length=6, enters={1: 0, 3: 2})
    collector = DoubtCollector(video, rule, ["sam2"])
    expected = 0
    for frame in range(video.length):
        ids = tuple(number for number, start in video.enters.items() if start <= frame)
        result = result_of(torch.full((len(ids), *video.size), -1.0), ids, [0.5] * len(ids))
        collector.add(frame, {"sam2": result})
        expected += sum(frame in frames.get(number, ()) for number in ids)
    pixels = sum(counted(collector.calibrations["sam2"], FRAME, UNCERTAINTY))
    assert pixels == expected * (48 // FRAME_STEP) * (64 // FRAME_STEP)


@pytest.fixture(scope="module")
def tracker() -> VideoTracker:
    return load_tracker("nano", memory="sam2", device="cpu", precision="fp32")


@pytest.mark.usefixtures("one_thread")
def test_a_run_keeps_what_it_collects_beside_the_masks(tracker: VideoTracker, tmp_path: Path) -> None:
    trackers = {"sam2": tracker, "twin": tracker.with_memory("sam2")}
    videos = MANY[:2]
    names = [video.name for video in videos]

    def run(output: Path, calibrate: ScoringRule | None) -> int:
        done = run_benchmark(trackers, videos, output, write=write_mask, protocol="tiny", calibrate=calibrate)
        return done.sequences

    run(tmp_path / "plain", None)
    assert run(tmp_path / "out", ScoringRule.YOUTUBE_VOS) == 2
    files, plain = contents(tmp_path / "out"), contents(tmp_path / "plain")
    beside = {f"{memory}/{name}/{CALIBRATION}" for memory in trackers for name in names}
    assert set(files) - set(plain) == beside
    assert {name: files[name] for name in plain} == plain  # looking changes no mask
    assert files[f"sam2/bear/{CALIBRATION}"] == files[f"twin/bear/{CALIBRATION}"]

    before = read_calibration(tmp_path / "out" / "twin", names)
    assert before is not None
    assert (before.sequences, read_calibration(tmp_path / "plain" / "twin", names)) == (2, None)
    # a run that goes on has what the one before it collected
    (tmp_path / "out" / "twin" / "bear" / "00001.png").unlink()
    assert run(tmp_path / "out", ScoringRule.YOUTUBE_VOS) == 1
    assert contents(tmp_path / "out") == files
    assert run(tmp_path / "out", ScoringRule.YOUTUBE_VOS) == 0

    ResultFolder(tmp_path / "out" / "sam2").clear(names)
    ResultFolder(tmp_path / "out" / "twin").clear(names)
    assert not contents(tmp_path / "out")


def test_what_is_kept_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    calibration = Calibration()
    for sources in calibration.histograms.values():
        for histogram in sources.values():
            histogram.add(rng.random(100_000, dtype=np.float32) ** 3, rng.random(100_000) < 0.1)
    write_calibration(tmp_path, calibration)
    assert (tmp_path / CALIBRATION).stat().st_size < 150_000
    assert json.loads((tmp_path / CALIBRATION).read_text())["format"] == 1
