"""Which panels a frame of the output has, and where."""

import numpy as np
import pytest
from uamp_cli.heat import draw_heat, draw_legend
from uamp_cli.overlay import draw_overlay
from uamp_cli.painting import FramePainter, choose_columns
from uamp_cli.tracking import ObjectState, TrackedFrame


def _frame(height: int, width: int, *, doubt: bool, index: int = 0) -> TrackedFrame:
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    ids = np.zeros((height, width), np.uint8)
    ids[height // 4 : height // 2, : width // 2] = 1
    states = {
        1: ObjectState((0, height // 4, width // 2, height // 2), 1, 0.5, 0.25),
        3: ObjectState(None, 0, 0.1, None),
    }
    return TrackedFrame(index, 0.0, image, ids, states, np.full((height, width), 90, np.uint8) if doubt else None)


@pytest.mark.parametrize(
    ("panels", "size", "columns"),
    [
        (1, (480, 854), 1),
        (2, (432, 768), 2),  # 16:9: as large either way
        (2, (96, 128), 2),
        (2, (1920, 1080), 2),
        (2, (804, 1920), 1),
        (2, (17, 400), 1),
        (4, (432, 768), 2),
        (4, (1920, 400), 4),
        (4, (100, 1000), 1),
    ],
)
def test_panels_fill_a_screen(panels: int, size: tuple[int, int], columns: int) -> None:
    assert choose_columns(panels, *size) == columns


def test_alone_it_is_the_overlay() -> None:
    frame = _frame(120, 160, doubt=False)
    painter = FramePainter(120, 160, truth=None, shows_uncertainty=False)
    assert painter.size == (120, 160)
    assert np.array_equal(painter.paint(frame), draw_overlay(frame.image, frame.ids, {1: 0.5, 3: 0.1}))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (63, 95), (120, 160), (101, 401)])
@pytest.mark.parametrize("truth", [False, True])
@pytest.mark.parametrize("doubt", [False, True])
def test_every_picture_has_the_size_that_was_announced(size: tuple[int, int], truth: bool, doubt: bool) -> None:
    known = np.zeros((2, *size), np.uint8) if truth else None
    painter = FramePainter(*size, truth=known, shows_uncertainty=doubt)
    picture = painter.paint(_frame(*size, doubt=doubt, index=1))
    assert picture.shape == (*painter.size, 3)
    assert picture.dtype == np.uint8
    assert picture.size == 3 * size[0] * size[1] * (1 + truth) * (1 + doubt)


def test_captions_and_legend_are_whole_over_an_object_in_the_corner() -> None:
    frame = _frame(240, 320, doubt=True)
    frame.ids[:] = 0
    frame.ids[:80, :300] = 1
    truth = np.zeros((1, 240, 320), np.uint8)
    picture = FramePainter(240, 320, truth=truth, shows_uncertainty=True).paint(frame)
    assert np.array_equal(picture[:240, :320], draw_overlay(frame.image, frame.ids, {1: 0.5}, "tracked"))
    doubt = picture[240:, :320]
    assert frame.uncertainty is not None
    legend = draw_heat(frame.image, frame.uncertainty)
    ((_, _, right, bottom),) = draw_legend(legend, "uncertainty")
    assert np.array_equal(doubt[:bottom, :right], legend[:bottom, :right])
    assert not np.array_equal(doubt, legend)  # for the label is somewhere


def test_uncertainty_is_beside_the_objects_and_errors_are_below_the_truth() -> None:
    frame = _frame(120, 160, doubt=True)
    truth = frame.ids[None].copy()
    truth[0, 100:, 100:] = 1
    picture = FramePainter(120, 160, truth=truth, shows_uncertainty=True).paint(frame)
    assert picture.shape == (240, 320, 3)
    wrong = picture[120:, 160:]
    missed, right = wrong[100:, 100:].reshape(-1, 3), wrong[60:100, :100].reshape(-1, 3)
    assert missed.mean(axis=0)[0] > 200
    assert (right.std(axis=1) == 0).all()  # grey
    doubtful = picture[120:, :160][80:, 80:].astype(int)
    assert (doubtful[..., 2] > doubtful[..., 1] + 10).all()  # the purple of a third
