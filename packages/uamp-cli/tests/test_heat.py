"""The heat map of doubt."""

import numpy as np
import pytest
from uamp_cli.heat import draw_heat, draw_legend
from uamp_cli.overlay import Image


def _brightness(pixels: Image) -> float:
    return float((pixels.reshape(-1, 3) @ np.array([0.299, 0.587, 0.114])).mean())


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_doubt_stands_out_on_any_background(shade: int) -> None:
    image = np.full((8, 256, 3), shade, np.uint8)
    drawn = draw_heat(image, np.tile(np.arange(256, dtype=np.uint8), (8, 1)))
    assert (image == shade).all()
    assert drawn.shape == image.shape
    assert _brightness(drawn[:, 255]) > _brightness(drawn[:, 0]) + 100
    for value in (80, 128, 192, 255):  # colour where there is doubt, grey where there is none
        assert np.ptp(drawn[0, value].astype(int)) > 20
    assert np.ptp(drawn[0, 0].astype(int)) == 0
    # from where the frame no longer shines through, more doubt is brighter
    levels = [_brightness(drawn[:, value]) for value in range(160, 256)]
    assert (np.diff(levels) > -1).all()


def test_what_is_certain_stays_visible() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    drawn = draw_heat(image, np.zeros((40, 50), np.uint8))
    seen = [_brightness(pixel) for pixel in image.reshape(-1, 3)]
    left = [_brightness(pixel) for pixel in drawn.reshape(-1, 3)]
    assert np.corrcoef(seen, left)[0, 1] > 0.99
    assert max(left) - min(left) > 50


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (96, 97), (97, 180), (17, 400), (120, 401), (480, 854)])
def test_any_size(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    drawn = draw_heat(image, np.full(size, 200, np.uint8))
    plain = drawn.copy()
    draw_legend(drawn, "uncertainty")
    assert drawn.shape == image.shape
    assert np.array_equal(drawn, plain) == (min(size) < 96)


def test_legend_runs_from_certain_to_doubtful() -> None:
    picture = draw_heat(np.full((480, 854, 3), 255, np.uint8), np.zeros((480, 854), np.uint8))
    draw_legend(picture, "uncertainty")
    bright = picture[:40].astype(int).min(axis=2) < picture[:40].astype(int).max(axis=2) - 60  # the coloured part
    columns = np.flatnonzero(bright.any(axis=0))
    left, right = picture[:40, columns[0]], picture[:40, columns[-1]]
    assert columns[-1] - columns[0] > 40
    assert _brightness(right) > _brightness(left)
    assert (picture[60:] == picture[-1, -1]).all()
