"""Scores of masks on disk, against the plain reference; and every way in which results can be wrong."""

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from label_videos import LabelVideo, die, random_labels, write_results
from tiny_videos import read_mask, write_mask
from uamp_eval.reference import reference_score_frame
from uamp_eval.scores import ObjectResult, summarise
from uamp_eval.scoring import ScoringRule, score_results, score_sequence
from uamp_eval.sequences import Ids
from uamp_model.errors import InputError

SIZE = (37, 52)


def assert_same(actual: list[ObjectResult], expected: list[ObjectResult], tolerance: float = 0) -> None:
    assert [(r.name, r.frames) for r in actual] == [(r.name, r.frames) for r in expected]
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one.jaccard, other.jaccard, rtol=0, atol=tolerance)
        np.testing.assert_allclose(one.boundary, other.boundary, rtol=0, atol=tolerance)


def by_reference(name: str, prediction: Ids, truth: Ids, frames: dict[int, range], *, void: bool) -> list[ObjectResult]:
    """Score each object in its frames, one frame and object after the other."""
    results = []
    for number, own in frames.items():
        pairs = [
            reference_score_frame(prediction[t], truth[t], [number], truth[t] == 255 if void else None) for t in own
        ]
        j, f = np.array([float(j[0]) for j, _ in pairs]), np.array([float(f[0]) for _, f in pairs])
        results.append(ObjectResult(name, number, tuple(f"{t:05d}" for t in own), j, f))
    return results


@pytest.fixture
def tree(tmp_path: Path) -> tuple[list[LabelVideo], list[Ids]]:
    """Five videos of 1 to 4 objects and results of them, with void in the truth and ids missing in both."""
    videos, predictions = [], []
    for seed in range(5):
        objects, frames = 1 + seed % 4, 5 + 3 * seed
        truth = random_labels(seed, frames, SIZE, objects)
        truth[0, :6, :6] = objects  # the highest id is in the first annotation
        if seed == 3:
            truth[truth == 2] = 0  # and one below it in none
        truth[2, 10:20, 5:40] = 255
        prediction = random_labels(100 + seed, frames, SIZE, objects)
        shared = np.random.default_rng(seed).random(truth.shape) < 0.7
        prediction = np.where(shared & (truth < 255), truth, prediction)
        videos.append(LabelVideo(f"video{seed}", truth))
        predictions.append(prediction)
        write_results(tmp_path, f"video{seed}", prediction)
    return videos, predictions


def test_davis_scores_are_those_of_the_reference(tree: tuple[list[LabelVideo], list[Ids]], tmp_path: Path) -> None:
    expected = []
    for video, prediction in zip(*tree, strict=True):
        truth = np.where(video.truth == 255, 0, video.truth).astype(np.uint8)
        frames = dict.fromkeys(range(1, int(truth[0].max()) + 1), range(1, len(truth) - 1))
        expected += by_reference(video.name, prediction, truth, frames, void=False)
    actual = score_results(tree[0], tmp_path, read=read_mask, rule=ScoringRule.DAVIS, workers=1)
    assert_same(actual, expected, tolerance=1e-12)
    unused = next(r for r in actual if r.name == "video3_2")
    assert (unused.jaccard > 0).any()  # 1 where the results do not show it either
    assert all(0 < r.j.mean < 1 for r in actual)


def test_the_number_of_processes_changes_nothing(tree: tuple[list[LabelVideo], list[Ids]], tmp_path: Path) -> None:
    done: list[str] = []
    alone = score_results(tree[0], tmp_path, read=read_mask, workers=1)
    shared = score_results(tree[0], tmp_path, read=read_mask, workers=2, on_done=done.append)
    assert_same(shared, alone)
    assert summarise(shared) == summarise(alone)
    assert done == [video.name for video in tree[0]]


def test_youtube_vos_counts_each_object_after_it_is_given_and_no_void(tmp_path: Path) -> None:
    truth = random_labels(7, 11, SIZE, 3)
    truth[4, 8:30, 8:30] = 255
    prediction = np.where(
        np.random.default_rng(8).random(truth.shape) < 0.8, truth % 255, random_labels(9, 11, SIZE, 3)
    )
    video = LabelVideo("late", truth, prompts={0: [1], 4: [2], 10: [3]}, listed_every=2)
    write_results(tmp_path, "late", prediction)
    for frame in (0, 1, 3, 5, 7, 9):
        (tmp_path / "late" / f"{frame:05d}.png").unlink()  # what is not scored need not be there
    actual = score_results([video], tmp_path, read=read_mask, rule=ScoringRule.YOUTUBE_VOS)
    frames = {1: range(2, 11, 2), 2: range(6, 11, 2)}  # object 3 comes in the last frame
    assert_same(actual, by_reference("late", prediction, truth, frames, void=True), tolerance=1e-12)


def test_youtube_vos_counts_no_frame_that_results_need_not_hold(tmp_path: Path) -> None:
    class MoreMasks(LabelVideo):
        @property
        def listed(self) -> Sequence[int]:
            return [0, 2, 5]

    video = MoreMasks("more", random_labels(1, 7, SIZE, 1))
    write_results(tmp_path, "more", video.truth)
    for frame in (1, 3, 4, 6):
        (tmp_path / "more" / f"{frame:05d}.png").unlink()
    (result,) = score_sequence(video, tmp_path, read=read_mask, rule=ScoringRule.YOUTUBE_VOS)
    assert result.frames == ("00002", "00005")


def test_sparse_annotations_lose_their_first_and_last(tmp_path: Path) -> None:
    video = LabelVideo("sparse", random_labels(3, 13, SIZE, 1), listed_every=3)
    video.truth[0, 3:9, 3:9] = 1
    write_results(tmp_path, "sparse", video.truth)
    (result,) = score_sequence(video, tmp_path, read=read_mask)
    assert result.frames == ("00003", "00006", "00009")


def test_decay_beyond_256_frames(tmp_path: Path) -> None:
    truth = np.zeros((402, 6, 6), np.uint8)
    truth[:, 1:5, 1:5] = 1
    prediction = truth.copy()
    prediction[301:, 1:5, 3:5] = 0  # half of it is lost in the last quarter
    write_results(tmp_path, "long", prediction)
    figures = summarise(score_results([LabelVideo("long", truth)], tmp_path, read=read_mask))["global"]
    # the frame before the quarter's border is in its bin as well
    assert figures["J-Decay"] == pytest.approx(0.5 * 100 / 101)


def test_ids_that_a_result_lacks_count_as_empty(tmp_path: Path) -> None:
    truth = np.zeros((4, 20, 20), np.uint8)
    truth[:, 2:9, 2:9], truth[:, 11:18, 11:18] = 1, 2
    write_results(tmp_path, "two", np.where(truth == 1, 1, 0).astype(np.uint8))
    first, second = score_results([LabelVideo("two", truth)], tmp_path, read=read_mask)
    assert first.jaccard.tolist() == first.boundary.tolist() == [1, 1]
    assert second.jaccard.tolist() == second.boundary.tolist() == [0, 0]


@pytest.mark.parametrize(("reader", "code"), [("interrupt", 130), ("kill_parent", -signal.SIGKILL)])
def test_all_processes_end_with_the_first_and_without_a_traceback(tmp_path: Path, reader: str, code: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {str(Path(__file__).parent)!r})
from label_videos import LabelVideo, {reader}, write_results
from uamp_eval.scoring import score_results
if __name__ == "__main__":
    videos = [LabelVideo(name, np.ones((4, 8, 8), np.uint8)) for name in "abcdef"]
    for video in videos:
        write_results(Path("masks"), video.name, video.truth)
    try:
        score_results(videos, Path("masks"), read={reader}, workers=2)
    except KeyboardInterrupt:
        sys.exit(130)
""")
    command = [sys.executable, str(script)]
    # returns when the last of them has closed its end of the pipe
    done = subprocess.run(command, cwd=tmp_path, start_new_session=True, capture_output=True, text=True, timeout=120)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


class TestWrongResults:
    """Each is refused with one sentence that names what is wrong."""

    @pytest.fixture
    def video(self, tmp_path: Path) -> LabelVideo:
        truth = np.zeros((5, 20, 30), np.uint8)
        truth[:, 2:9, 2:9], truth[:, 11:18, 11:18] = 1, 3
        write_results(tmp_path, "clip", truth)
        return LabelVideo("clip", truth)

    @pytest.mark.parametrize("extra", [4, 255])
    def test_an_id_above_the_highest(self, video: LabelVideo, tmp_path: Path, extra: int) -> None:
        path = tmp_path / "clip" / "00003.png"
        ids = video.truth[3].copy()
        ids[0, 0] = extra
        write_mask(path, ids)
        with pytest.raises(InputError, match=rf"{re.escape(str(path))} holds id {extra}.*1 to 3"):
            score_sequence(video, tmp_path, read=read_mask)
        results = score_sequence(video, tmp_path, read=read_mask, ignore_extra_ids=True)
        assert [r.j.mean for r in results] == [1, 1, 1]

    def test_the_first_and_last_frame_may_hold_anything(self, video: LabelVideo, tmp_path: Path) -> None:
        (tmp_path / "clip" / "00000.png").unlink()
        write_mask(tmp_path / "clip" / "00004.png", np.full((3, 3), 99, np.uint8))
        assert len(score_sequence(video, tmp_path, read=read_mask)) == 3

    def test_a_missing_mask(self, video: LabelVideo, tmp_path: Path) -> None:
        path = tmp_path / "clip" / "00002.png"
        path.unlink()
        with pytest.raises(InputError, match=f"{re.escape(str(path))} is missing:"):
            score_sequence(video, tmp_path, read=read_mask)
        (tmp_path / "clip" / "00003.png").unlink()
        with pytest.raises(InputError, match=r"2 of clip's masks are missing"):
            score_sequence(video, tmp_path, read=read_mask)

    def test_a_missing_sequence_or_folder(self, video: LabelVideo, tmp_path: Path) -> None:
        others = [LabelVideo("other", video.truth), LabelVideo("third", video.truth)]
        with pytest.raises(InputError, match=r"has no folder other \(2 of 3 sequences are missing\)"):
            score_results([video, *others], tmp_path, read=read_mask)
        with pytest.raises(InputError, match="nowhere does not exist"):
            score_results([video], tmp_path / "nowhere", read=read_mask)
        with pytest.raises(InputError, match="no sequence"):
            score_results([], tmp_path, read=read_mask)

    def test_another_size(self, video: LabelVideo, tmp_path: Path) -> None:
        write_mask(tmp_path / "clip" / "00001.png", np.zeros((10, 15), np.uint8))
        with pytest.raises(InputError, match=r"00001\.png is 15×10 pixels but the truth is 30×20"):
            score_sequence(video, tmp_path, read=read_mask)

    def test_too_few_frames(self, video: LabelVideo, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="clip has 2 annotated frames, but the first and the last do not count"):
            score_sequence(LabelVideo("clip", video.truth[:2]), tmp_path, read=read_mask)

    def test_no_object(self, video: LabelVideo, tmp_path: Path) -> None:
        empty = LabelVideo("clip", np.where(video.truth == 0, 255, 0).astype(np.uint8), prompts={})
        for rule in ScoringRule:
            with pytest.raises(InputError, match=r"clip .* no object"):
                score_sequence(empty, tmp_path, read=read_mask, rule=rule)

    def test_objects_without_frames(self, video: LabelVideo, tmp_path: Path) -> None:
        late = LabelVideo("clip", video.truth, prompts={4: [1]})
        with pytest.raises(InputError, match="No object has a frame to score"):
            score_results([late], tmp_path, read=read_mask, rule=ScoringRule.YOUTUBE_VOS)

    def test_the_first_wrong_video_is_named_whatever_the_number_of_processes(
        self, video: LabelVideo, tmp_path: Path
    ) -> None:
        videos = [video, LabelVideo("short", video.truth), LabelVideo("longer", np.repeat(video.truth, 4, axis=0))]
        write_results(tmp_path, "short", video.truth[:2])
        write_results(tmp_path, "longer", video.truth[:2])
        for workers in (1, 3):
            with pytest.raises(InputError, match=r"short.00002\.png is missing"):
                score_results(videos, tmp_path, read=read_mask, workers=workers)

    def test_a_process_that_is_ended_from_outside(self, video: LabelVideo, tmp_path: Path) -> None:
        write_results(tmp_path, "twin", video.truth)
        with pytest.raises(InputError, match="fewer workers"):
            score_results([video, LabelVideo("twin", video.truth)], tmp_path, read=die, workers=2)
