"""`uamp train`: read the configuration, build or open the clips, run the loop, write the weights."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch import Tensor
    from uamp_data.pool import ClipPool
    from uamp_train.config import TrainConfig

log = logging.getLogger(__name__)

VALIDATION_SEED = 3_000_000_000
"""Seed of the first validation clip: beyond those of a pool with seed 0, below those of any other."""
VALIDATION_CLIPS, VALIDATION_FRAMES = 8, 16


def train(
    config: Annotated[Path, typer.Option("--config", help="YAML file with the run's settings.", show_default=False)],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; dots for nested ones. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
) -> None:
    """Train a model as a YAML file says."""
    from uamp_train.config_loading import load_config

    settings = load_config(config, set_ or [])
    _show_progress()

    from uamp_train import loop
    from uamp_train.export import WEIGHTS, export_weights

    accelerator = loop.make_accelerator(settings)
    with accelerator.main_process_first():  # one process builds the pool, the others find it finished
        source = _pool(settings)
    validation = _Validation(settings) if settings.val_interval else None
    checkpoint = loop.train(settings, source, resume=resume, validate=validation)
    if accelerator.is_main_process:
        weights = settings.run_dir / WEIGHTS
        export_weights(checkpoint, weights)
        typer.echo(
            f"Trained weights: {weights}\nTry them: uamp demo --model {settings.model_name} --checkpoint {weights}"
        )


def _show_progress() -> None:
    """Let the libraries' log lines be seen: they are this command's output while it works."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for package in ("uamp_train", "uamp_data", __name__):
        logging.getLogger(package).setLevel(logging.INFO)
    # Said once by each process of a distributed run; it is about speed, and nothing here can change it.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


def _pool(settings: "TrainConfig") -> "ClipPool":
    from uamp_data.pool import build_pool

    wanted = settings.pool

    def tell(done: int, total: int) -> None:
        if done == total or done % 20 == 0:
            log.info("Clip pool %s: %d of %d clips", wanted.folder, done, total)

    return build_pool(
        wanted.folder,
        clips=wanted.clips,
        num_frames=wanted.frames,
        size=wanted.size,
        seed=wanted.seed,
        workers=max(1, settings.num_workers),
        progress=tell,
    )


class _Validation:
    """Scores weights by the mean J of tracking generated clips that no pool holds, from their first masks."""

    def __init__(self, settings: "TrainConfig") -> None:
        from uamp_data.synthetic import generate_clip

        self._model_name = settings.model_name
        size = (settings.pool.size, settings.pool.size)
        self._clips = [
            generate_clip(VALIDATION_SEED + number, num_frames=VALIDATION_FRAMES, size=size)
            for number in range(VALIDATION_CLIPS)
        ]

    def __call__(self, weights: "Mapping[str, Tensor]", _: int) -> float:
        import numpy as np
        from uamp_eval.metrics import jaccard
        from uamp_model import Prompt, VideoTracker, build_model

        model = build_model(self._model_name)
        model.load_state_dict(dict(weights))
        tracker = VideoTracker(model.requires_grad_(False), name=self._model_name)
        scores = []
        for clip in self._clips:
            session = tracker.start()
            ids = [int(identity) for identity in np.unique(clip.masks[0]) if identity]
            session.step(clip.frames[0], {identity: Prompt.mask(clip.masks[0] == identity) for identity in ids})
            for frame, truth in zip(clip.frames[1:], clip.masks[1:], strict=True):
                result = session.step(frame)
                masks = result.masks.numpy()
                scores += [jaccard(masks[row], truth == identity) for row, identity in enumerate(result.object_ids)]
        return float(np.mean(scores))
