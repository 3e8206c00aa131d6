import numpy as np
import pytest
from uamp_train.config import PromptShares
from uamp_train.prompts import click_count, draw_kind, draw_points, inner_point, jittered_box, outer_point


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def ring() -> np.ndarray:
    """A thick ring, which does not contain its own middle, and touches the left edge."""
    y, x = np.mgrid[:64, :80]
    radius = np.hypot(x - 20, y - 30)
    return np.asarray((radius < 21) & (radius > 10))


def on(mask: np.ndarray, xy: np.ndarray) -> bool:
    return bool(mask[int(xy[1]), int(xy[0])])


def test_points_fall_on_the_object_or_beside_it_as_labelled(rng: np.random.Generator, ring: np.ndarray) -> None:
    assert all(on(ring, inner_point(rng, ring)) for _ in range(200))
    for _ in range(200):
        beside = outer_point(rng, ring)
        assert beside is not None
        assert not on(ring, beside)
    for _ in range(50):
        xy, labels = draw_points(rng, np.stack([ring, ring[::-1]]), "points", click_count(rng, "points"))
        assert xy.shape == (2, labels.shape[1], 2)
        assert 2 <= labels.shape[1] <= 4
        assert (labels[:, 0] == 1).all()
        for mask, points, flags in zip((ring, ring[::-1]), xy, labels, strict=True):
            assert [on(mask, p) for p in points] == [flag == 1 for flag in flags]


def test_clicks_in_the_middle_are_deep_inside(ring: np.ndarray) -> None:
    """Half of the clicks keep their distance from the outline."""
    rng = np.random.default_rng(1)
    edge = ring & ~(np.roll(ring, 2, 0) & np.roll(ring, -2, 0) & np.roll(ring, 2, 1) & np.roll(ring, -2, 1))
    near_edge = sum(on(edge, inner_point(rng, ring)) for _ in range(400)) / 400
    assert near_edge < 0.75 * edge.sum() / ring.sum()


def test_boxes_stay_close_ordered_and_inside(rng: np.random.Generator, ring: np.ndarray) -> None:
    for _ in range(200):
        (x0, y0), (x1, y1) = jittered_box(rng, ring)
        assert 0 <= x0 < x1 <= 80
        assert 0 <= y0 < y1 <= 64
        assert np.abs(np.array([x0, y0, x1, y1]) - [0, 10, 41, 51]).max() < 3


def test_a_single_pixel_and_a_full_picture_can_be_prompted(rng: np.random.Generator) -> None:
    pixel, full = np.zeros((32, 32), bool), np.ones((32, 32), bool)
    pixel[31, 0] = True
    for kind in ("box", "point", "points"):
        for _ in range(30):
            xy, labels = draw_points(rng, np.stack([pixel, full]), kind, click_count(rng, kind))
            assert np.isfinite(xy).all()
            assert xy.min() >= 0
            assert xy.max() <= 32
            assert (labels[1] != 0).all()
            if kind == "box":
                assert (xy[:, 1] > xy[:, 0]).all()


def test_kinds_come_as_often_as_asked_and_stills_are_never_given_masks(rng: np.random.Generator) -> None:
    shares = PromptShares(mask=2, box=1, point=1, points=0)
    drawn = [draw_kind(rng, shares, still=False) for _ in range(2000)]
    assert drawn.count("mask") / 2000 == pytest.approx(0.5, abs=0.05)
    assert "points" not in drawn
    assert {draw_kind(rng, shares, still=True) for _ in range(50)} == {"box", "point"}
