from pathlib import Path

import numpy as np
from label_videos import LabelVideo, write_results
from tiny_videos import read_mask
from uamp_eval.results_files import Evaluation
from uamp_eval.scores import ObjectResult
from uamp_eval.worst_frames import (
    PREDICTION_COLOUR,
    TRUTH_COLOUR,
    draw_contours,
    draw_worst_frame,
    find_worst_frames,
    view_of,
)


def evaluation(name: str, results: Path, scores: dict[tuple[str, int], list[float]]) -> Evaluation:
    objects = [
        ObjectResult(video, number, tuple(f"{t:05d}" for t in range(1, len(j) + 1)), np.array(j), np.array(j) / 2)
        for (video, number), j in scores.items()
    ]
    return Evaluation(name, objects, results)


def test_each_object_gives_its_worst_frame_under_any_setting() -> None:
    here = Path()
    one = evaluation("one", here, {("a", 1): [0.9, 0.5, 0.7], ("a", 2): [0.1, 0.2, 0.3], ("b", 1): [1.0, 1.0]})
    two = evaluation("two", here, {("a", 1): [0.8, 0.6, 0.4], ("a", 2): [0.9, 0.9, 0.9], ("b", 1): [1.0, 1.0]})
    worst = find_worst_frames([one, two], most=12)
    assert [(w.sequence, w.object_id, w.frame, w.lowest) for w in worst] == [
        ("a", 2, "00001", 0.1),
        ("a", 1, "00003", 0.4),
    ]
    assert [(s.setting, s.j, s.f) for s in worst[1].scores] == [("one", 0.7, 0.35), ("two", 0.4, 0.2)]
    assert len(find_worst_frames([one, two], most=1)) == 1


def test_a_second_frame_of_an_object_comes_after_all_objects_and_from_another_part_of_the_video() -> None:
    long = [0.9] * 40
    long[10:14] = [0.2, 0.1, 0.2, 0.3]
    long[30] = 0.4
    worst = find_worst_frames([evaluation("one", Path(), {("a", 1): long, ("b", 1): [0.8, 1.0]})], most=3)
    assert [(w.sequence, w.frame) for w in worst] == [("a", "00012"), ("a", "00031"), ("b", "00001")]
    fewer = find_worst_frames([evaluation("one", Path(), {("a", 1): long, ("b", 1): [0.8, 1.0]})], most=2)
    assert [w.sequence for w in fewer] == ["a", "b"]


def test_contours_run_along_the_masks() -> None:
    image = np.full((540, 960, 3), 200, np.uint8)
    truth, prediction = np.zeros((2, 540, 960), bool)
    truth[100:300, 200:400], prediction[200:500, 600:900] = True, True
    drawn = draw_contours(image, truth, prediction)
    assert drawn.shape == (270, 480, 3)
    blue = np.argwhere((drawn == TRUTH_COLOUR).all(-1))
    pink = np.argwhere((drawn == PREDICTION_COLOUR).all(-1))
    for pixels, (top, bottom), (left, right) in ((blue, (50, 150), (100, 200)), (pink, (100, 250), (300, 450))):
        assert np.abs(pixels.min(0) - (top, left)).max() <= 2
        assert np.abs(pixels.max(0) - (bottom, right)).max() <= 2
    assert (drawn[200, 50] == 200).all()  # nothing far from the masks
    assert (draw_contours(image, truth & False, truth & False) == 200).all()


def test_a_small_frame_is_drawn_as_wide_as_any() -> None:
    drawn = draw_contours(np.zeros((10, 20, 3), np.uint8), np.eye(10, 20, dtype=bool), np.zeros((10, 20), bool))
    assert drawn.shape == (240, 480, 3)


def test_the_view_keeps_the_object_its_surroundings_and_the_frame_s_shape() -> None:
    mask = np.zeros((400, 800), bool)
    assert view_of(mask) == (slice(0, 400), slice(0, 800))
    mask[390:400, 0:10] = True  # in a corner
    assert view_of(mask) == (slice(240, 400), slice(0, 320))
    mask[50, 790] = True
    assert view_of(mask) == (slice(0, 400), slice(0, 800))


def test_pictures_say_what_is_missing(tmp_path: Path) -> None:
    truth = np.zeros((3, 30, 40), np.uint8)
    truth[:2, 5:15, 5:15] = 1
    video = LabelVideo("clip", truth)
    write_results(tmp_path / "one", "clip", np.zeros_like(truth))
    write_results(tmp_path / "two", "clip", truth)
    both = {name: evaluation(name, tmp_path / name, {("clip", 1): [j]}) for name, j in (("one", 0.0), ("two", 1.0))}
    (worst,) = find_worst_frames(list(both.values()), most=3)
    lost, found = draw_worst_frame(worst, video, both, read_mask)
    assert (lost.score.setting, lost.found_nothing, lost.truth_empty) == ("one", True, False)
    assert (found.score.setting, found.found_nothing, found.truth_empty) == ("two", False, False)
    assert lost.picture.startswith("data:image/jpeg;base64,")
    assert (lost.width, lost.height) == (found.width, found.height) == (480, 355)
