"""Reading a `TrainConfig`: command line over environment (`UAMP_`) over YAML over defaults."""

import difflib
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from uamp_train.config import Contradiction, TrainConfig, switched
from uamp_train.errors import ConfigError

log = logging.getLogger(__name__)

ENV_PREFIX = "UAMP_"
_SURELY_MEANT = 0.8
"""How like a key a variable's name is that must be a slip, from 0 to 1."""

OTHER_NAMES = {
    "experiment_name": ("run_name",),
    "sam2_checkpoint": ("checkpoint", "pretrained", "weights"),
    "save_dir": ("output_dir", "log_dir"),
    "precision": ("mixed_precision", "amp", "dtype"),
    "num_workers": ("workers",),
    "dataset_root": ("data_root", "data_dir", "data_path"),
    "augment": ("augmentation",),
    "batch_size": ("batch",),
    "num_frames": ("clip_length", "sequence_length"),
    "image_size": ("resolution", "crop_size"),
    "lr": ("learning_rate", "base_lr"),
    "lr_scheduler": ("schedule",),
    "warmup_steps": ("warmup",),
    "grad_clip": ("max_grad_norm", "clip_grad_norm"),
    "gradient_accumulation": ("accumulation_steps",),
    "num_epochs": ("epochs", "max_epochs"),
    "max_steps": ("steps", "iterations", "max_iterations"),
    "val_interval": ("eval_interval",),
}
"""What else a key is called elsewhere, so that an unknown one is answered with what is meant."""


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: `1e-4` is a number, which YAML 1.1 reads as text for want of a dot."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


Origins = dict[tuple[str | int, ...], str]
"""Where each key was set, in words, by its path: `("pool", "clips")` is `run.yaml, line 7`."""


def load_config(
    path: Path | None, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> TrainConfig:
    """Read a run's configuration.

    Args:
        path: a YAML file, or None for the defaults.
        overrides: `key=value` texts, dots for nested keys (`pool.clips=40`, `stages.0.steps=10`); they win.
        environment: variables to read `UAMP_KEY` and `UAMP_POOL__CLIPS` from; None: the process's own.

    Raises:
        ConfigError: a missing or unreadable file, an unknown key (names the nearest), a wrong value or values that
            contradict each other; it says in which line of the file, or by which option or variable.
    """
    origins: Origins = {}
    values = {} if path is None else _read_yaml(path, origins)
    for name, key, text in _from_environment(os.environ if environment is None else environment):
        _set(values, key, _parse(text))
        _note(origins, key, f"the variable {name}")
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set takes key=value, but was given '{override}'.")
        _set(values, name.strip().split("."), _parse(text))
        _note(origins, name.strip().split("."), f"--set {name.strip()}")
    return parse_config(values, origins)


def parse_config(values: Mapping[str, Any], origins: Origins | None = None) -> TrainConfig:
    """Validate plain values.

    Args:
        values: the keys.
        origins: where they were set, to be named in an error.

    Raises:
        ConfigError: an unknown key, a wrong value or a contradiction.
    """
    try:
        # By way of JSON, where strictness allows lists for tuples and texts for paths, but no texts for numbers.
        return TrainConfig.model_validate_json(json.dumps(_written_out(values), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(_sentence(error, origins or {})) from None
    except (TypeError, ValueError, RecursionError) as error:  # values that JSON cannot express
        raise ConfigError(f"The configuration cannot be used: {str(error).lower()}.") from None


def _written_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """A mix in short, `{synthetic: 0.5, davis: 0.5}`, as a list of its parts."""
    mix = values.get("mix")
    if not isinstance(mix, Mapping):
        return dict(values)
    return {**values, "mix": [{"dataset": dataset, "weight": weight} for dataset, weight in mix.items()]}


def dump_config(config: TrainConfig) -> str:
    """The resolved configuration as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested settings under dotted names; what is None counts as not there."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {} if value is None else {name: value}
    found: dict[str, Any] = {}
    for key, inner in items:
        found.update(flat(inner, f"{name}.{key}" if name else str(key)))
    return found


def _read_yaml(path: Path, origins: Origins) -> dict[str, Any]:
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        try:
            tree = loader.get_single_node()
            if tree is None:
                return {}
            _locate(tree, path, origins)
            values = loader.construct_document(tree)
        finally:
            loader.dispose()
    except OSError as error:
        raise ConfigError(
            f"Cannot read the configuration {path} ({error.strerror or error}): check the path; `uamp train --keys` "
            "lists what such a file may hold."
        ) from None
    except RecursionError:
        raise ConfigError(f"{path} is not valid YAML: a value is nested too deeply or holds itself.") from None
    except (yaml.YAMLError, ValueError) as error:  # such as a byte that is no text, or a 30th of February
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values, but holds a {type(values).__name__}.")
    return values


def _locate(node: yaml.Node, path: Path, origins: Origins, place: tuple[str | int, ...] = ()) -> None:
    """Note the line of every key below a node.

    Raises:
        ConfigError: if a key is given twice, of which YAML would silently take the last.
    """
    if isinstance(node, yaml.SequenceNode):
        children: list[tuple[str | int, yaml.Node, yaml.Node]] = [
            (index, child, child) for index, child in enumerate(node.value)
        ]
    elif isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, child) for key, child in node.value]
    else:
        return
    for name, key, child in children:
        line = f"{path}, line {key.start_mark.line + 1}"
        if (*place, name) in origins:
            raise ConfigError(f"The key '{name}' is given twice, also in {line}: remove one of them.")
        origins[(*place, name)] = line
        _locate(child, path, origins, (*place, name))


def _note(origins: Origins, key: Sequence[str], origin: str) -> None:
    """What was set at a place comes from there, with all below it."""
    place = tuple(int(part) if part.isdecimal() else part for part in key)
    for known in [known for known in origins if known[: len(place)] == place]:
        del origins[known]
    origins[place] = origin


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, list[str], str]]:
    found = []
    for name in sorted(environment):
        if not name.startswith(ENV_PREFIX):
            continue
        key = name[len(ENV_PREFIX) :].lower().split("__")
        if key[0] in TrainConfig.model_fields:
            found.append((name, key, environment[name]))
        elif near := _nearest(key[0], TrainConfig.model_fields, likeness=_SURELY_MEANT):
            meant = "__".join((near, *key[1:])).upper()
            raise ConfigError(f"The variable {name} is no training key: did you mean {ENV_PREFIX}{meant}?")
        else:  # other parts of UAMP have variables too, so this is no error
            log.debug("The variable %s is no training key.", name)
    return found


def _parse(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def _set(values: Any, key: Sequence[str], value: Any) -> None:
    """Put a value at a nested place of the configuration; numbers index lists."""
    *parents, last = key
    if "augment" in values:
        values["augment"] = switched(values["augment"])
    try:
        for part in parents:
            values = values[int(part)] if isinstance(values, list) else values.setdefault(part, {})
        if isinstance(values, list):
            values[int(last)] = value
        else:
            values[last] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise ConfigError(f"There is no key '{'.'.join(key)}' to set in this configuration.") from None


def _sentence(error: ValidationError, origins: Origins) -> str:
    """The first of the mistakes, with the place where it was made."""
    first = error.errors()[0]
    place = first["loc"]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, Contradiction):
        return f"The configuration key '{cause.key}'{_at((cause.key,), origins)} cannot be so: {cause}."
    where = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        *parents, name = place
        suggestion = ".".join(map(str, [*parents, _nearest(str(name), _keys_at(parents))]))
        return f"Unknown configuration key '{where}'{_at(place, origins)}: did you mean '{suggestion}'?"
    reason = first["msg"].removeprefix("Value error, ")
    for json_word, yaml_words in (("a valid array", "a list such as [a, b]"), ("an object", "keys and values")):
        reason = reason.replace(json_word, yaml_words)
    given = first["input"]
    shown = f" (given: {given!r})" if isinstance(given, int | float | str | bool | None) else ""
    at = _at(place, origins)
    return f"The configuration key '{where}' has a wrong value{at}: {reason[:1].lower()}{reason[1:]}{shown}."


def _at(place: Sequence[str | int], origins: Origins) -> str:
    """Where a key, or the nearest above it, was set: ` in run.yaml, line 7`."""
    for length in range(len(place), 0, -1):
        origin = origins.get(tuple(place[:length]))
        if origin is not None:
            return f" in {origin}"
    return ""


def _nearest(name: str, keys: Iterable[str], *, likeness: float = 0.0) -> str | None:
    """The key that looks most like a name, by its own name or one that others use for it.

    Args:
        name: what was written.
        keys: the keys there are.
        likeness: how alike they must be, from 0 to 1; None is returned where no key is.
    """
    names = {known: key for key in keys for known in (key, *OTHER_NAMES.get(key, ()))}
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=likeness)
    return names[near[0]] if near else None


def _keys_at(parents: Sequence[str | int]) -> list[str]:
    """The keys known at a place in the configuration."""
    model: type[BaseModel] = TrainConfig
    for part in parents:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
