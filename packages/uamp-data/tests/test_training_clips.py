from __future__ import annotations

import logging
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from data_trees import HEIGHT, WIDTH, damage_frames, every_frame, make_davis, make_youtube, save_frame, save_mask
from uamp_data.augmentation import NO_AUGMENTATION
from uamp_data.errors import DataError
from uamp_data.training_clips import MixedClips, SequenceClip, TrainingClips
from uamp_data.training_sets import open_training_set

Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Video:
    """Frame n is of the grey n; `shown` says which frames show object 1, on the left half."""

    shown: tuple[bool, ...]
    name: str = "video"
    size: tuple[int, int] = (20, 30)
    step: int = 1
    reads: list[int] = field(default_factory=list)

    @property
    def annotated(self) -> tuple[int, ...]:
        return tuple(range(0, len(self.shown) * self.step, self.step))

    def image(self, frame: int) -> Array:
        self.reads.append(frame)
        return np.full((*self.size, 3), frame, np.uint8)

    def annotation(self, frame: int) -> Array:
        mask = np.zeros(self.size, np.uint8)
        mask[:, : self.size[1] // 2] = self.shown[frame // self.step]
        return mask


def numbers(clip: SequenceClip) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in clip.frames]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def plain(*videos: Video) -> TrainingClips:
    return TrainingClips(videos, NO_AUGMENTATION)


def cut_many(source: TrainingClips, index: int) -> None:
    for seed in range(20):
        source.clip(index, rng(seed), 3, 16)


def test_frames_are_in_even_steps_forwards_or_backwards() -> None:
    source, seen = plain(Video((True,) * 30)), set()
    for seed in range(60):
        steps = set(np.diff(numbers(source.clip(0, rng(seed), 5, 16, 3))).tolist())
        assert len(steps) == 1
        seen |= steps
    assert seen == {-3, -2, -1, 1, 2, 3}


def test_only_annotated_frames_are_taken() -> None:
    source = plain(Video((True,) * 8, step=5))
    for seed in range(10):
        assert all(number % 5 == 0 for number in numbers(source.clip(0, rng(seed), 4, 16, 4)))


def test_the_first_frame_shows_an_object_wherever_it_is() -> None:
    for shown in ((False,) * 25 + (True,) + (False,) * 4, (False,) * 29 + (True,), (True,) + (False,) * 29):
        source = plain(Video(shown))
        for seed in range(15):
            assert source.clip(0, rng(seed), 4, 16).masks[0].any()


def test_objects_leave_and_return_in_some_clips() -> None:
    source = plain(Video((True,) * 20 + (False,) * 4 + (True,) * 20))
    present = [np.atleast_1d(source.clip(0, rng(seed), 6, 16, 4).masks.any((1, 2))) for seed in range(80)]
    assert sum(not p.all() for p in present) > 20
    assert any(not p[1:-1].all() and p[-1] for p in present)


def test_a_short_sequence_is_gone_through_to_and_fro() -> None:
    source = plain(Video((True, True, True)))
    assert {tuple(numbers(source.clip(0, rng(seed), 6, 16))) for seed in range(20)} == {
        (0, 1, 2, 1, 0, 1),
        (2, 1, 0, 1, 2, 1),
    }


def test_single_frames_can_be_cut() -> None:
    clip = plain(Video((True,) * 3)).clip(0, rng(), 1, 32)
    assert clip.frames.shape == (1, 32, 32, 3)
    assert clip.masks.shape == (1, 32, 32)


def test_large_pictures_are_kept_small_and_kept_once() -> None:
    video = Video((True,) * 2, size=(960, 1000))
    source = TrainingClips([video], NO_AUGMENTATION, cache_bytes=10**7)
    for seed in range(6):
        source.clip(0, rng(seed), 2, 64)
    assert sorted(video.reads) == [0, 1]
    assert source._cache.held == 2 * 4 * 480 * 500


def test_same_arguments_same_bytes_from_any_thread(tmp_path: Path) -> None:
    tree = make_davis(tmp_path, {"a": every_frame(1, 2), "b": every_frame(1)}, split="train")
    source, fresh = (TrainingClips(open_training_set("davis", tree)) for _ in range(2))

    def cut(seed: int) -> SequenceClip:
        return source.clip(seed % 2, rng(seed), 3, 32)

    with ThreadPoolExecutor(3) as threads:
        clips = list(threads.map(cut, range(12)))
    for seed, clip in enumerate(clips):
        again = fresh.clip(seed % 2, rng(seed), 3, 32)
        assert (clip.frames == again.frames).all()
        assert (clip.masks == again.masks).all()
        assert clip.name == again.name
        assert clip.name.startswith("ab"[seed % 2])


def test_another_process_cuts_the_same_clips_and_reads_its_own_pictures(tmp_path: Path) -> None:
    tree = make_davis(tmp_path, {"a": every_frame(1, 2), "b": every_frame(1)}, split="train")
    source = MixedClips([(TrainingClips(open_training_set("davis", tree), max_bad_samples=3, cache_bytes=10**6), 1)])
    clip = source.clip(0, rng(), 3, 32)
    copy = pickle.loads(pickle.dumps(source))
    assert copy._sources[0]._cache.held == 0
    assert (copy._sources[0]._max_bad, copy._sources[0]._cache.limit) == (3, 10**6)
    assert np.array_equal(copy.clip(0, rng(), 3, 32).frames, clip.frames)


def test_youtube_vos_gives_its_annotated_frames(tmp_path: Path) -> None:
    source = TrainingClips(
        open_training_set("youtube-vos".replace("-", "_"), make_youtube(tmp_path, split="valid"), "valid")[:1]
    )
    clip = source.clip(0, rng(), 3, 16)
    assert source.names == ("video",)
    assert {int(number) for number in clip.name.split()[2:]} <= {0, 1, 2}
    assert clip.masks[0].any()


def test_damaged_files_are_named_and_replaced_until_there_are_too_many(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = make_davis(tmp_path, {"good": every_frame(1), "bad": every_frame(1)}, split="train")
    damage_frames(tree, "bad")
    source = TrainingClips(open_training_set("davis", tree), max_bad_samples=2)
    assert source.names == ("good", "bad")
    with caplog.at_level(logging.WARNING):
        assert source.clip(1, rng(0), 2, 16).name.startswith("good")
    assert "bad/0000" in caplog.text
    assert "1 of at most 2" in caplog.text
    with pytest.raises(DataError, match=r"More than 2 training clips.*bad.*max_bad_samples"):
        cut_many(source, 1)


def test_masks_of_another_size_or_without_objects_count_as_damaged(tmp_path: Path) -> None:
    tree = make_davis(tmp_path, {"a": every_frame(1), "b": every_frame()}, split="train")
    save_mask(tree / "Annotations" / "480p" / "a" / "00001.png", [1], (HEIGHT, WIDTH - 2))
    for index, says in ((0, "is 30×24 pixels"), (1, "shows an object")):
        source = TrainingClips(open_training_set("davis", tree)[index : index + 1], max_bad_samples=0)
        with pytest.raises(DataError, match=says):
            cut_many(source, 0)


def test_frames_of_several_sizes_count_as_damaged(tmp_path: Path) -> None:
    tree = make_davis(tmp_path, {"a": every_frame(1)}, split="train")
    save_frame(tree / "JPEGImages" / "480p" / "a" / "00002.jpg", (HEIGHT, WIDTH + 2))
    save_mask(tree / "Annotations" / "480p" / "a" / "00002.png", [1], (HEIGHT, WIDTH + 2))
    with pytest.raises(DataError, match="several sizes"):
        TrainingClips(open_training_set("davis", tree), max_bad_samples=0).clip(0, rng(), 4, 16)


def test_a_missing_torchvision_is_not_blamed_on_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    with pytest.raises(DataError, match=r"^Training clips need a torchvision"):
        plain(Video((True,) * 4)).clip(0, rng(), 2, 16)


@pytest.mark.parametrize(
    ("videos", "says"),
    [([], "no sequence to train on"), ([Video((True,), "still")], "still has 1 annotated frame, .*leave it out")],
)
def test_what_cannot_be_trained_on_is_refused(videos: list[Video], says: str) -> None:
    with pytest.raises(DataError, match=says):
        TrainingClips(videos)


def test_a_mix_draws_its_parts_by_weight_and_all_of_each() -> None:
    one = plain(*(Video((True,) * 4, name) for name in "abc"))
    other = plain(*(Video((True,) * 4, name) for name in "XYZUV"))
    mix = MixedClips([(one, 3), (other, 1)])
    assert len(mix) == 8
    drawn = [str(getattr(mix.clip(seed % 8, rng(seed), 2, 8), "name", "?"))[0] for seed in range(400)]
    assert set(drawn) == set("abcXYZUV")
    assert 0.68 < sum(name in "abc" for name in drawn) / 400 < 0.82
    assert mix.clip(3, rng(5), 2, 8).frames.shape == mix.clip(3, rng(5), 2, 8).frames.shape


@pytest.mark.parametrize("parts", [[], [(plain(Video((True,) * 4)), 0.0)]])
def test_a_mix_needs_weights(parts: list[tuple[TrainingClips, float]]) -> None:
    with pytest.raises(DataError, match="weight above 0"):
        MixedClips(parts)
