"""Every key of a training run as a table in Markdown, made of the models that check them."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from uamp_train.config import TrainConfig

_HEAD = ("| key | value | default | meaning |", "|---|---|---|---|")
_NAMES: dict[Any, str] = {int: "whole number", float: "number", str: "text", Path: "path", bool: "true or false"}

_LIMITS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "multiple_of": "multiple of"}


def config_table() -> str:
    """The table: keys with dots for nested ones, what they may be, their defaults and what they mean."""
    return "\n".join([*_HEAD, *_rows(TrainConfig, "")])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key, inner = prefix + name, _inner(field.annotation)
        if inner is None:
            yield f"| `{key}` | {_value(field)} | {_default(field)} | {field.description or ''} |"
            continue
        many = get_origin(field.annotation) is tuple
        meaning = field.description or (inner.__doc__ or "").split("\n\n")[0].strip().rstrip(".")
        yield f"| `{key}` | {'list' if many else 'keys'}, see below | – | {' '.join(meaning.split())} |"
        yield from _rows(inner, f"{key}[]." if many else f"{key}.")


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The model that a key or each item of its list holds."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _value(field: FieldInfo) -> str:
    annotation = field.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return _choices(annotation)
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        return f"list of {_choices(item)}" if get_origin(item) is Literal else "list of names"
    limits = [text for text in (_limit(rule) for rule in field.metadata) if text]
    return " ".join([_NAMES[annotation], ", ".join(limits)]).strip()


def _choices(annotation: Any) -> str:
    return ", ".join(f"`{choice}`" for choice in get_args(annotation))


def _limit(rule: object) -> str:
    """A rule such as `Gt(gt=0)` in words."""
    return next((f"{words} {getattr(rule, name)}" for name, words in _LIMITS.items() if hasattr(rule, name)), "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    default = field.default
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple):
        return f"`[{', '.join(default)}]`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default.as_posix() if isinstance(default, Path) else default}`"
