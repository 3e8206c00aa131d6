"""Objects to choose from, and the picture that shows them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from uamp_cli.overlay import colour_of
from uamp_cli.proposals import MOST, Proposals
from uamp_model import Prompt, Suggestion
from uamp_model.errors import InputError


def _proposals(count: int, height: int = 120, width: int = 200) -> Proposals:
    found = []
    for number in range(count):
        mask = np.zeros((height, width), bool)
        x, y = number * (width - width // 3) // max(count, 1), number * 5 % max(height // 2, 1)
        mask[y : y + max(height // 3, 1), x : x + max(width // 3, 1)] = True
        found.append(Suggestion(prompt=Prompt.mask(mask), box=(0, 0, 1, 1), mask=mask, score=0.9 - number / 20))
    return Proposals(np.full((height, width, 3), 90, np.uint8), 4, found)


def _one_within_another() -> Proposals:
    """The first is large and holds the second; the third is beside them."""
    found = []
    for rows, columns in (
        (slice(0, 80), slice(0, 120)),
        (slice(20, 60), slice(20, 100)),
        (slice(0, 80), slice(130, 200)),
    ):
        mask = np.zeros((120, 200), bool)
        mask[rows, columns] = True
        found.append(Suggestion(prompt=Prompt.mask(mask), box=(0, 0, 1, 1), mask=mask, score=0.5))
    return Proposals(np.full((120, 200, 3), 90, np.uint8), 0, found)


@pytest.mark.parametrize(("wanted", "on_top"), [((), 1), ((2,), 2), ((1, 2), 2), ((3,), 2), ((7,), 2)])
def test_what_is_followed_is_on_top(tmp_path: Path, wanted: tuple[int, ...], on_top: int) -> None:
    _one_within_another().save(tmp_path / "p.png", wanted)
    with Image.open(tmp_path / "p.png") as picture:
        seen = np.asarray(picture, int)[60 + 40 * 5, 20 + 60 * 5]  # the middle of the second, on the large picture
    tinted = 90 * 0.55 + 0.45 * np.array(colour_of(on_top))
    assert np.abs(seen - tinted).max() <= 2


@pytest.mark.parametrize(("wanted", "marked"), [((), (1,)), ((3, 2), (2, 3)), ((7,), ())])
def test_what_is_followed_is_marked(tmp_path: Path, wanted: tuple[int, ...], marked: tuple[int, ...]) -> None:
    _one_within_another().save(tmp_path / "p.png", wanted)
    with Image.open(tmp_path / "p.png") as picture:
        below = np.asarray(picture, int)[-20 - 26 : -20]  # the line below the thumbnails
    words = [below[:, 20 + 293 * place + 180 : 20 + 293 * place + 281] for place in range(3)]
    assert tuple(number for number, word in enumerate(words, start=1) if word.min() < 100) == marked


def test_the_first_is_followed_unless_others_are_picked() -> None:
    proposals = _proposals(3)
    (first,) = proposals.plan((), Path("p.png")).prompts
    assert (first.object_id, first.frame) == (1, 4)
    picked = proposals.plan((3, 2, 3), Path("p.png")).prompts
    assert [prompt.object_id for prompt in picked] == [3, 2]
    assert picked[0].mask is not None
    assert np.array_equal(picked[0].mask, proposals.found[2].mask)


@pytest.mark.parametrize(("count", "words"), [(1, "only one object was"), (3, "only 3 objects were")])
def test_a_number_that_is_not_there(count: int, words: str) -> None:
    with pytest.raises(InputError, match=rf"There is no object 7: {words} proposed on frame 4, as p\.png shows\."):
        _proposals(count).plan((7,), Path("p.png"))


@pytest.mark.parametrize("count", [1, 4, 5, MOST])
@pytest.mark.parametrize("size", [(120, 200), (200, 60), (1, 1), (17, 400)])
def test_picture_of_any_number_and_size(tmp_path: Path, count: int, size: tuple[int, int]) -> None:
    _proposals(count, *size).save(tmp_path / "p.png", ())
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.width == 1200
        assert np.asarray(picture).std() > 1
    assert len(list(tmp_path.iterdir())) == 1
