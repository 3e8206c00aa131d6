"""Opens the page on this machine's loopback, and nowhere else."""

import logging
import os
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from uamp_model.download import checkpoint_path
from uamp_model.errors import InputError

from uamp_cli.interrupts import kill_is_ctrl_c
from uamp_cli.models import tell_of_compiling
from uamp_cli.page import actions
from uamp_cli.page.clips import open_clip
from uamp_cli.page.settings import PageSettings
from uamp_cli.page.state import PageState, Tabs
from uamp_cli.page.tracking import Trackers
from uamp_cli.terminal import err_console, out_console

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
USUAL_PORT = 7860

# Gradio reports to its makers and keeps runs in the browser unless it is told not to. Its workers would take uploads at
# ports of their own, from anybody.
_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_NUM_WORKERS": "0",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def serve(settings: PageSettings) -> None:
    """Show the page until Ctrl-C.

    Raises:
        InputError: if Gradio is not installed, the port is taken, or the video cannot be read.
        KeyboardInterrupt: at the end.
    """
    with page_at(settings) as address:
        out_console().print(f"The page is at {address} (Ctrl-C ends it).", highlight=False, soft_wrap=True)
        if settings.opens_browser:
            webbrowser.open(address)
        _wait_for_interrupt()


@contextmanager
def page_at(settings: PageSettings) -> Iterator[str]:
    """The page, answering at the address that this yields until the block is left; then nothing is left of it.

    Raises:
        InputError: if Gradio is not installed or the port is taken.
        DeviceError: if the device is not there, or nothing can be compiled where that is asked for.
        CheckpointError: if weights or layers that are named cannot be read.
        DataError: if the video cannot be read.
    """
    choose_port(settings.port)  # one that is taken is better known before Gradio is imported, which takes seconds
    if settings.compiled:
        _prepare_to_compile(settings.device)
    if settings.input is not None:
        open_clip(settings.input).close()  # what is wrong with it is better known before a page opens
    with (
        tempfile.TemporaryDirectory(prefix="uamp-page-", ignore_cleanup_errors=True) as folder,
        _gradio_settings(folder),
    ):
        trackers = Trackers(
            settings.device,
            settings.checkpoints,
            settings.layers,
            settings.memory_budget,
            settings.image_size,
            settings.compiled,
        )
        _check_choices(trackers, settings)
        page = _import_gradio()
        tabs = Tabs(Path(folder), settings.model, settings.memory)
        blocks = page.build_page(tabs, trackers, _opener(settings.input))
        try:
            port = choose_port(settings.port)
            page.launch_page(blocks, HOST, port)
            threading.Thread(target=_warm_up, args=(trackers, settings), name="uamp warm-up", daemon=True).start()
            yield f"http://{HOST}:{port}"
        finally:
            tabs.close()
            blocks.close(verbose=False)


def _prepare_to_compile(device: str) -> None:
    """What would otherwise come to light at the first click."""
    from uamp_model.devices import choose_device
    from uamp_model.forms import check_compiler

    check_compiler(choose_device(device))
    tell_of_compiling(err_console())


def _check_choices(trackers: Trackers, settings: PageSettings) -> None:
    """What is wrong with a device or files that were named is better known before a page opens."""
    from uamp_model.catalog import find_model

    if settings.device not in ("auto", "cpu"):
        from uamp_model.devices import choose_device

        choose_device(settings.device)
    if settings.checkpoints or (settings.layers and checkpoint_path(find_model(settings.model)).is_file()):
        trackers.get(settings.model, settings.memory)


def _import_gradio() -> ModuleType:
    """The page in Gradio, which need not be installed; that takes seconds to import."""
    try:
        return import_module("uamp_cli.page.wiring")
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise InputError("The page needs Gradio, which is not installed: pip install 'uamp-cli[ui]'.") from error


@contextmanager
def _gradio_settings(folder: str) -> Iterator[None]:
    """What Gradio reads from the environment."""
    # Gradio asks itself whether it is up; a proxy must not answer.
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY", ""), HOST, "localhost"]))
    wanted = {**_SETTINGS, "GRADIO_TEMP_DIR": folder, "NO_PROXY": direct, "no_proxy": direct}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def choose_port(wanted: int | None) -> int:
    """The port to listen on.

    Raises:
        InputError: if the wanted one is taken or not allowed.
    """
    for port in (USUAL_PORT, 0) if wanted is None else (wanted,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                logger.debug("port %d: %s", port, reason)
                continue
            return int(trial.getsockname()[1])
    raise InputError(f"Port {wanted} cannot be listened on, probably because it is taken: choose another --port.")


def _opener(name: str | None) -> Callable[[PageState], None] | None:
    if name is None:
        return None

    def open_input(state: PageState) -> None:
        actions.open_named(state, name)

    return open_input


def _warm_up(trackers: Trackers, settings: PageSettings) -> None:
    """Load the first model while people look at the page; if it cannot be, the first click says so."""
    from uamp_model.catalog import find_model
    from uamp_model.errors import UampError

    try:
        if settings.checkpoints or checkpoint_path(find_model(settings.model)).is_file():
            trackers.get(settings.model, settings.memory)
    except UampError as error:
        logger.debug("%s", error)


def _wait_for_interrupt() -> None:
    with kill_is_ctrl_c():
        threading.Event().wait()
