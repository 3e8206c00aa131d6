import numpy as np
import pytest
import torch
from uamp_model import InputError, Prompt
from uamp_model.focus import Window
from uamp_model.prompt_batches import batch_prompts

CPU = torch.device("cpu")
WHOLE = Window.whole((40, 80))


def _mask() -> Prompt:
    region = np.zeros((40, 80), bool)
    region[10:20, 20:60] = True
    return Prompt.mask(region)


def test_prompts_of_one_kind_and_number_of_points_go_together() -> None:
    prompts = {
        7: Prompt.box(10, 10, 30, 30),
        3: _mask(),
        5: Prompt.points([(40, 20), (10, 5)], [1, 0]),
        1: Prompt.points([(40, 20)]),
        2: _mask(),
    }
    batches = batch_prompts(prompts, WHOLE, 64, CPU)
    assert [ids for ids, _ in batches] == [[3, 2], [7, 5], [1]]
    masks, pairs, single = (batch for _, batch in batches)
    assert masks.masks is not None
    assert masks.masks.shape == (2, 1, 64, 64)
    assert pairs.points is not None
    assert pairs.labels is not None
    assert pairs.labels.tolist() == [[2, 3], [1, 0]]
    assert pairs.points[1].tolist() == [[32, 32], [8, 8]]
    assert single.points is not None
    assert single.points.shape == (1, 1, 2)


def test_no_prompts_are_no_batches() -> None:
    assert batch_prompts({}, WHOLE, 64, CPU) == []


def test_what_is_no_prompt_is_refused() -> None:
    with pytest.raises(InputError, match="must be a mapping"):
        batch_prompts([Prompt.box(1, 1, 9, 9)], WHOLE, 64, CPU)  # type: ignore[arg-type] # on purpose
    with pytest.raises(InputError, match="Object 4 needs a prompt"):
        batch_prompts({4: (1, 1, 9, 9)}, WHOLE, 64, CPU)  # type: ignore[dict-item] # on purpose
