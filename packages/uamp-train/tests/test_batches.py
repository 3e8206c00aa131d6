from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from uamp_train.batches import Batch, ClipSource, Place, TrainingClip, make_batch, prefetch
from uamp_train.config import Stage, TrainConfig
from uamp_train.errors import ConfigError

MakeConfig = Callable[..., TrainConfig]
STAGE = Stage(steps=8, image_size=64, num_frames=3, batch_size=2)


def same(one: Batch, other: Batch) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Batch)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.mark.parametrize(("workers", "processes"), [(2, False), (2, True), (0, False), (0, True)])
def test_a_batch_is_a_function_of_its_place_alone(
    tiny: MakeConfig, blobs: ClipSource, workers: int, processes: bool
) -> None:
    config, several = tiny(), tiny(num_workers=workers, worker_processes=processes)
    ahead = dict(prefetch(blobs, several, STAGE, [Place(step) for step in range(8)]))
    assert list(ahead) == [Place(step) for step in range(8)]
    assert all(same(batch, make_batch(blobs, config, STAGE, place)) for place, batch in ahead.items())
    assert not same(ahead[Place(3)], make_batch(blobs, tiny(seed=1), STAGE, Place(3)))
    assert not same(ahead[Place(3)], make_batch(blobs, config, STAGE, Place(3, rank=1)))
    assert not same(ahead[Place(3)], make_batch(blobs, config, STAGE, Place(3, micro=1)))


def test_all_processes_do_the_same_kind_of_step(tiny: MakeConfig, blobs: ClipSource) -> None:
    for step in range(8):
        one, other = (make_batch(blobs, tiny(), STAGE, Place(step, rank)) for rank in (0, 1))
        assert (one.kind, one.images.shape) == (other.kind, other.images.shape)


def test_a_step_has_the_same_clips_however_it_is_divided(tiny: MakeConfig, blobs: ClipSource) -> None:
    config, small = tiny(still_share=0.0), STAGE.model_copy(update={"batch_size": 1})
    whole = make_batch(blobs, config, STAGE, Place(5))
    halves = tiny(still_share=0.0, gradient_accumulation=2)
    by_rank = [make_batch(blobs, config, small, Place(5, rank)) for rank in (0, 1)]
    by_micro = [make_batch(blobs, halves, small, Place(5, 0, micro)) for micro in (0, 1)]
    for parts in (by_rank, by_micro):
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.masks for part in parts]), whole.masks)
        assert parts[0].clips + parts[1].clips == whole.clips


def test_shapes_and_truth(tiny: MakeConfig, blobs: ClipSource) -> None:
    batch = make_batch(blobs, tiny(still_share=0.0), STAGE, Place(0))
    count = len(batch.clip_of_object)
    assert batch.images.shape == (2, 3, 3, 64, 64)
    assert batch.images.dtype == batch.masks.dtype == torch.uint8
    assert batch.masks.shape == (count, 3, 64, 64)
    assert torch.equal(batch.present, batch.masks.flatten(2).any(-1))
    assert batch.present[:, 0].all()
    # The colours of the discs say which object each mask must be of, and that images and masks line up.
    for number, clip in enumerate(batch.clip_of_object):
        colours = batch.images[clip, 0].permute(1, 2, 0)[batch.masks[number, 0].bool()]
        assert len(colours.unique(dim=0)) == 1


def test_stills_see_as_many_pictures_and_get_points_or_boxes(tiny: MakeConfig, blobs: ClipSource) -> None:
    batch = make_batch(blobs, tiny(still_share=1.0), STAGE, Place(0))
    assert batch.images.shape == (6, 1, 3, 64, 64)
    assert batch.kind != "mask"
    assert batch.points is not None


def test_void_is_known_to_be_unknown(tiny: MakeConfig, blobs: ClipSource) -> None:
    config = tiny(still_share=0.0, max_objects=1)
    wide = Stage(steps=1, image_size=64, num_frames=2, batch_size=12)
    batch = make_batch(blobs, config, wide, Place(0))
    assert batch.valid is not None
    assert not (batch.masks[batch.valid == 0]).any()
    assert 0 < float((batch.valid == 0).float().mean()) < 0.2


@pytest.mark.parametrize("processes", [False, True])
def test_clips_without_objects_are_a_clear_error(tiny: MakeConfig, blobs: ClipSource, processes: bool) -> None:
    class Empty:
        def __len__(self) -> int:
            return 1

        def clip(
            self, index: int, rng: np.random.Generator, num_frames: int, size: int, max_stride: int = 4
        ) -> TrainingClip:
            clip = blobs.clip(0, rng, num_frames, size, max_stride)
            clip.masks[:] = 0
            return clip

    with pytest.raises(ConfigError, match="min_object_area") as told:
        next(prefetch(Empty(), tiny(worker_processes=processes), STAGE, [Place(0)]))
    assert "Traceback" not in str(told.value)
