"""Outlines: the fast filter equals a plain one, finds edges, and leaves memory alone."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from uamp_model import Prompt, VideoTracker, load_tracker
from uamp_model.outlines import FINEST, RADIUS, SIDE, SMOOTHNESS, _coefficients, follow_edges

Frames = list[npt.NDArray[np.uint8]]


def plain_coefficients(colours: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The guided filter as its paper writes it, window by window: slopes 3×s×s and offset s×s."""

    def mean(maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)

    centre, average = mean(colours), mean(values[None])
    square = mean((colours[:, None] * colours[None]).flatten(0, 1)).unflatten(0, (3, 3))
    covariance = (square - centre[:, None] * centre[None]).permute(2, 3, 0, 1) + SMOOTHNESS * torch.eye(3)
    along = (mean(colours * values) - centre * average).permute(1, 2, 0)
    slopes = torch.linalg.solve(covariance, along[..., None])[..., 0].permute(2, 0, 1)
    offset = average - (slopes * centre).sum(0, keepdim=True)
    return mean(slopes), mean(offset)[0]


def test_coefficients_equal_those_of_the_plain_filter() -> None:
    rng = torch.Generator().manual_seed(0)
    colours, values = torch.rand(3, SIDE, SIDE, generator=rng), torch.rand(SIDE, SIDE, generator=rng)
    for found, expected in zip(
        _coefficients(colours.float(), values), plain_coefficients(colours.double(), values.double()), strict=True
    ):
        torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-3)


def scene(height: int = 120, width: int = 160) -> tuple[Tensor, Tensor]:
    """A green disc on a brown ground, both grainy, and where it is."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    disc = (y - 60) ** 2 + (x - 85) ** 2 < 30**2
    colours = torch.where(disc[..., None], torch.tensor([60, 140, 70]), torch.tensor([120, 90, 60]))
    grain = torch.randint(-12, 13, (height, width, 3), generator=torch.Generator().manual_seed(1))
    return (colours + grain).byte(), disc


def coarse_logits(mask: Tensor, dy: int, dx: int) -> Tensor:
    """1×H×W logits of a mask that was drawn coarsely and a little off."""
    moved = mask.float().roll((dy, dx), (0, 1))[None, None]
    small = F.interpolate(moved, scale_factor=1 / 8, mode="bilinear", antialias=True)
    return 8 * F.interpolate(small, mask.shape, mode="bilinear")[0] - 4


def overlap(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_coarse_mask_that_lies_off_is_put_in_its_place() -> None:
    frame, disc = scene()
    logits = coarse_logits(disc, 2, -3)
    aligned = follow_edges(logits, frame)
    assert overlap(logits[0] > 0, disc) < 0.90
    assert overlap(aligned[0] > 0, disc) > 0.94
    half = follow_edges(logits, frame, 0.5)
    assert overlap(logits[0] > 0, disc) < overlap(half[0] > 0, disc) <= overlap(aligned[0] > 0, disc)
    torch.testing.assert_close(follow_edges(logits, frame, 0.0), logits, rtol=1e-3, atol=1e-3)


def test_large_surroundings_are_filtered_small_and_come_out_the_same() -> None:
    frame, disc = scene()
    size = (8 * disc.shape[0], 8 * disc.shape[1])
    large = frame.repeat_interleave(8, 0).repeat_interleave(8, 1)
    logits = F.interpolate(coarse_logits(disc, 2, -3)[None], size, mode="bilinear")[0]
    whole = F.interpolate(disc[None, None].float(), size)[0, 0] > 0
    logits[:, :16], logits[:, :, :16] = 5.0, 5.0  # a frame around it, so that the surroundings are the whole picture
    logits[:, -16:], logits[:, :, -16:] = 5.0, 5.0
    inside = (slice(100, -100), slice(100, -100))
    assert max(size) > FINEST
    aligned = follow_edges(logits, large)
    assert aligned.shape == logits.shape
    before, after = (overlap((m[0] > 0)[inside], whole[inside]) for m in (logits, aligned))
    assert after > before


def test_only_the_surroundings_of_a_mask_change() -> None:
    frame, disc = scene()
    logits = torch.cat([coarse_logits(disc, 1, 1), torch.full((1, *disc.shape), -1024.0)])
    aligned = follow_edges(logits, frame)
    assert torch.equal(aligned[1], logits[1])
    assert torch.equal(aligned[0, :, :20], logits[0, :, :20])
    assert not torch.equal(aligned[0], logits[0])
    assert aligned.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (40, 3)])
def test_masks_at_the_rim_and_tiny_pictures(shape: tuple[int, int]) -> None:
    frame = torch.randint(0, 256, (*shape, 3), generator=torch.Generator().manual_seed(2)).byte()
    everywhere, corner = torch.full((1, *shape), 4.0), torch.full((1, *shape), -4.0)
    corner[0, 0, 0] = 4.0
    for logits in (everywhere, corner):
        aligned = follow_edges(logits, frame)
        assert aligned.shape == logits.shape
        assert aligned.isfinite().all()
    assert (follow_edges(everywhere, frame) > 0).all()


def test_a_picture_of_one_colour_says_nothing() -> None:
    _, disc = scene()
    aligned = follow_edges(coarse_logits(disc, 0, 0), torch.full((*disc.shape, 3), 90, dtype=torch.uint8))
    assert overlap(aligned[0] > 0, disc) > 0.9


@pytest.fixture(scope="module")
def nano() -> VideoTracker:
    return load_tracker("nano", memory="uamp", device="cpu", precision="fp32")


def test_uamp_shows_other_outlines_of_what_is_remembered_without(nano: VideoTracker) -> None:
    frame, disc = scene()
    frames = [frame.roll(2 * t, 1).numpy() for t in range(3)]
    prompts = {1: Prompt.mask(disc.numpy()), 2: Prompt.box(50, 25, 120, 95)}
    assert nano.settings.outline > 0
    sessions = [nano.start(), nano.with_memory("plain", replace(nano.settings, outline=0)).start()]
    for t, picture in enumerate(frames):
        ours, plain = (session.step(picture, prompts if t == 0 else None) for session in sessions)
        assert torch.equal(ours.masks, ours.logits > 0)
        assert torch.equal(ours.masks[0], plain.masks[0]) == (t == 0)  # a given mask is not touched
        assert not torch.equal(ours.masks[1], plain.masks[1])
        assert torch.equal(ours.scores, plain.scores)
        kept, expected = (
            (*s.objects[1].bank.conditioning.values(), *s.objects[1].bank.recent.values()) for s in sessions
        )
        for a, b in zip(kept, expected, strict=True):
            assert torch.equal(a.pointer, b.pointer)
            assert a.features is not None
            assert b.features is not None
            assert torch.equal(a.features, b.features)


def test_a_correction_is_outlined_too(nano: VideoTracker) -> None:
    frame, _ = scene()
    session, plain = nano.start(), nano.with_memory("sam2").start()
    for each in (session, plain):
        each.step(frame.numpy(), {1: Prompt.box(50, 25, 120, 95)})
    click = {1: Prompt.points([[85, 60]], [1])}
    corrected, raw = session.correct(click).logits, plain.correct(click).logits
    torch.testing.assert_close(corrected, follow_edges(raw, frame))
