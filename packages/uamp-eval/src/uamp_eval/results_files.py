"""`results.json` and `per_sequence.csv`: the scores of an evaluation for other programs. Nothing here needs torch."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uamp_eval.atomic import write_atomically
from uamp_eval.calibration import Calibration
from uamp_eval.scores import (
    FIGURES,
    LOWER_IS_BETTER,
    ObjectResult,
    mean_figures,
    object_figures,
    seen_unseen_figures,
    sequence_figures,
    summarise,
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of one setting and what they belong to.

    Attributes:
        name: The setting, as tables and reports call it: `uamp`.
        objects: The results of all objects.
        results: The folder that holds `<sequence>/<frame>.png`.
        settings: What the run was asked for; values that JSON can hold.
        versions: Package or program → version.
        fingerprint: The record of model, weights, settings and data; None where nobody knows how the masks were made.
        seen: By object name, whether its category is in the training set (YouTube-VOS); empty where unknown.
        calibration: How doubtful right and wrong pixels were; None where nobody looked while the masks were made.
    """

    name: str
    objects: Sequence[ObjectResult]
    results: Path
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprint: Mapping[str, object] | None = None
    seen: Mapping[str, bool | None] = field(default_factory=dict)
    calibration: Calibration | None = None

    def figures(self) -> dict[str, float]:
        """Return the seven global figures, and G and its parts where categories are known, as fractions."""
        means = mean_figures(map(object_figures, self.objects))
        return {**means, **seen_unseen_figures(self.objects, self.seen)}

    def document(self, *, per_frame: bool = False) -> dict[str, object]:
        """Return the scores as JSON holds them: fractions in full precision.

        Args:
            per_frame: Add J and F of every scored frame.

        Returns:
            `global` and `objects` (see `summarise`), `sequences` (the same figures by video), `settings`, `versions`,
            `fingerprint`; `youtube_vos` with G and its parts where known; `calibration` (see
            `Calibration.document`) where doubt was looked at; `frames` where `per_frame`.
        """
        document: dict[str, object] = {**summarise(self.objects), "sequences": sequence_figures(self.objects)}
        if parts := seen_unseen_figures(self.objects, self.seen):
            document["youtube_vos"] = parts
        if self.calibration is not None:
            document["calibration"] = self.calibration.document()
        document |= {
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "fingerprint": None if self.fingerprint is None else dict(self.fingerprint),
        }
        if per_frame:
            document["frames"] = {
                result.name: {
                    "frames": list(result.frames),
                    "J": result.jaccard.tolist(),
                    "F": result.boundary.tolist(),
                }
                for result in self.objects
            }
        return document


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write a JSON file, complete or not at all.

    Raises:
        InputError: It cannot be written.
    """
    write_atomically(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_results_json(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write the scores of all settings, with J and F of every frame: `{"sam2": {"global": …}, "uamp": …}`.

    Raises:
        InputError: It cannot be written.
    """
    write_json(path, {evaluation.name: evaluation.document(per_frame=True) for evaluation in evaluations})


def write_per_sequence_csv(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write a row for every object of every video and setting, with the number of frames scored and the seven figures.

    Raises:
        InputError: It cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["setting", "sequence", "object", "frames", *FIGURES])
    for evaluation in evaluations:
        for result in evaluation.objects:
            figures = object_figures(result)
            row = [evaluation.name, result.sequence, result.object_id, len(result.frames)]
            table.writerow([*row, *(repr(figures[figure]) for figure in FIGURES)])
    write_atomically(path, text.getvalue())


def best_values(figures: Sequence[Mapping[str, float]]) -> dict[str, float | None]:
    """Return the best value of each figure that all settings have; None where there is nothing to tell apart."""
    best: dict[str, float | None] = {}
    for name in (name for name in figures[0] if all(name in column for column in figures)):
        values = [column[name] for column in figures]
        best[name] = None if len(set(values)) == 1 else min(values) if name in LOWER_IS_BETTER else max(values)
    return best
