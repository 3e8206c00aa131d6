"""The focus: a window that follows the objects, results in pixels of the frame, at once where something is prompted."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from uamp_model import InputError, Prompt, VideoTracker, load_tracker
from uamp_model.focus import GROWING, SMALLEST, UNSEEN, WIDENING, Focus, Window
from uamp_model.motion import predict_motion, start_motion, to_corners, to_motion_boxes, update_motion
from uamp_model.presets import SAM2, SAMURAI

FRAME = (240, 320)
Picture = npt.NDArray[np.uint8]


def disc(y: float, x: float, radius: float = 14, size: tuple[int, int] = FRAME) -> npt.NDArray[np.bool_]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 < radius**2)


def scene(*middles: tuple[float, float]) -> Picture:
    """Discs of several colours on a grainy ground."""
    picture = np.random.default_rng(0).integers(80, 110, (*FRAME, 3), np.uint8)
    for (y, x), colour in zip(middles, ((230, 60, 40), (40, 90, 240), (250, 240, 60)), strict=False):
        picture[disc(y, x)] = colour
    return picture


def grid(window: Window, mask: npt.NDArray[np.bool_], side: int = 112) -> Tensor:
    """1×1×side×side logits over a window of a mask of the frame."""
    part = torch.tensor(window.cut(mask.astype(np.uint8)))[None, None].float()
    return 10 * torch.nn.functional.interpolate(part, (side, side), mode="bilinear", antialias=True) - 5


def overlap(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_window_has_the_frames_shape_and_stays_inside() -> None:
    for y, x in ((0, 0), (240, 320), (120, 160), (10, 300)):
        window = Window.around(y, x, 0.4, FRAME)
        assert window.size == (96, 128)
        assert 0 <= window.top <= 240 - 96
        assert 0 <= window.left <= 320 - 128
    assert Window.around(100, 150, 0.4, FRAME) == Window(52, 86, 96, 128, FRAME)
    assert Window.around(5, 5, 1.0, FRAME) == Window.whole(FRAME)
    assert Window.around(0, 0, 0.3, (1, 2)).size == (1, 1)


def test_what_is_cut_out_and_put_back_is_where_it_was() -> None:
    window, mask = Window(50, 80, 96, 128, FRAME), disc(100, 150)
    logits = torch.where(torch.tensor(mask), 4.0, UNSEEN)[None]
    assert torch.equal(window.place(window.cut_maps(logits), UNSEEN), logits)
    boxes, found = window.boxes(torch.cat([grid(window, mask), torch.full((1, 1, 112, 112), -5.0)])[:, 0])
    assert found.tolist() == [True, False]
    np.testing.assert_allclose(boxes[0].numpy(), (136.5, 86.5, 164.5, 114.5), atol=1.5)
    whole = window.seen_through(Window.whole(FRAME), grid(window, mask), UNSEEN)
    assert window.holds(boxes[:1])
    assert not window.holds(boxes[:1] + 40)
    assert whole.shape == (1, 1, 112, 112)
    assert overlap(whole[0, 0] > 0, grid(Window.whole(FRAME), mask)[0, 0] > 0) > 0.85
    assert (whole[0, 0, :20] == UNSEEN).all()


def test_the_window_goes_to_the_object_and_grows_faster_than_it_shrinks() -> None:
    focus = Focus(2.5)
    window = focus.follow([], FRAME)
    assert window.is_whole
    shares = []
    for _ in range(30):
        window = focus.follow([grid(window, disc(60, 80))], FRAME)
        shares.append(focus.share)
    assert all(a > b for a, b in pairwise(shares[:10]))
    assert focus.share == pytest.approx(max(SMALLEST, 2.5 * 28 / 240), abs=0.02)
    assert abs(window.top + window.height / 2 - 60) < 3
    before = focus.share
    window = focus.follow([grid(window, disc(60, 80, 26))], FRAME)
    assert focus.share - before == pytest.approx(GROWING * (2.5 * 52 / 240 - before), abs=0.02)


def test_it_holds_all_objects_and_widens_while_one_is_lost() -> None:
    focus = Focus(2.5)
    window, masks = focus.see_whole(FRAME), (disc(60, 80), disc(90, 120))
    for _ in range(30):
        window = focus.follow([grid(window, mask) for mask in masks], FRAME)
    assert not window.is_whole
    for mask in masks:
        assert window.cut(mask.astype(np.uint8)).sum() == mask.sum()
    share, nothing = focus.share, torch.full((1, 1, 112, 112), -5.0)
    window = focus.follow([grid(window, masks[0]), nothing], FRAME)
    assert share < focus.share < share * WIDENING
    for _ in range(8):
        window = focus.follow([nothing, nothing], FRAME)
    assert window.is_whole


def test_without_a_margin_and_in_a_frame_of_another_size_all_is_seen() -> None:
    window = Focus(0.0).follow([grid(Window.whole(FRAME), disc(60, 80))], FRAME)
    assert window.is_whole
    focus = Focus(2.0)
    window = focus.follow([grid(focus.see_whole(FRAME), disc(60, 80))], FRAME)
    assert not window.is_whole
    assert focus.follow([grid(window, disc(60, 80))], (100, 100)).is_whole


def test_motion_filters_go_on_where_the_window_has_gone() -> None:
    """To look at another part and then to find the object is to find it and then to look at another part."""
    one, other, side = Window.whole(FRAME), Window(48, 64, 120, 160, FRAME), 112
    scale, shift = one.to_cells_of(other, side)
    place = torch.tensor([[40.0, 50.0, 52.0, 70.0], [44.0, 51.0, 56.0, 71.0]], dtype=torch.float64)
    moved = place * torch.tensor(scale * 2) + torch.tensor(shift * 2)
    state = predict_motion(start_motion(to_motion_boxes(place[:1])))
    first = update_motion(state, to_motion_boxes(place[1:])).moved(scale, shift)
    then = update_motion(state.moved(scale, shift), to_motion_boxes(moved[1:]))
    torch.testing.assert_close(first.mean, then.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(first.covariance, then.covariance, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(to_corners(state.moved(scale, shift).mean[:, :4]), moved[:1], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def nano() -> VideoTracker:
    plain = load_tracker("nano", memory="uamp", device="cpu", precision="fp32")
    return plain.with_memory("close", replace(plain.settings, focus=3.5))


def test_a_small_object_is_seen_closely_and_shown_where_it_is(nano: VideoTracker) -> None:
    close, far = nano.start(), nano.with_memory("far", replace(nano.settings, focus=0.0)).start()
    for t in range(8):
        y, x = 60 + 3 * t, 80 + 5 * t
        prompts = {1: Prompt.mask(disc(y, x))} if t == 0 else None
        near, plain = (session.step(scene((y, x)), prompts) for session in (close, far))
        assert near.logits.shape == near.uncertainty.shape == (1, *FRAME)
        assert overlap(near.masks[0], torch.tensor(disc(y, x))) > 0.9
        assert overlap(near.masks[0], plain.masks[0]) > 0.85
    near, window = close.step(scene((84, 120))), close.focus.window
    assert window is not None
    assert far.focus.window == Window.whole(FRAME)
    assert window.height < 160
    outside = torch.ones(FRAME, dtype=torch.bool)
    outside[window.top : window.top + window.height, window.left : window.left + window.width] = False
    assert (near.logits[0][outside] == UNSEEN).all()
    assert (near.uncertainty[0][outside] == 0).all()
    assert float(near.uncertainty.max()) > 0


def test_features_of_whole_frames_are_used_for_whole_frames_alone(nano: VideoTracker) -> None:
    sessions = [nano.start(), nano.start()]
    for t in range(4):
        frame, prompts = scene((60, 80 + 4 * t)), {1: Prompt.mask(disc(60, 80))} if t == 0 else None
        given, own = (
            s.step(frame, prompts, features=f) for s, f in zip(sessions, (nano.encode(frame), None), strict=True)
        )
        assert torch.equal(given.logits, own.logits)


def test_what_is_prompted_is_seen_closely_at_once_with_what_is_known(nano: VideoTracker) -> None:
    session = nano.start()
    for prompt in (Prompt.mask(disc(60, 80)), Prompt.box(66, 46, 94, 74), Prompt.points([[80, 60]])):
        session = nano.start()
        result = session.step(scene((60, 80)), {1: prompt})
        window = session.focus.window
        assert window is not None
        assert 90 < window.height < 130
        assert abs(window.top + window.height / 2 - 60) < 8
        assert overlap(result.masks[0], torch.tensor(disc(60, 80))) > 0.85
    # another object joins, far away: both are seen
    both = scene((60, 80), (200, 280))
    result = session.step(both, {2: Prompt.box(264, 184, 296, 216)})
    assert session.focus.window == Window.whole(FRAME)
    for row, middle in enumerate(((60, 80), (200, 280))):
        assert overlap(result.masks[row], torch.tensor(disc(*middle))) > 0.85


def test_a_correction_is_read_where_it_is(nano: VideoTracker) -> None:
    session, picture = nano.start(), scene((60, 80), (200, 280))
    session.step(picture, {1: Prompt.mask(disc(60, 80))})
    session.step(picture)
    kept = session.step(picture).masks[0]
    window = session.focus.window
    assert window is not None
    assert not window.is_whole
    assert torch.equal(session.correct({}).masks[0], kept)
    # inside of what was seen
    corrected = session.correct({1: Prompt.points([[80, 60]])})
    assert session.focus.window == window
    assert overlap(corrected.masks[0], torch.tensor(disc(60, 80))) > 0.9
    # far outside: the frame is seen whole, and object 1 stays where it is
    corrected = session.correct({3: Prompt.box(264, 184, 296, 216)})
    assert session.focus.window == Window.whole(FRAME)
    assert overlap(corrected.masks[1], torch.tensor(disc(200, 280))) > 0.8
    assert overlap(corrected.masks[0], kept) > 0.85


def test_a_wrong_prompt_leaves_the_session_as_it_was(nano: VideoTracker) -> None:
    session = nano.start()
    session.step(scene((60, 80)), {1: Prompt.mask(disc(60, 80))})
    before = session.focus.window, session.focus.share
    with pytest.raises(InputError, match="outside the picture"):
        session.step(scene((60, 80)), {2: Prompt.points([[400, 60]])})
    assert (session.focus.window, session.focus.share) == before
    assert session.frame_index == 0
    with pytest.raises(InputError, match="outside the picture"):
        session.correct({1: Prompt.points([[400, 60]])})


def test_frames_of_another_size_are_seen_whole_and_leave_motion_filters_alone(nano: VideoTracker) -> None:
    session = nano.with_memory("moving", replace(SAMURAI, focus=2.5)).start()
    session.step(scene((60, 80)), {1: Prompt.mask(disc(60, 80))})
    session.step(np.ascontiguousarray(scene((60, 80))[:200]))
    assert session.focus.window == Window.whole((200, 320))
    assert session.objects[1].motion.settled > 0


@pytest.mark.parametrize("settings", [SAM2, SAMURAI])
def test_other_settings_see_as_well_closely(nano: VideoTracker, settings: object) -> None:
    tracker = nano.with_memory("close", replace(SAMURAI if settings is SAMURAI else SAM2, focus=2.5, settled=2))
    session = tracker.start()
    for t in range(10):
        y, x = 60 + 2 * t, 80 + 4 * t
        result = session.step(scene((y, x)), {1: Prompt.mask(disc(y, x))} if t == 0 else None)
        assert overlap(result.masks[0], torch.tensor(disc(y, x))) > 0.8
    assert session.focus.window is not None
    assert not session.focus.window.is_whole
    if settings is SAMURAI:
        assert session.objects[1].motion.settled >= 9  # the filter was never begun anew


def test_prompts_on_a_frame_of_another_size_do_not_lose_what_was_followed() -> None:
    tracker = load_tracker("nano", device="cpu", image_size=128)
    session = tracker.with_memory("close", replace(SAM2, focus=3.5)).start()
    small, first, second = (150, 90), (60, 60), (60, 110)
    session.step(scene(first)[: small[0], : small[1]].copy(), {1: Prompt.mask(disc(*first)[: small[0], : small[1]])})
    result = session.step(scene(first, second), {2: Prompt.mask(disc(*second))})
    assert session.focus.window == Window.whole(FRAME)
    assert result.object_ids == (1, 2)


@given(st.lists(st.floats(0, 100), min_size=4, max_size=4), st.floats(1, 4))
def test_a_window_holds_what_it_was_sent_to_also_without_a_margin(ends: list[float], margin: float) -> None:
    (y0, y1), (x0, x1) = sorted(ends[:2]), sorted(ends[2:])
    box = torch.tensor([[x0, y0, x1, y1]], dtype=torch.float64)
    assert Focus(margin).meet(box, (100, 100)).holds(box)


@pytest.mark.parametrize("focus", [0.2, 0.99])
def test_a_window_smaller_than_its_object_is_refused(focus: float) -> None:
    tracker = load_tracker("nano", device="cpu", image_size=128)
    with pytest.raises(InputError, match="cut objects off"):
        tracker.with_memory("too close", replace(SAM2, focus=focus))
