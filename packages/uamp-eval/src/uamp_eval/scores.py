"""What scoring comes to: J and F of one object of one video, and the figures that benchmarks report.

Nothing here needs torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from uamp_eval.metrics import ObjectScores, Scores, object_scores

FIGURES = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")
"""The seven figures of an object or of a whole benchmark, as fractions, in the order in which they are reported."""

LOWER_IS_BETTER = frozenset({"J-Decay", "F-Decay"})

Summary = TypedDict("Summary", {"global": dict[str, float], "objects": dict[str, dict[str, float]]})
"""The figures of a benchmark, and of each object by its name."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectResult:
    """J and F of one object in every frame that was scored.

    Attributes:
        sequence: Name of the video.
        object_id: 1 to 254.
        frames: Names of the scored frames, in order; at least one.
        jaccard: J of each scored frame, in [0, 1].
        boundary: F of each scored frame, in [0, 1].
    """

    sequence: str
    object_id: int
    frames: tuple[str, ...]
    jaccard: Scores
    boundary: Scores

    @property
    def name(self) -> str:
        """The object's key in reports: `camel_1`."""
        return f"{self.sequence}_{self.object_id}"

    @property
    def j(self) -> ObjectScores:
        """J summed up over the frames."""
        return object_scores(self.jaccard)

    @property
    def f(self) -> ObjectScores:
        """F summed up over the frames."""
        return object_scores(self.boundary)


def object_figures(result: ObjectResult) -> dict[str, float]:
    """Return the seven figures of one object, in the order of `FIGURES`."""
    j, f = result.j, result.f
    values = ((j.mean + f.mean) / 2, j.mean, j.recall, j.decay, f.mean, f.recall, f.decay)
    return dict(zip(FIGURES, values, strict=True))


def summarise(objects: Sequence[ObjectResult]) -> Summary:
    """Sum up a benchmark.

    Args:
        objects: The results of all objects of all videos; at least one.

    Returns:
        `{"global": {figure: fraction}, "objects": {"camel_1": {figure: fraction}}}` with the seven `FIGURES` each. A
        global figure is the mean over objects, so a video with many objects weighs more than one with few.

    Raises:
        ValueError: There is no object, or two have the same name.
    """
    per_object = {result.name: object_figures(result) for result in objects}
    if len(per_object) < len(objects):
        raise ValueError("Two results have the same sequence and object id.")
    return {"global": mean_figures(per_object.values()), "objects": per_object}


def sequence_figures(objects: Sequence[ObjectResult]) -> dict[str, dict[str, float]]:
    """Return the mean figures over the objects of each video, by video name in the order given."""
    grouped: dict[str, list[dict[str, float]]] = {}
    for result in objects:
        grouped.setdefault(result.sequence, []).append(object_figures(result))
    return {name: mean_figures(figures) for name, figures in grouped.items()}


def mean_figures(figures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Average the seven figures over objects.

    Raises:
        ValueError: There is no object.
    """
    rows = list(figures)
    if not rows:
        raise ValueError("There is no object to average over.")
    means = {figure: float(np.mean([row[figure] for row in rows])) for figure in FIGURES[1:]}
    return {"J&F-Mean": (means["J-Mean"] + means["F-Mean"]) / 2, **means}


def seen_unseen_figures(objects: Sequence[ObjectResult], seen: Mapping[str, bool | None]) -> dict[str, float]:
    """Return the figures of YouTube-VOS, which weigh object categories of the training set and others alike.

    Args:
        objects: The results of all objects.
        seen: By object name, whether the object's category is in the training set; None or absent where unknown.

    Returns:
        `{"G", "J-Seen", "J-Unseen", "F-Seen", "F-Unseen"}` as fractions, G being the mean of the other four. Empty
        where an object's category is unknown or all objects are of one kind: G would mean something else there.
    """
    groups: dict[bool, list[ObjectResult]] = {True: [], False: []}
    for result in objects:
        known = seen.get(result.name)
        if known is None:
            return {}
        groups[known].append(result)
    if not (groups[True] and groups[False]):
        return {}
    parts = {
        f"{measure}-{kind}": float(np.mean([getattr(result, measure.lower()).mean for result in groups[known]]))
        for measure in ("J", "F")
        for kind, known in (("Seen", True), ("Unseen", False))
    }
    return {"G": float(np.mean(list(parts.values()))), **parts}


def in_percent(value: float) -> str:
    """Write a fraction as tables show it: percent with one decimal."""
    # Adding zero turns −0.0 into 0.0.
    return f"{round(100 * value, 1) + 0.0:.1f}"
