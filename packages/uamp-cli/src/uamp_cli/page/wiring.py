"""The page in Gradio: which action each of its components calls, and how it is shown anew."""

import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from uamp_cli.page import actions
from uamp_cli.page.export import Export
from uamp_cli.page.jobs import sentence
from uamp_cli.page.layout import Layout
from uamp_cli.page.own_address import guarded
from uamp_cli.page.state import WELCOME, PageState, Tabs, Tool
from uamp_cli.page.tracking import Trackers
from uamp_cli.page.view import object_labels, shown_scale, view

REFRESH = 0.7
"""Seconds between looks at work that goes on."""

# A reload keeps the tab's name and so its work; a tab that was opened anew, or is a copy, gets a name of its own.
TAB_NAME = """() => {
  const kind = performance.getEntriesByType('navigation')[0]?.type;
  let name = sessionStorage.getItem('uamp-tab');
  if (!name || kind !== 'reload') { name = crypto.randomUUID(); sessionStorage.setItem('uamp-tab', name); }
  return name;
}"""

_STYLE, _DRAG = (Path(__file__).with_name(name) for name in ("page.css", "drag.js"))


def build_page(tabs: Tabs, trackers: Trackers, start_with: Callable[[PageState], None] | None = None) -> gr.Blocks:
    """The page.

    Args:
        tabs: the states of the browser's tabs.
        trackers: loads models.
        start_with: what a new tab does first, such as opening a video.
    """
    page = gr.Blocks(title="UAMP", analytics_enabled=False, fill_width=True, delete_cache=(300, 3600))
    with page:
        layout = Layout(tabs.model, tabs.memory, trackers.checkpoints, _note(WELCOME))
        _wire(page, layout, tabs, trackers, start_with)
    return page


def launch_page(page: gr.Blocks, host: str, port: int) -> None:
    """Let the page answer, from threads of its own, at one address of this machine."""
    page.queue(default_concurrency_limit=None)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        inbrowser=False,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        app_kwargs={"lifespan": guarded},
        footer_links=[],
        theme=gr.themes.Default(
            primary_hue="blue",
            spacing_size="sm",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        css_paths=_STYLE,
        head=f"<script>{_DRAG.read_text(encoding='utf-8')}</script>",
    )


class _Wires:
    """Connects components with actions on the state of the tab they are in."""

    def __init__(self, layout: Layout, tabs: Tabs, trackers: Trackers) -> None:
        self._layout, self._tabs, self._trackers = layout, tabs, trackers

    def on(
        self, event: Any, do: Callable[..., None], *inputs: Any, latest_only: bool = False, unchecked: bool = False
    ) -> Any:
        """Call `do` with the state and the inputs' values at an event, then refresh the page; returns the wire.

        `unchecked` values come as they were typed: Gradio would answer with an error where `do` knows better.
        """

        def handle(request: gr.Request, tab: str, *values: Any) -> list[Any]:
            return self._do(request, tab, lambda state: do(state, *values))

        mode = "always_last" if latest_only else "multiple"
        return self._connect(event, handle, *inputs, trigger_mode=mode, preprocess=not unchecked)

    def on_click(self) -> None:
        """A click on the picture. It brings its tool along, whose own event may still be on its way."""

        def handle(request: gr.Request, tab: str, tool: str, event: gr.SelectData) -> list[Any]:
            return self._do(request, tab, lambda state: _click(state, Tool(tool), event.index))

        self._connect(self._layout.picture.select, handle, self._layout.tools)

    def on_work(self, event: Any, do: Callable[..., None], *inputs: Any) -> None:
        """Likewise for work in the background, and refresh the page while it goes on."""

        def handle(request: gr.Request, tab: str, *values: Any) -> Iterator[list[Any]]:
            state = self._tabs.of(tab, request.session_hash)
            with state.lock:
                _attempt(state, lambda: do(state, *values))
            yield from self.watch(state)

        self._connect(event, handle, *inputs, show_progress="hidden")

    def _do(self, request: gr.Request, tab: str, do: Callable[[PageState], None]) -> list[Any]:
        state = self._tabs.of(tab, request.session_hash)
        with state.lock:
            _attempt(state, lambda: do(state))
            return self._updates(state)

    def _connect(self, event: Any, handle: Callable[..., Any], *inputs: Any, **how: Any) -> Any:
        """Let `handle` answer an event, from the tab's name and the inputs, with the whole page."""
        usual = {"show_progress": "minimal", "show_progress_on": self._layout.note, "trigger_mode": "multiple"}
        return event(
            handle,
            [self._layout.tab, *inputs],
            self._layout.shown(),
            concurrency_limit=None,
            api_visibility="private",
            **(usual | how),
        )

    def on_load(self, page: gr.Blocks, start_with: Callable[[PageState], None] | None) -> None:
        """A tab is opened or reloaded: show where it was, and go on watching work that goes on."""
        layout = self._layout

        def handle(tab: str, request: gr.Request) -> Iterator[list[Any]]:
            state = self._tabs.of(tab, request.session_hash)
            with state.lock:
                if state.clip is None and start_with is not None:
                    _attempt(state, lambda: start_with(state))
            for updates in self.watch(state):
                yield [tab, *updates]

        page.load(
            handle,
            [layout.tab],
            [layout.tab, *layout.shown()],
            js=TAB_NAME,
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )

        def leave(request: gr.Request) -> None:
            if request.session_hash is not None:
                self._tabs.leave(request.session_hash)

        page.unload(leave)

    def watch(self, state: PageState) -> Iterator[list[Any]]:
        """The page again and again, until the work is over.

        Only the first time and for a new video it sets what people choose: later they may be choosing just now.
        """
        shown_clip: object = self
        while True:
            with state.lock:
                job, was_busy = state.job, state.is_busy
                if not was_busy:
                    actions.finish(state)
                updates = self._updates(state, with_choices=shown_clip is not state.clip)
                shown_clip = state.clip
            yield updates
            if not was_busy or job is None:
                return
            job.wait(job.done, REFRESH)
            job.join(REFRESH)

    def _updates(self, state: PageState, *, with_choices: bool = True) -> list[Any]:
        """What `Layout.shown` shows, in its order."""
        shown = view(state, self._trackers)
        busy, has_clip = shown.progress is not None, state.clip is not None
        # files are offered for as long as the tab is there, not only for as long as Gradio keeps pictures
        files = [str(path) for path in state.files]
        self._layout.files.keep_in_cache.update(files)

        def chosen(value: object) -> dict[str, Any]:
            return {"value": value} if with_choices else {}

        return [
            shown.picture,
            shown.doubt,
            f'<div class="uamp-caption">{html.escape(shown.caption)}</div>',
            gr.update(**chosen(state.frame), maximum=_last_frame(state), interactive=has_clip and not busy),
            _note(shown.message, is_error=shown.is_error, work=shown.work, progress=shown.progress),
            gr.update(**chosen(state.object_id), choices=list(object_labels(state))),
            gr.update(**chosen(state.tool.value)),
            gr.update(**chosen(state.model), interactive=not busy),
            gr.update(**chosen(state.memory), interactive=not busy),
            gr.update(interactive=has_clip and not busy),
            gr.update(interactive=busy),
            gr.update(interactive=has_clip and not busy),
            gr.update(value=files or None, visible=bool(files)),
        ]


def _wire(
    page: gr.Blocks, layout: Layout, tabs: Tabs, trackers: Trackers, start_with: Callable[[PageState], None] | None
) -> None:
    """Connect every component with its action."""
    wires = _Wires(layout, tabs, trackers)
    wires.on_load(page, start_with)
    wires.on_click()
    wires.on(layout.drag.change, _drag, layout.drag)
    opened = wires.on(layout.upload.upload, _open_upload, layout.upload)
    # the box is for the next video: it neither holds a broken one nor offers to take away the one that is shown
    opened.then(None, None, layout.upload, js="() => null", show_progress="hidden", api_visibility="private")
    wires.on_work(layout.generated.click, actions.start_generated)
    wires.on(
        layout.slider.input,
        lambda state, frame: actions.go_to(state, int(frame or 0)),
        layout.slider,
        latest_only=True,
        unchecked=True,
    )
    wires.on(layout.back.click, lambda state: actions.go_to(state, state.frame - 1))
    wires.on(layout.on.click, lambda state: actions.go_to(state, state.frame + 1))
    wires.on(layout.objects.input, actions.choose_object, layout.objects)
    tool_chosen = wires.on(layout.tools.input, lambda state, tool: actions.choose_tool(state, Tool(tool)), layout.tools)
    # the answer to a click that came quickly behind may have been shown before this one
    wires.on(tool_chosen.then, lambda _: None)
    wires.on(layout.new.click, actions.add_object)
    wires.on(layout.remove.click, actions.remove_object)
    wires.on(layout.propose.click, lambda state: actions.propose(state, trackers))
    wires.on(layout.undo.click, actions.undo)
    wires.on(layout.clear.click, actions.clear_marks)
    wires.on(layout.model.input, lambda state, model: actions.choose_tracker(state, model, state.memory), layout.model)
    wires.on(
        layout.memory.input, lambda state, memory: actions.choose_tracker(state, state.model, memory), layout.memory
    )
    wires.on(layout.cancel.click, actions.cancel)
    wires.on_work(layout.track.click, lambda state: actions.start_tracking(state, trackers))
    wires.on_work(
        layout.write.click,
        lambda state, wanted: actions.start_export(state, trackers, [Export(name) for name in wanted]),
        layout.exports,
    )


def _attempt(state: PageState, do: Callable[[], None]) -> None:
    """Do it; if it cannot be done, the page says why."""
    try:
        do()
    except Exception as error:
        state.say(sentence(error), is_error=True)


def _open_upload(state: PageState, upload: str | None) -> None:
    if upload is not None:
        actions.open_upload(state, Path(upload))


def _click(state: PageState, tool: Tool, index: Any) -> None:
    scale = _scale(state)
    state.tool = tool
    # the middle of the shown pixel
    actions.click(state, (index[0] + 0.5) / scale, (index[1] + 0.5) / scale)


def _drag(state: PageState, told: str) -> None:
    """A box that drag.js tells of, by two corners in pixels of the shown picture."""
    if state.clip is None:
        return
    scale, width, height = _scale(state), state.clip.width, state.clip.height
    x0, y0, x1, y1 = (float(value) / scale for value in json.loads(told)["corners"])
    # the shown size is rounded, so its edge may be a fraction of a pixel outside
    actions.drag(state, (min(x0, width), min(y0, height)), (min(x1, width), min(y1, height)))


def _scale(state: PageState) -> float:
    """Shown pixels for one of the video's."""
    return shown_scale(state.clip.width, state.clip.height) if state.clip is not None else 1.0


def _last_frame(state: PageState) -> int:
    return 1 if state.clip is None else max(state.clip.frame_count - 1, 1)


def _note(message: str, *, is_error: bool = False, work: str = "", progress: float | None = None) -> str:
    """The sentence of the page, or how far its work is; what is wrong is said meanwhile too."""
    if progress is not None:
        # without a value it moves to and fro
        value = f' value="{progress:.4f}"' if progress > 0 else ""
        bar = f'{html.escape(work)}<br><progress max="1"{value}></progress>'
        return f'<div class="uamp-note">{bar}{html.escape(message) if is_error else ""}</div>'
    kind, role = ("uamp-note error", "alert") if is_error else ("uamp-note", "status")
    return f'<div class="{kind}" role="{role}">{html.escape(message)}</div>'
