"""Validation of a training run: J and F of its present weights on sequences it does not learn from."""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from uamp_data.masks import read_annotation, write_mask
from uamp_eval.runs import run_benchmark
from uamp_eval.scores import mean_figures, object_figures
from uamp_eval.scoring import ScoringRule, score_results
from uamp_eval.sequences import VideoSequence
from uamp_model import VideoTracker, find_model
from uamp_model.devices import choose_device
from uamp_model.presets import MEMORY_SETTINGS
from uamp_train.config import TrainConfig
from uamp_train.objective import TrainingModule
from uamp_train.weights import build_module, load_weights

log = logging.getLogger(__name__)

FIGURES = ("J&F-Mean", "J-Mean", "F-Mean")


class Validation:
    """Follows the sequences' objects with each memory setting, on the same weights; see `uamp_train.loop.Validate`."""

    def __init__(self, settings: TrainConfig, sequences: Sequence[VideoSequence], judged_on: str) -> None:
        self._settings, self._sequences, self._judged_on = settings, sequences, judged_on
        listed_objects = any(getattr(sequence, "object_frames", None) for sequence in sequences)
        self._rule = ScoringRule.YOUTUBE_VOS if listed_objects else ScoringRule.DAVIS
        # What learns is judged first: the layers act in the setting uamp alone.
        first = "uamp" if settings.freeze_sam2_backbone else "sam2"
        self._memories = (first, *(name for name in MEMORY_SETTINGS if name != first))
        self._known: dict[str, dict[str, float]] = {}
        self._module: TrainingModule | None = None

    def __call__(self, weights: Mapping[str, Tensor], step: int) -> dict[str, float]:
        """Mean J&F by memory setting, in [0, 1]: first that of what learns."""
        figures = {**self._known, **self._track(weights)}
        if self._settings.freeze_sam2_backbone:  # the others will say the same every time
            self._known = {name: found for name, found in figures.items() if name != self._memories[0]}
        for line in score_table({name: figures[name] for name in self._memories}, f"step {step}, {self._judged_on}"):
            log.info("%s", line)
        return {f"J&F {name}": figures[name]["J&F-Mean"] for name in self._memories}

    def _track(self, weights: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
        if self._module is None:
            size = self._settings.val_image_size or None
            module = build_module(self._settings, image_size=size).requires_grad_(False).eval()
            self._module = module.to(choose_device(self._settings.device))
        load_weights(self._module, weights)
        trackers = {name: self._tracker(self._module, name) for name in self._memories if name not in self._known}
        with tempfile.TemporaryDirectory(prefix="uamp-validation-") as folder:
            summary = run_benchmark(
                trackers, self._sequences, Path(folder), write=write_mask, protocol=f"validation, {self._rule.value}"
            )
            return {
                name: mean_figures(
                    object_figures(result)
                    for result in score_results(
                        self._sequences, summary.folders[name], read=read_annotation, rule=self._rule, workers=1
                    )
                )
                for name in trackers
            }

    def _tracker(self, module: TrainingModule, memory: str) -> VideoTracker:
        return VideoTracker(
            module.model,
            name=find_model(self._settings.model_name).name,
            memory=memory,
            dtype=torch.bfloat16 if self._settings.precision == "bf16" else torch.float32,
            layers=module.layers if memory == "uamp" else None,
        )


def score_table(figures: Mapping[str, Mapping[str, float]], title: str) -> list[str]:
    """Lines of a table with a row for each memory setting, in percent."""
    head = "".join(f"{name.removesuffix('-Mean'):>8}" for name in FIGURES)
    rows = [
        f"  {memory:<10}" + "".join(f"{100 * values[name]:8.1f}" for name in FIGURES)
        for memory, values in figures.items()
    ]
    return [f"Validation at {title}", f"  {'memory':<10}{head}", *rows]
