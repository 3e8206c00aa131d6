"""Opens the page on this machine's loopback, and nowhere else."""

import logging
import os
import signal
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from uamp_model.errors import InputError

from uamp_cli.page import actions
from uamp_cli.page.settings import PageSettings
from uamp_cli.page.state import PageState, Tabs
from uamp_cli.page.tracking import Trackers
from uamp_cli.terminal import out_console

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
USUAL_PORT = 7860

# Gradio reports to its makers and keeps runs in the browser unless it is told not to.
_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
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
    if find_spec("gradio") is None:
        raise InputError("The page needs Gradio, which is not installed: pip install 'uamp-cli[ui]'.")
    port = choose_port(settings.port)
    if settings.input is not None:
        from uamp_cli.page.clips import open_clip

        open_clip(settings.input).close()  # what is wrong with it is better known before a page opens
    with tempfile.TemporaryDirectory(prefix="uamp-page-", ignore_cleanup_errors=True) as folder:
        os.environ.update(_SETTINGS)
        os.environ["GRADIO_TEMP_DIR"] = folder
        # Gradio asks itself whether it is up; a proxy must not answer.
        os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY", ""), HOST, "localhost"]))
        _run(settings, Path(folder), port)


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


def _run(settings: PageSettings, folder: Path, port: int) -> None:
    import gradio as gr

    from uamp_cli.page.layout import CSS, build_page

    trackers = Trackers(settings.device, settings.checkpoints, settings.layers)
    tabs = Tabs(folder, settings.model, settings.memory)
    page = build_page(tabs, trackers, _opener(settings.input))
    page.queue(default_concurrency_limit=None)
    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            mcp_server=False,
            footer_links=[],
            enable_monitoring=False,
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=CSS,
        )
        address = f"http://{HOST}:{port}"
        out_console().print(f"The page is at {address} (Ctrl-C ends it).", highlight=False, soft_wrap=True)
        threading.Thread(target=_warm_up, args=(trackers, settings), daemon=True).start()
        if settings.opens_browser:
            webbrowser.open(address)
        _wait_for_interrupt()
    finally:
        tabs.close()
        page.close(verbose=False)


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

    from uamp_cli.models import weights_path

    try:
        if settings.checkpoints or weights_path(find_model(settings.model)).is_file():
            trackers.get(settings.model, settings.memory)
    except UampError as error:
        logger.debug("%s", error)


def _wait_for_interrupt() -> None:
    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # `kill` should tidy up as well as Ctrl-C does
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        threading.Event().wait()
    finally:
        signal.signal(signal.SIGTERM, before)
