"""What the user pointed at: `--box`, `--point`, `--mask` and `--prompts`, read and checked before any model is loaded.

The prompts file is JSON in one of two spellings. By object, each with one prompt or a list of prompts:

    {"objects": {"1": {"frame": 0, "box": [120, 80, 260, 300]},
                 "2": [{"frame": 0, "points": [[400, 210], [380, 90, 0]]}, {"frame": 40, "mask": "second.png"}]}}

or as a list of prompts that name their object:

    [{"object": 1, "frame": 0, "box": [120, 80, 260, 300]}, {"object": 2, "points": [[400, 210]]}]

`frame` counts from 0 and defaults to `--prompt-frame`. A prompt is a `box` (left, top, right, bottom edge in pixels),
`points` (x, y and a label: 1 on the object, the default, or 0 beside it), a box with points, or a `mask`: an image of
the video's size, relative to the file's folder, whose non-zero pixels are the object.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from uamp_model.errors import InputError

if TYPE_CHECKING:
    from uamp_model import Prompt

Box = tuple[float, float, float, float]
Point = tuple[float, float, int]

MAX_OBJECT_ID = 254
"""The largest id a mask PNG can hold; 255 means void there."""

_LARGEST = 10**9
"""Pixels; no picture is larger, and no whole number below it is too large to compute with."""
_KEYS = ("object", "frame", "box", "points", "mask")


@dataclass(frozen=True, slots=True, eq=False)
class ObjectPrompt:
    """Where one object is on one frame.

    Attributes:
        object_id: 1 to 254.
        frame: number of the frame, from 0.
        box: left, top, right and bottom edge in pixels.
        points: x, y in pixels and a label, 1 on the object or 0 beside it.
        mask: H×W bool.
        file: where the mask was read from.
        name: how the user wrote it, for error messages.
    """

    object_id: int
    frame: int
    box: Box | None = None
    points: tuple[Point, ...] = ()
    mask: npt.NDArray[np.bool_] | None = None
    file: Path | None = None
    name: str = "the prompt"

    def to_model(self) -> "Prompt":
        """The same prompt as the tracker takes it."""
        from uamp_model import Prompt

        if self.mask is not None:
            return Prompt.mask(self.mask)
        xy, labels = [point[:2] for point in self.points], [point[2] for point in self.points]
        if self.box is None:
            return Prompt.points(xy, labels)
        prompt = Prompt.box(*self.box)
        return prompt.with_points(xy, labels) if xy else prompt

    def check_size(self, width: int, height: int) -> None:
        """Raise InputError if this prompt does not fit a video of `width`×`height` pixels."""
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                raise InputError(f"{self.name} lies outside the picture, which is {width}×{height} pixels.")
        for x, y, _ in self.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise InputError(
                    f"The point {x:g},{y:g} of {self.name} lies outside the picture, which is {width}×{height} pixels."
                )
        if self.mask is not None and self.mask.shape != (height, width):
            raise InputError(
                f"{self.name} is {self.mask.shape[1]}×{self.mask.shape[0]} pixels but the video is {width}×{height}: "
                "a mask must have the size of the video."
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """Every prompt of a run.

    Attributes:
        prompts: at most one prompt per object and frame; empty if the tracker is to propose an object.
        start: the frame that a proposal is made on when there are no prompts.
    """

    prompts: tuple[ObjectPrompt, ...]
    start: int = 0
    first_frames: dict[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        first: dict[int, int] = {}
        for prompt in self.prompts:
            first[prompt.object_id] = min(prompt.frame, first.get(prompt.object_id, prompt.frame))
        object.__setattr__(self, "first_frames", first)

    @property
    def reach(self) -> int:
        """The last frame that is some object's first: every frame up to it is also tracked backwards."""
        return max(self.first_frames.values(), default=self.start)

    @property
    def last_frame(self) -> int:
        """The last frame with a prompt."""
        return max((prompt.frame for prompt in self.prompts), default=self.start)

    def at(self, frame: int) -> dict[int, ObjectPrompt]:
        """The prompts of one frame, by object."""
        return {prompt.object_id: prompt for prompt in self.prompts if prompt.frame == frame}

    def check(self, width: int, height: int, frame_count: int | None) -> None:
        """Raise InputError if a prompt does not fit the video."""
        for prompt in self.prompts:
            prompt.check_size(width, height)
        if frame_count is not None and self.last_frame >= frame_count:
            raise InputError(
                f"There is a prompt on frame {self.last_frame}, but the last frame that is read is {frame_count - 1}, "
                "counted from 0: prompt an earlier one."
            )


def read_plan(
    boxes: Sequence[str], points: Sequence[str], mask: Path | None, prompts: Path | None, prompt_frame: int
) -> Plan:
    """Make one plan of the four ways to point at objects.

    Several boxes are several objects. Points alone describe one object together; with one box they refine it. A mask
    file holds one object per id.

    Raises:
        InputError: if something cannot be read, is no prompt, or cannot be combined.
    """
    ways = [
        name
        for name, given in (("--mask", mask), ("--prompts", prompts), ("--box or --point", [*boxes, *points]))
        if given
    ]
    if len(ways) > 1:
        raise InputError(
            f"{ways[0]} cannot be combined with {ways[1]}: give one of them, or write all in a --prompts file."
        )
    if prompts is not None:
        return Plan(_read_prompts_file(prompts, prompt_frame), prompt_frame)
    if mask is not None:
        return Plan(_read_mask_file(mask, prompt_frame), prompt_frame)
    return Plan(_from_options(boxes, points, prompt_frame), prompt_frame)


def _from_options(boxes: Sequence[str], points: Sequence[str], frame: int) -> tuple[ObjectPrompt, ...]:
    clicks = tuple(_point(_numbers(text, "--point"), f"--point {text}") for text in points)
    if len(boxes) > 1 and clicks:
        raise InputError(
            "With several boxes it is unclear which object a --point belongs to: write them in a --prompts file."
        )
    found = [
        ObjectPrompt(number, frame, box=_box(_numbers(text, "--box"), f"--box {text}"), name=f"--box {text}")
        for number, text in enumerate(boxes, start=1)
    ]
    if clicks and found:
        found[0] = replace(found[0], points=clicks)
    elif clicks:
        found = [_with_a_positive_point(ObjectPrompt(1, frame, points=clicks, name="--point"))]
    return tuple(found)


def _with_a_positive_point(prompt: ObjectPrompt) -> ObjectPrompt:
    if prompt.box is None and prompt.mask is None and not any(label for _, _, label in prompt.points):
        raise InputError(f"{prompt.name} has only points beside the object: give at least one point on it.")
    return prompt


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        wanted = "x0,y0,x1,y1" if option == "--box" else "x,y or x,y,0"
        raise InputError(f"{option} {text} is not a list of numbers: write {option} {wanted} in pixels.") from None


def _box(values: object, name: str) -> Box:
    numbers = _finite_numbers(values, name)
    if len(numbers) != 4:
        raise InputError(f"{name} has {len(numbers)} numbers instead of four: x0,y0,x1,y1 in pixels.")
    x0, y0, x1, y1 = numbers
    if x1 <= x0 or y1 <= y0:
        raise InputError(
            f"{name} is reversed or has no area: give the left, top, right and bottom edge, in that order."
        )
    return x0, y0, x1, y1


def _point(values: object, name: str) -> Point:
    numbers = _finite_numbers(values, name)
    if len(numbers) not in (2, 3):
        raise InputError(f"{name} has {len(numbers)} numbers instead of x,y or x,y,label.")
    label = numbers[2] if len(numbers) == 3 else 1.0
    if label not in (0.0, 1.0):
        raise InputError(f"{name} has the label {label:g}: it must be 1 (on the object) or 0 (beside it).")
    return numbers[0], numbers[1], int(label)


def _finite_numbers(values: object, name: str) -> list[float]:
    if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise InputError(f"{name} must be a list of numbers.")
    if not all(abs(value) < _LARGEST for value in values):
        raise InputError(f"{name} has a coordinate that is too large or not a finite number.")
    return [float(value) for value in values]


def _read_mask_file(path: Path, frame: int) -> tuple[ObjectPrompt, ...]:
    ids = _read_ids(path)
    found = [int(value) for value in np.unique(ids) if 0 < value <= MAX_OBJECT_ID]
    if not found:
        raise InputError(f"The mask {path} is empty: mark at least one pixel of the object.")
    return tuple(ObjectPrompt(value, frame, mask=ids == value, name=f"The mask {path}") for value in found)


def _read_ids(path: Path) -> npt.NDArray[Any]:
    from uamp_data.masks import read_mask

    if not path.is_file():
        raise InputError(f"There is no mask file {path}: check the path.")
    return read_mask(path)


def _read_prompts_file(path: Path, default_frame: int) -> tuple[ObjectPrompt, ...]:
    try:
        # as Windows' editors write it, too
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=partial(_without_repeats, path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The prompts file {path} cannot be read ({_reason(error)}): check the path.") from error
    except (ValueError, RecursionError) as error:  # ValueError also of a number with thousands of digits
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"The prompts file {path} is not valid JSON{where}.") from error
    found: dict[tuple[int, int], ObjectPrompt] = {}
    for name, object_id, entry in _entries(content, path):
        prompt = _entry_prompt(object_id, entry, name, path.parent, default_frame)
        if (prompt.object_id, prompt.frame) in found:
            raise InputError(f"{name} is the second prompt of object {object_id} on frame {prompt.frame}: join them.")
        found[prompt.object_id, prompt.frame] = prompt
    if not found:
        raise InputError(f"The prompts file {path} names no object: say where one is, as docs/prompts.md describes.")
    return tuple(sorted(found.values(), key=lambda prompt: (prompt.frame, prompt.object_id)))


def _without_repeats(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"The prompts file {path} has the key {key!r} twice in one place: join or rename them.")
        found[key] = value
    return found


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _entries(content: object, path: Path) -> Iterable[tuple[str, int, Mapping[str, Any]]]:
    """Name, object id and content of every prompt in the file, whichever way it is written."""
    if isinstance(content, dict) and isinstance(content.get("objects"), dict):
        for key in content:
            if key != "objects":
                raise InputError(f"The prompts file {path} has an unknown key {key!r} beside 'objects': take it out.")
        pairs = [
            (key, entry)
            for key, value in content["objects"].items()
            for entry in (value if isinstance(value, list) else [value])
        ]
    elif isinstance(content, list):
        pairs = [(entry.get("object") if isinstance(entry, dict) else None, entry) for entry in content]
    else:
        raise InputError(f'The prompts file {path} must hold {{"objects": {{"1": …}}}} or a list of prompts.')
    for number, (key, entry) in enumerate(pairs, start=1):
        name = f"Prompt {number} in {path}"
        if not isinstance(entry, dict):
            raise InputError(f'{name} must be written like {{"frame": 0, "box": [x0, y0, x1, y1]}}.')
        object_id = _object_id(key, name)
        if "object" in entry and _object_id(entry["object"], name) != object_id:
            raise InputError(f"{name} stands under object {object_id} and names object {entry['object']}: keep one.")
        yield name, object_id, entry


def _object_id(key: object, name: str) -> int:
    text = str(key)
    if isinstance(key, bool) or not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_OBJECT_ID:
        raise InputError(f"{name} needs an object number from 1 to {MAX_OBJECT_ID}, not {key!r:.40}.")
    return int(text)


def _entry_prompt(
    object_id: int, entry: Mapping[str, Any], name: str, folder: Path, default_frame: int
) -> ObjectPrompt:
    for key in entry:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            raise InputError(
                f"{name} has an unknown key {key!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_KEYS)}.")
            )
    frame = entry.get("frame", default_frame)
    if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
        raise InputError(f"{name} needs a frame number from 0 on, not {frame!r}.")
    if "mask" in entry:
        if "box" in entry or "points" in entry:
            raise InputError(f"{name} has a mask as well as a box or points: give one or the other.")
        if not isinstance(entry["mask"], str):
            raise InputError(f"{name} must name its mask as a path to an image.")
        file = folder / entry["mask"]
        mask = _read_ids(file) != 0
        if not mask.any():
            raise InputError(f"The mask {file} is empty: mark at least one pixel of the object.")
        return ObjectPrompt(object_id, frame, mask=mask, file=file, name=name)
    points = entry.get("points", [])
    if not isinstance(points, list):
        raise InputError(f"{name} must give its points as a list like [[x, y], [x, y, 0]].")
    box = _box(entry["box"], f"The box of {name}") if "box" in entry else None
    clicks = tuple(_point(values, f"A point of {name}") for values in points)
    if box is None and not clicks:
        raise InputError(f"{name} has no box, points or mask.")
    return _with_a_positive_point(ObjectPrompt(object_id, frame, box=box, points=clicks, name=name))
