"""`uamp train`: read the configuration, build or open the clips, run the loop."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from uamp_data.pool import ClipPool
    from uamp_train.config import TrainConfig

log = logging.getLogger(__name__)


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
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for package in ("uamp_train", "uamp_data", __name__):
        logging.getLogger(package).setLevel(logging.INFO)

    from uamp_train import loop

    accelerator = loop.make_accelerator(settings)
    with accelerator.main_process_first():  # one process builds the pool, the others find it finished
        source = _pool(settings)
    checkpoint = loop.train(settings, source, resume=resume)
    if accelerator.is_main_process:
        typer.echo(f"Trained: {checkpoint}")


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
