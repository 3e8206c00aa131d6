"""docs/python.md lists every public name with the first line of its docstring."""

import inspect
import re
from pathlib import Path

import uamp_model
from uamp_model import FrameResult, Prompt, TrackingSession, VideoTracker

PAGE = Path(__file__).parents[3] / "docs" / "python.md"


def _described() -> dict[str, str]:
    names = {name: getattr(uamp_model, name) for name in uamp_model.__all__}
    for owner in (VideoTracker, TrackingSession, Prompt, FrameResult):
        for name, member in vars(owner).items():
            if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                names[f"{owner.__name__}.{name}"] = getattr(owner, name)
    lines = {name: (inspect.getdoc(value) or "").partition("\n")[0] for name, value in names.items()}
    return lines | {"MODELS": "The catalog: every `ModelSpec` by name."}  # a dictionary's own docstring says nothing


def test_every_public_name_is_listed_with_its_docstring() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {name: line.replace("|", "\\|") for name, line in _described().items()}
