"""How prompts are read."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from uamp_cli.prompts import _KEYS, read_plan
from uamp_data.masks import write_mask
from uamp_model.errors import InputError

Make = Callable[..., Path]


def test_boxes_are_objects_and_points_refine_a_single_box() -> None:
    two = read_plan(["1,2,3,4", "5,6,7,8.5"], [], None, None, 3)
    assert [(p.object_id, p.frame, p.box) for p in two.prompts] == [(1, 3, (1, 2, 3, 4)), (2, 3, (5, 6, 7, 8.5))]
    refined = read_plan(["1,2,3,4"], ["2,3", "9,9,0"], None, None, 0)
    assert [(p.box, p.points) for p in refined.prompts] == [((1, 2, 3, 4), ((2, 3, 1), (9, 9, 0)))]
    labels = refined.prompts[0].to_model().labels
    assert labels.tolist() == [2, 3, 1, 0]


def test_points_alone_are_one_object() -> None:
    plan = read_plan([], ["2,3", "9,9,0"], None, None, 0)
    assert [(p.object_id, p.box, p.points) for p in plan.prompts] == [(1, None, ((2, 3, 1), (9, 9, 0)))]


def test_nothing_means_a_proposal_on_the_prompt_frame() -> None:
    plan = read_plan([], [], None, None, 4)
    assert (plan.prompts, plan.start, plan.reach, plan.last_frame) == ((), 4, 4, 4)


def test_mask_file_holds_an_object_per_id(make_mask: Make) -> None:
    plan = read_plan([], [], make_mask(), None, 2)
    assert [(p.object_id, p.frame) for p in plan.prompts] == [(1, 2), (3, 2)]
    masks = [p.mask for p in plan.prompts if p.mask is not None]
    assert [mask.sum() for mask in masks] == [16 * 20, 16 * 48]
    assert not np.logical_and(*masks).any()


def test_both_spellings_of_a_prompts_file_are_the_same(tmp_path: Path, make_mask: Make) -> None:
    make_mask("m.png")
    by_object = {
        "objects": {
            "1": {"frame": 0, "box": [1, 2, 3, 4], "points": [[2, 3, 1]]},
            "2": [{"points": [[5, 6]]}, {"frame": 9, "mask": "m.png"}],
        }
    }
    as_list = [
        {"object": 2, "frame": 9, "mask": "m.png"},
        {"object": "1", "frame": 0, "box": [1, 2, 3, 4], "points": [[2, 3, 1]]},
        {"object": 2, "points": [[5, 6]]},
    ]
    plans = []
    for content in (by_object, as_list):
        (tmp_path / "p.json").write_text(json.dumps(content))
        plans.append(read_plan([], [], None, tmp_path / "p.json", 5))
    for plan in plans:
        assert [(p.object_id, p.frame) for p in plan.prompts] == [(1, 0), (2, 5), (2, 9)]
        assert (plan.first_frames, plan.reach, plan.last_frame) == ({1: 0, 2: 5}, 5, 9)
        assert set(plan.at(9)) == {2}
        assert plan.prompts[2].mask is not None
        assert plan.prompts[2].mask.sum() == 16 * 20 + 16 * 48


def test_a_box_may_reach_over_the_edge_but_not_lie_outside() -> None:
    read_plan(["-5,-5,20,20"], [], None, None, 0).check(10, 10, 1)
    with pytest.raises(InputError, match="outside the picture, which is 10×10"):
        read_plan(["10,0,20,20"], [], None, None, 0).check(10, 10, 1)


def test_examples_of_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "prompts.md").read_text(encoding="utf-8")
    by_object, as_list, schema = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    write_mask(tmp_path / "second.png", np.ones((4, 4), np.uint8))
    plans = []
    for content in (by_object, as_list):
        (tmp_path / "p.json").write_text(json.dumps(content))
        plan = read_plan([], [], None, tmp_path / "p.json", 0)
        plans.append([(p.object_id, p.frame, p.box, p.points, p.mask is not None) for p in plan.prompts])
    assert plans[0] == plans[1]
    assert len(plans[0]) == 3
    assert set(schema["$defs"]["prompt"]["properties"]) | {"object"} == set(_KEYS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"objects": {"1": {"box": [1, 1, 3, 3]}}, "extra": 1}', "unknown key 'extra'"),
        ('{"objects": {"1": {"box": [1, 1, 3, 3]}, "1": {"box": [1, 1, 2, 2]}}}', "the key '1' twice"),
        ('{"objects": {"1": {"object": 2, "box": [1, 1, 3, 3]}}}', "under object 1 and names object 2"),
        ('[{"object": 1, "box": [1, 1, 3, 1' + 400 * "0" + "]}]", "too large"),
        ('[{"object": 1, "box": [1, 1, 3, 1' + 5000 * "0" + "]}]", "not valid JSON"),
        ('{"objects": {"' + 5000 * "1" + '": {"box": [1, 1, 3, 3]}}}', "needs an object number"),
    ],
)
def test_what_a_prompts_file_must_not_say(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(words)):
        read_plan([], [], None, tmp_path / "p.json", 0)


def test_a_prompts_file_of_a_windows_editor(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('[{"object": 1, "box": [1, 1, 3, 3]}]', encoding="utf-8-sig")
    assert read_plan([], [], None, tmp_path / "p.json", 0).prompts[0].box == (1, 1, 3, 3)
