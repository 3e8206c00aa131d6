"""What stands where on the page, in Gradio's components."""

from collections.abc import Container
from typing import Any

import gradio as gr
from uamp_model.catalog import MODELS
from uamp_model.download import checkpoint_path
from uamp_model.presets import MEMORY_SETTINGS

from uamp_cli.page.export import Export
from uamp_cli.page.state import Tool

_TOOLS = [("+ on the object", Tool.ON.value), ("− beside it", Tool.BESIDE.value), ("▢ box", Tool.BOX.value)]
_DEFAULT_EXPORTS = [Export.OVERLAY.value, Export.MASKS.value]


class Layout:
    """The page's components. Made within a `gr.Blocks`, which shows them in the order in which they are made."""

    def __init__(self, model: str, memory: str, checkpoints: Container[str], note: str) -> None:
        """Puts everything in its place.

        Args:
            model: the one chosen at first.
            memory: likewise.
            checkpoints: models whose weights were named.
            note: what the page says at first.
        """
        self.tab = gr.Textbox(visible="hidden", elem_id="uamp-tab")
        self.drag = gr.Textbox(visible="hidden", elem_id="uamp-drag")
        gr.HTML(
            "<h1>UAMP</h1><p>Choose a video, click on what is to be followed, track it, take the result away.</p>",
            elem_id="uamp-head",
            padding=False,
        )
        with gr.Row(elem_id="uamp-columns"):
            with gr.Column(scale=1, min_width=320, elem_id="uamp-controls"):
                self._place_controls(model, memory, checkpoints)
            with gr.Column(scale=4, min_width=480, elem_id="uamp-view"):
                self._place_view(note)
                with gr.Row(elem_id="uamp-away"):
                    self._place_downloads()

    def _place_controls(self, model: str, memory: str, checkpoints: Container[str]) -> None:
        self.upload = gr.File(label="Video", show_label=False, type="filepath", height=130, elem_id="uamp-upload")
        self.generated = gr.Button("Use the generated clip", size="sm", elem_id="uamp-generated")
        self.objects = gr.Radio([("1", 1)], value=1, label="Objects", elem_id="uamp-objects")
        with gr.Row():
            self.new = _small_button("New object", "new")
            self.remove = _small_button("Remove", "remove")
            self.propose = _small_button("Propose", "propose")
        self.tools = gr.Radio(_TOOLS, value=Tool.ON.value, label="A click is", elem_id="uamp-tools")
        with gr.Row():
            self.undo = _small_button("Undo click", "undo")
            self.clear = _small_button("Clear this frame", "clear")
        self.model = gr.Dropdown(_model_choices(checkpoints), value=model, label="Model", elem_id="uamp-model")
        self.memory = gr.Radio(list(MEMORY_SETTINGS), value=memory, label="Memory", elem_id="uamp-memory")
        with gr.Row():
            self.track = gr.Button("Track", variant="primary", min_width=60, elem_id="uamp-track")
            self.cancel = gr.Button("Cancel", variant="stop", min_width=60, interactive=False, elem_id="uamp-cancel")

    def _place_view(self, note: str) -> None:
        self.note = gr.HTML(note, elem_id="uamp-note", padding=False)
        with gr.Row():
            self.picture = _picture("Click on the object here", "picture")
            self.doubt = _picture("Uncertainty", "doubt")
        with gr.Row(equal_height=True):
            self.back = gr.Button("◀", size="sm", min_width=40, scale=0, elem_id="uamp-back")
            self.slider = gr.Slider(
                0, 1, value=0, step=1, label="Frame", buttons=[], scale=6, interactive=True, elem_id="uamp-frame"
            )
            self.on = gr.Button("▶", size="sm", min_width=40, scale=0, elem_id="uamp-on")
        self.caption = gr.HTML("", elem_id="uamp-caption", padding=False)

    def _place_downloads(self) -> None:
        choices = [export.value for export in Export]
        self.exports = gr.CheckboxGroup(
            choices, value=_DEFAULT_EXPORTS, label="Take away", scale=3, elem_id="uamp-exports"
        )
        with gr.Column(scale=2, min_width=240):
            self.write = gr.Button("Make the files", elem_id="uamp-write")
            self.files = gr.File(
                label="Files", file_count="multiple", interactive=False, visible=False, elem_id="uamp-files"
            )

    def shown(self) -> list[Any]:
        """What every action refreshes."""
        return [
            *(self.picture, self.doubt, self.caption, self.slider, self.note, self.objects, self.tools),
            *(self.model, self.memory, self.track, self.cancel, self.write, self.files),
        ]


def _small_button(text: str, name: str) -> gr.Button:
    return gr.Button(text, size="sm", min_width=60, elem_id=f"uamp-{name}")


def _picture(what: str, name: str) -> gr.Image:
    return gr.Image(
        label=what,
        show_label=False,
        alt_text=what,
        interactive=False,
        format="jpeg",
        buttons=[],
        height=None,
        min_width=400,
        elem_id=f"uamp-{name}",
    )


def _model_choices(checkpoints: Container[str]) -> list[tuple[str, str]]:
    """Every model; those whose weights are neither here nor in `checkpoints` say how much there is to download."""
    choices = []
    for spec in MODELS.values():
        is_here = spec.name in checkpoints or checkpoint_path(spec).is_file()
        size = "" if is_here or spec.size_bytes is None else f" ({spec.size_bytes / 1e6:.0f} MB)"
        choices.append((spec.name + size, spec.name))
    return choices
