"""Frames that are only tracked: nothing is learned from them, but memory remembers them."""

from collections.abc import Callable

import torch
from uamp_model.core import PromptBatch
from uamp_model.sam2 import Sam2, build_model
from uamp_model.unroll import unroll
from uamp_train.batches import ClipSource, Place, first_batch
from uamp_train.config import Stage, TrainConfig
from uamp_train.learner import Learner
from uamp_train.loop import make_accelerator
from uamp_train.objective import TrainingModule
from uamp_train.resume import begin

MakeConfig = Callable[..., TrainConfig]
FRAMES, FREE = 5, 2
STAGE = Stage(steps=1, image_size=64, num_frames=FRAMES, batch_size=2)


def model() -> Sam2:
    torch.manual_seed(1)
    return build_model("nano", image_size=64)


def test_tracking_gives_the_same_masks_and_gradients_begin_after_the_free_frames() -> None:
    network = model()
    images, masks = torch.randn(2, FRAMES, 3, 64, 64), torch.zeros(3, 1, 64, 64)
    masks[:, :, 10:40, 20:50] = 1
    owner = torch.tensor([0, 1, 1])
    plain = unroll(network, images, owner, PromptBatch(masks=masks))
    freed = unroll(network, images, owner, PromptBatch(masks=masks), free=FREE)
    for t in range(FRAMES):
        torch.testing.assert_close(freed[t].logits, plain[t].logits, rtol=1e-3, atol=1e-3)
        assert freed[t].logits.requires_grad == (t > FREE)


def test_only_later_frames_are_judged_and_memory_is_learned_through(tiny: MakeConfig, blobs: ClipSource) -> None:
    config = tiny(prompt_shares={"mask": 1.0, "box": 0.0, "point": 1e-9, "points": 0.0})
    module = TrainingModule(model(), config, free_frames=FREE)
    batch = first_batch(blobs, config, STAGE)
    assert batch.kind == "mask"
    losses = module(batch)
    batch.masks[:, 1 : FREE + 1] = 1 - batch.masks[:, 1 : FREE + 1]
    assert torch.equal(module(batch).total, losses.total)
    batch.masks[:, FREE + 1 :] = 1 - batch.masks[:, FREE + 1 :]
    assert not torch.equal(module(batch).total, losses.total)
    losses.total.backward()
    written = module.model.memory_encoder.out_proj.weight.grad
    assert written is not None
    assert written.any()


def test_a_stage_can_have_free_frames_of_its_own(tiny: MakeConfig, blobs: ClipSource) -> None:
    """Its first step is that of a run where all stages have them, and not that of one where none has."""
    losses = []
    for name, (whole, own) in enumerate(((FREE, None), (0, FREE), (FREE, 0), (0, None))):
        config = tiny(experiment_name=str(name), free_frames=whole)
        stage = STAGE.model_copy(update={"free_frames": own})
        frozen, state = begin(config, resume=False, processes=1)
        learner = Learner(config, stage, frozen, state, make_accelerator(config))
        losses.append(learner.learn(first_batch(blobs, config, stage), Place(0), 1e-3)["loss"])
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[2], losses[3])
    assert not torch.equal(losses[0], losses[2])
