"""Whether the numbers of a run agree with its pictures: pixel for pixel, area for area."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools.coco import COCO
from uamp_data.masks import read_mask


def assert_agreement(folder: Path) -> int:
    """Compare `masks`, `cutouts`, `report.json`, `coco.json` and `table.csv` of one run.

    Returns how many masks there were, counting each object on each frame.
    """
    names = sorted(path.name for path in (folder / "masks").iterdir())
    assert sorted(path.name for path in (folder / "cutouts").iterdir()) == names
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        table = {(int(row["frame"]), int(row["object"])): row for row in csv.DictReader(file)}
    coco = COCO(folder / "coco.json")
    annotations = {(one["image_id"] - 1, one["track_id"]): one for one in coco.dataset["annotations"]}
    assert [image["file_name"] for image in coco.dataset["images"]] == names
    assert len({one["id"] for one in annotations.values()}) == len(coco.dataset["annotations"])
    assert len(report["per_frame"]) == len(names)
    seen = 0
    for entry, name in zip(report["per_frame"], names, strict=True):
        ids = read_mask(folder / "masks" / name)
        alpha = np.asarray(Image.open(folder / "cutouts" / name))[..., 3]
        assert np.array_equal(alpha, np.where(ids > 0, 255, 0))
        assert {int(key) for key in entry["objects"]} >= set(np.unique(ids).tolist()) - {0}
        for key, state in entry["objects"].items():
            place = entry["frame"], int(key)
            _assert_state(ids == int(key), state, table.pop(place))
            annotation = annotations.pop(place, None)
            assert (annotation is None) == (state["area"] == 0)
            if annotation is not None:
                assert np.array_equal(_decoded(coco, annotation), ids == int(key))
                left, top, right, bottom = state["box"]
                assert annotation["bbox"] == [left, top, right - left, bottom - top]
                assert (annotation["area"], annotation["score"]) == (state["area"], state["score"])
                seen += 1
    assert not table
    assert not annotations
    return seen


def _decoded(coco: COCO, annotation: dict[str, object]) -> npt.NDArray[np.uint8]:
    with warnings.catch_warnings():  # pycocotools does not know numpy's newest ways yet
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.asarray(coco.annToMask(annotation), np.uint8)


def _assert_state(mask: "np.ndarray", state: dict, row: dict[str, str]) -> None:  # type: ignore[type-arg]
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else None
    assert state["box"] == box
    assert state["area"] == int(row["area"]) == len(rows)
    assert [row[side] for side in ("left", "top", "right", "bottom")] == [str(edge) for edge in box or [""] * 4]
    assert float(row["score"]) == state["score"]
    assert row["uncertainty"] == ("" if state["uncertainty"] is None else str(state["uncertainty"]))
