"""The page in Gradio: what stands where, and which action each button calls."""

import html
import json
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from uamp_model.catalog import MODELS
from uamp_model.presets import MEMORY_SETTINGS

from uamp_cli.models import weights_path
from uamp_cli.page import actions
from uamp_cli.page.export import Export
from uamp_cli.page.jobs import sentence
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

CSS = """
.gradio-container { max-width: 1760px !important; overflow: clip !important; }
#uamp-head h1 { font-size: 1.3rem; margin: 0; }
#uamp-head p { margin: 0; opacity: .75; }
#uamp-picture img { cursor: crosshair; user-select: none; }
#uamp-picture img, #uamp-doubt img { max-height: 65vh; object-fit: scale-down; }
#uamp-note { position: sticky; top: 0; z-index: 100; overflow: visible; background: var(--body-background-fill); }
#uamp-note .wrap { display: none; }
#uamp-note .pending { opacity: 1; }
#uamp-note .pending .uamp-note::after { content: "Working …"; display: block; animation: uamp-late 1s step-end; }
@keyframes uamp-late { from { visibility: hidden; } }
#uamp-files .filename { display: block; overflow-wrap: anywhere; }
#uamp-files td:has(> button) { display: none; }
#uamp-files .stem { white-space: normal; }
#uamp-files .ext { margin-left: -.25em; }
@media (max-width: 880px) {
  #uamp-columns { flex-direction: column; }
  #uamp-controls, #uamp-view { display: contents; }
  #uamp-view > * { order: 1; }
  #uamp-controls > :not(#uamp-upload, #uamp-generated) { order: 2; }
  #uamp-view > #uamp-away { order: 3; }
}
.uamp-band { position: fixed; z-index: 1000; pointer-events: none; border: 1.5px solid #fff; outline: 1.5px solid #000;
  background: rgb(255 255 255 / 15%); }
.uamp-note { padding: .55em .8em; border-radius: 6px; background: var(--background-fill-secondary); min-height: 4.1em; }
.uamp-note.error { background: #b42318; color: #fff; }
.uamp-note progress { appearance: none; width: 100%; height: .7em; border: 0; border-radius: 4px; overflow: hidden; }
.uamp-note progress:indeterminate { animation: uamp-waiting 1s infinite alternate; }
@keyframes uamp-waiting { from { opacity: .35; } }
.uamp-note progress, .uamp-note progress::-webkit-progress-bar { background: var(--border-color-primary); }
.uamp-note progress::-webkit-progress-value { background: #0072b2; }
.uamp-note progress::-moz-progress-bar { background: #0072b2; }
.uamp-caption { font-variant-numeric: tabular-nums; opacity: .8; }
footer { display: none !important; }
"""

_DRAG = Path(__file__).with_name("drag.js")
_TOOLS = [("+ on the object", Tool.ON.value), ("− beside it", Tool.BESIDE.value), ("▢ box", Tool.BOX.value)]
_DEFAULT_EXPORTS = [Export.OVERLAY.value, Export.MASKS.value]


@dataclass(frozen=True, slots=True)
class _Parts:
    """The page's components that actions change."""

    tab: gr.Textbox
    drag: gr.Textbox
    upload: gr.File
    generated: gr.Button
    picture: gr.Image
    doubt: gr.Image
    caption: gr.HTML
    slider: gr.Slider
    back: gr.Button
    on: gr.Button
    note: gr.HTML
    objects: gr.Radio
    tools: gr.Radio
    new: gr.Button
    remove: gr.Button
    undo: gr.Button
    clear: gr.Button
    propose: gr.Button
    model: gr.Dropdown
    memory: gr.Radio
    track: gr.Button
    cancel: gr.Button
    exports: gr.CheckboxGroup
    write: gr.Button
    files: gr.File

    def shown(self) -> list[Any]:
        """What every action refreshes, in the order of `_updates`."""
        return [
            self.picture,
            self.doubt,
            self.caption,
            self.slider,
            self.note,
            self.objects,
            self.tools,
            self.model,
            self.memory,
            self.track,
            self.cancel,
            self.write,
            self.files,
        ]


def build_page(tabs: Tabs, trackers: Trackers, start_with: Callable[[PageState], None] | None = None) -> gr.Blocks:
    """The page.

    Args:
        tabs: the states of the browser's tabs.
        trackers: loads models.
        start_with: what a new tab does first, such as opening a video.
    """
    page = gr.Blocks(title="UAMP", analytics_enabled=False, fill_width=True, delete_cache=(300, 3600))
    with page:
        parts = _place(tabs, trackers)
        _wire(page, parts, tabs, trackers, start_with)
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
        css=CSS,
        head=f"<script>{_DRAG.read_text(encoding='utf-8')}</script>",
    )


def _place(tabs: Tabs, trackers: Trackers) -> _Parts:
    """Put everything in its place."""
    tab = gr.Textbox(visible="hidden", elem_id="uamp-tab")
    drag = gr.Textbox(visible="hidden", elem_id="uamp-drag")
    gr.HTML(
        "<h1>UAMP</h1><p>Choose a video, click on what is to be followed, track it, take the result away.</p>",
        elem_id="uamp-head",
        padding=False,
    )
    with gr.Row(elem_id="uamp-columns"):
        with gr.Column(scale=1, min_width=320, elem_id="uamp-controls"):
            upload = gr.File(label="Video", show_label=False, type="filepath", height=130, elem_id="uamp-upload")
            generated = gr.Button("Use the generated clip", size="sm", elem_id="uamp-generated")
            objects = gr.Radio([("1", 1)], value=1, label="Objects", elem_id="uamp-objects")
            with gr.Row():
                new = gr.Button("New object", size="sm", min_width=60, elem_id="uamp-new")
                remove = gr.Button("Remove", size="sm", min_width=60, elem_id="uamp-remove")
                propose = gr.Button("Propose", size="sm", min_width=60, elem_id="uamp-propose")
            tools = gr.Radio(_TOOLS, value=Tool.ON.value, label="A click is", elem_id="uamp-tools")
            with gr.Row():
                undo = gr.Button("Undo click", size="sm", min_width=60, elem_id="uamp-undo")
                clear = gr.Button("Clear this frame", size="sm", min_width=60, elem_id="uamp-clear")
            model = gr.Dropdown(
                _model_choices(trackers.checkpoints), value=tabs.model, label="Model", elem_id="uamp-model"
            )
            memory = gr.Radio(list(MEMORY_SETTINGS), value=tabs.memory, label="Memory", elem_id="uamp-memory")
            with gr.Row():
                track = gr.Button("Track", variant="primary", min_width=60, elem_id="uamp-track")
                cancel = gr.Button("Cancel", variant="stop", min_width=60, interactive=False, elem_id="uamp-cancel")
        with gr.Column(scale=4, min_width=480, elem_id="uamp-view"):
            note = gr.HTML(_note(WELCOME), elem_id="uamp-note", padding=False)
            with gr.Row():
                picture = _picture("Click on the object here", "uamp-picture")
                doubt = _picture("Uncertainty", "uamp-doubt")
            with gr.Row(equal_height=True):
                back = gr.Button("◀", size="sm", min_width=40, scale=0, elem_id="uamp-back")
                slider = gr.Slider(
                    0, 1, value=0, step=1, label="Frame", buttons=[], scale=6, interactive=True, elem_id="uamp-frame"
                )
                on = gr.Button("▶", size="sm", min_width=40, scale=0, elem_id="uamp-on")
            caption = gr.HTML("", elem_id="uamp-caption", padding=False)
            with gr.Row(elem_id="uamp-away"):
                exports = gr.CheckboxGroup(
                    [export.value for export in Export],
                    value=_DEFAULT_EXPORTS,
                    label="Take away",
                    scale=3,
                    elem_id="uamp-exports",
                )
                with gr.Column(scale=2, min_width=240):
                    write = gr.Button("Make the files", elem_id="uamp-write")
                    files = gr.File(
                        label="Files", file_count="multiple", interactive=False, visible=False, elem_id="uamp-files"
                    )
    return _Parts(
        tab=tab,
        drag=drag,
        upload=upload,
        generated=generated,
        picture=picture,
        doubt=doubt,
        caption=caption,
        slider=slider,
        back=back,
        on=on,
        note=note,
        objects=objects,
        tools=tools,
        new=new,
        remove=remove,
        undo=undo,
        clear=clear,
        propose=propose,
        model=model,
        memory=memory,
        track=track,
        cancel=cancel,
        exports=exports,
        write=write,
        files=files,
    )


def _picture(what: str, elem_id: str) -> gr.Image:
    return gr.Image(
        label=what,
        show_label=False,
        alt_text=what,
        interactive=False,
        format="jpeg",
        buttons=[],
        height=None,
        min_width=400,
        elem_id=elem_id,
    )


def _model_choices(checkpoints: Container[str]) -> list[tuple[str, str]]:
    """Every model; those whose weights are neither here nor in `checkpoints` say how much there is to download."""
    choices = []
    for spec in MODELS.values():
        is_here = spec.name in checkpoints or weights_path(spec).is_file()
        size = "" if is_here or spec.size_bytes is None else f" ({spec.size_bytes / 1e6:.0f} MB)"
        choices.append((spec.name + size, spec.name))
    return choices


class _Wires:
    """Connects components with actions on the state of the tab they are in."""

    def __init__(self, parts: _Parts, tabs: Tabs, trackers: Trackers) -> None:
        self._parts, self._tabs, self._trackers = parts, tabs, trackers

    def on(
        self, event: Any, do: Callable[..., None], *inputs: Any, latest_only: bool = False, unchecked: bool = False
    ) -> Any:
        """Call `do` with the state and the inputs' values at an event, then refresh the page; returns the wire.

        `unchecked` values come as they were typed: Gradio would answer with an error where `do` knows better.
        """

        def handle(request: gr.Request, tab: str, *values: Any) -> list[Any]:
            state = self._tabs.of(tab, request.session_hash)
            with state.lock:
                _attempt(state, lambda: do(state, *values))
                return self._updates(state)

        return event(
            handle,
            [self._parts.tab, *inputs],
            self._parts.shown(),
            show_progress="minimal",
            show_progress_on=self._parts.note,
            concurrency_limit=None,
            trigger_mode="always_last" if latest_only else "multiple",
            preprocess=not unchecked,
            api_visibility="private",
        )

    def on_click(self) -> None:
        """A click on the picture. It brings its tool along, whose own event may still be on its way."""

        def handle(request: gr.Request, tab: str, tool: str, event: gr.SelectData) -> list[Any]:
            state = self._tabs.of(tab, request.session_hash)
            with state.lock:
                _attempt(state, lambda: _click(state, Tool(tool), event.index))
                return self._updates(state)

        self._parts.picture.select(
            handle,
            [self._parts.tab, self._parts.tools],
            self._parts.shown(),
            show_progress="minimal",
            show_progress_on=self._parts.note,
            concurrency_limit=None,
            trigger_mode="multiple",
            api_visibility="private",
        )

    def on_work(self, event: Any, do: Callable[..., None], *inputs: Any) -> None:
        """Likewise for work in the background, and refresh the page while it goes on."""

        def handle(request: gr.Request, tab: str, *values: Any) -> Iterator[list[Any]]:
            state = self._tabs.of(tab, request.session_hash)
            with state.lock:
                _attempt(state, lambda: do(state, *values))
            yield from self.watch(state)

        event(
            handle,
            [self._parts.tab, *inputs],
            self._parts.shown(),
            show_progress="hidden",
            concurrency_limit=None,
            trigger_mode="multiple",
            api_visibility="private",
        )

    def on_load(self, page: gr.Blocks, start_with: Callable[[PageState], None] | None) -> None:
        """A tab is opened or reloaded: show where it was, and go on watching work that goes on."""
        parts = self._parts

        def handle(tab: str, request: gr.Request) -> Iterator[list[Any]]:
            state = self._tabs.of(tab, request.session_hash)
            with state.lock:
                if state.clip is None and start_with is not None:
                    _attempt(state, lambda: start_with(state))
            for updates in self.watch(state):
                yield [tab, *updates]

        page.load(
            handle,
            [parts.tab],
            [parts.tab, *parts.shown()],
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
        shown = view(state, self._trackers)
        busy, has_clip = shown.progress is not None, state.clip is not None
        # files are offered for as long as the tab is there, not only for as long as Gradio keeps pictures
        files = [str(path) for path in state.files]
        self._parts.files.keep_in_cache.update(files)

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
    page: gr.Blocks, parts: _Parts, tabs: Tabs, trackers: Trackers, start_with: Callable[[PageState], None] | None
) -> None:
    """Connect every component with its action."""
    wires = _Wires(parts, tabs, trackers)
    wires.on_load(page, start_with)
    wires.on_click()
    wires.on(parts.drag.change, _drag, parts.drag)
    opened = wires.on(parts.upload.upload, _open_upload, parts.upload)
    # the box is for the next video: it neither holds a broken one nor offers to take away the one that is shown
    opened.then(None, None, parts.upload, js="() => null", show_progress="hidden", api_visibility="private")
    wires.on_work(parts.generated.click, actions.start_generated)
    wires.on(
        parts.slider.input,
        lambda state, frame: actions.go_to(state, int(frame or 0)),
        parts.slider,
        latest_only=True,
        unchecked=True,
    )
    wires.on(parts.back.click, lambda state: actions.go_to(state, state.frame - 1))
    wires.on(parts.on.click, lambda state: actions.go_to(state, state.frame + 1))
    wires.on(parts.objects.input, actions.choose_object, parts.objects)
    tool_chosen = wires.on(parts.tools.input, lambda state, tool: actions.choose_tool(state, Tool(tool)), parts.tools)
    # the answer to a click that came quickly behind may have been shown before this one
    wires.on(tool_chosen.then, lambda _: None)
    wires.on(parts.new.click, actions.add_object)
    wires.on(parts.remove.click, actions.remove_object)
    wires.on(parts.propose.click, lambda state: actions.propose(state, trackers))
    wires.on(parts.undo.click, actions.undo)
    wires.on(parts.clear.click, actions.clear_marks)
    wires.on(parts.model.input, lambda state, model: actions.choose_tracker(state, model, state.memory), parts.model)
    wires.on(parts.memory.input, lambda state, memory: actions.choose_tracker(state, state.model, memory), parts.memory)
    wires.on(parts.cancel.click, actions.cancel)
    wires.on_work(parts.track.click, lambda state: actions.start_tracking(state, trackers))
    wires.on_work(
        parts.write.click,
        lambda state, wanted: actions.start_export(state, trackers, [Export(name) for name in wanted]),
        parts.exports,
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
