"""`uamp train`: read the configuration, open the data, run the loop, write what was learned."""

import logging
import shlex
import warnings
from pathlib import Path
from typing import Annotated

import typer

from uamp_cli.terminal import err_console, out_console


def _print_keys(wanted: bool) -> None:
    if wanted:
        from uamp_train.config_table import config_table

        typer.echo(config_table())
        raise typer.Exit()


def train(
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE.yaml", help="The run's settings.", show_default=False)
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a setting, with dots for nested ones: --set lr=3e-4 --set augment.flip=0. Repeatable.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint, as if it had never stopped.")
    ] = False,
    _keys: Annotated[
        bool,
        typer.Option(
            "--keys",
            help="List every key of the file with its default, and leave.",
            callback=_print_keys,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Train a model, or the UAMP layers on a frozen one, as a YAML file says.

    What is set on the command line wins over variables (UAMP_LR=3e-4, UAMP_POOL__CLIPS=40), these over the file. More,
    and training on several GPUs: docs/training.md.
    """
    from uamp_train.config_loading import load_config

    settings = load_config(config, set_ or [])
    _show_progress()

    from uamp_model.errors import CheckpointError
    from uamp_train import loop
    from uamp_train.export import export_run

    from uamp_cli.models import fetch_weights_together
    from uamp_cli.outputs import no_empty_folders
    from uamp_cli.train_data import open_data
    from uamp_cli.train_validation import Validation

    def fetch() -> None:
        if settings.freezes_sam2 and settings.sam2_checkpoint is None:
            fetch_weights_together(settings.model_name)

    with no_empty_folders(settings.run_dir):
        # what is wrong with it is said before weights are fetched or a pool is built
        try:
            run = loop.prepare(settings, resume=resume, fetch=fetch)
        except CheckpointError as error:  # what other commands call --checkpoint is a key here
            raise CheckpointError(str(error).replace("pass --checkpoint", "set sam2_checkpoint")) from error
        accelerator = run.accelerator
        # One process builds the pool and others find it finished, also on nodes that do not see the first one's disk.
        with accelerator.main_process_first(), accelerator.local_main_process_first():
            data = open_data(settings)
    validation = Validation(settings, data.validation, data.judged_on) if data.validation else None
    try:
        loop.carry_out(run, data.clips, validate=validation, console=err_console())
    except KeyboardInterrupt:
        if accelerator.is_main_process:
            _say_how_to_go_on(run.state.step, settings.run_dir)
        raise
    if accelerator.is_main_process:
        weights = export_run(settings.run_dir)
        option = "--uamp-checkpoint" if settings.freeze_sam2_backbone else "--checkpoint"
        base = ["--checkpoint", str(settings.sam2_checkpoint)] if settings.sam2_checkpoint and "uamp" in option else []
        out = out_console()
        out.print(f"Trained weights: {weights}", highlight=False, markup=False, soft_wrap=True)
        if not err_console().quiet:
            command = ["uamp", "demo", "--model", settings.model_name, *base, option, str(weights)]
            out.print(f"Try them: {shlex.join(command)}", highlight=False, markup=False, soft_wrap=True)


def _say_how_to_go_on(step: int, folder: Path) -> None:
    text = f"Saved in {folder} up to step {step}: the same command with --resume goes on from there."
    err_console().print(text if step else "No step was saved.", highlight=False, markup=False, soft_wrap=True)


def _show_progress() -> None:
    """Let the libraries' log lines be seen, unless --quiet is given: they are this command's output while it works."""
    quiet = err_console().quiet
    level, others = (logging.ERROR, logging.ERROR) if quiet else (logging.INFO, logging.WARNING)
    logging.basicConfig(level=others, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for package in ("uamp_train", "uamp_data", "uamp_cli"):
        logging.getLogger(package).setLevel(level)
    # Said once by each process of a distributed run; it is about speed, and nothing here can change it.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
