"""Masks as COCO annotations with run-length encoding, which annotation tools and pycocotools read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from uamp_cli.tracking import TrackedFrame
from uamp_cli.writers.files import AtomicText, Spool

_CATEGORY = {"id": 1, "name": "object", "supercategory": ""}


def encode_mask(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's compressed run-length encoding of an H×W mask: `size` [H, W] and `counts`."""
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


class CocoFile:
    """One COCO data set: every frame is an image, every object that is seen on it an annotation.

    All are of the one category "object"; `track_id` is the object's number. `score` and `uncertainty` stand beside the
    keys of the format, and `file_name` is what a folder of masks or cut-outs of the same run calls the frame.
    """

    note: str | None = None

    def __init__(self, path: Path, description: str = "") -> None:
        """Start the file; `description` goes into its `info`."""
        self.path = path
        self._description = description
        self._text = AtomicText(path)
        self._images, self._annotations = Spool(path), Spool(path)

    def add(self, frame: TrackedFrame) -> None:
        """Note one frame."""
        height, width = frame.ids.shape
        image_id = frame.index + 1  # some tools take 0 for none
        image = {"id": image_id, "file_name": f"{frame.index:05d}.png", "width": width, "height": height}
        self._images.add(json.dumps(image | {"frame_index": frame.index, "time": frame.time}))
        for object_id, state in frame.objects.items():
            if state.box is None:
                continue
            left, top, right, bottom = state.box
            annotation = {
                "id": self._annotations.count + 1,
                "image_id": image_id,
                "category_id": _CATEGORY["id"],
                "segmentation": encode_mask(frame.ids == object_id),
                "area": state.area,
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": 0,
                "track_id": object_id,
                "score": state.score,
                "uncertainty": state.uncertainty,
            }
            self._annotations.add(json.dumps(annotation))

    def close(self) -> Path:
        """Put images and annotations into one file."""
        with self._images, self._annotations:
            head = {"info": {"description": self._description}, "licenses": [], "categories": [_CATEGORY]}
            self._text.write(json.dumps(head).removesuffix("}") + ',\n"images": [\n')
            self._images.copy_to(self._text)
            self._text.write('\n],\n"annotations": [\n')
            self._annotations.copy_to(self._text)
            self._text.write("\n]}\n")
        return self._text.close()

    def abort(self) -> None:
        """Discard it."""
        self._images.close()
        self._annotations.close()
        self._text.abort()
