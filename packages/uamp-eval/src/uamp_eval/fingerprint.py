"""What results were made from and with, so that those of other settings are never taken for one's own."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uamp_eval.sequences import VideoSequence

if TYPE_CHECKING:
    from uamp_model import VideoTracker

FORMAT = 5
"""Of the fingerprint as it is stored; raised when its fields change their meaning."""

_SPOKEN = {
    "model": "the model",
    "weights": "the weights",
    "layers": "the UAMP layers",
    "memory": "the memory setting",
    "memory_settings": "the settings of the memory",
    "precision": "the precision",
    "image_size": "the model's input size",
    "protocol": "the protocol",
    "sequences": "the data",
    "versions": "the version of uamp",
    "format": "the version of uamp",
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything that decides what the results of a run are. Paths and the device are not among it.

    Attributes:
        model: name in the catalog.
        weights: digest of the network's parameters and buffers, see `weights_digest`.
        memory: name of the memory setting.
        memory_settings: its values, and the share of memory that is read where that is not all of it.
        precision: what the network computes in, "float32" or "bfloat16".
        image_size: side of the network's input in pixels.
        protocol: how the videos are tracked and from which split, in the words of the command.
        sequences: by name: numbers of frames and of listed frames, and a digest, see `describe_sequences`.
        versions: of the packages that made the results.
        layers: digest of the UAMP layers where any of them acts, or None.
        format: of this record.
    """

    model: str
    weights: str
    memory: str
    memory_settings: Mapping[str, Any]
    precision: str
    image_size: int
    protocol: str
    sequences: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]
    layers: str | None = None
    format: int = FORMAT

    def as_json(self) -> str:
        """The record as it is stored beside the results."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def take_fingerprint(
    tracker: "VideoTracker",
    sequences: Sequence[VideoSequence],
    protocol: str,
    *,
    weights: str | None = None,
    data: Mapping[str, Mapping[str, Any]] | None = None,
) -> Fingerprint:
    """Describe a run of one tracker over some videos.

    Args:
        tracker: its network, memory setting and precision.
        sequences: the videos.
        protocol: such as "DAVIS 2017 val".
        weights: the network's `weights_digest`, if it is known already.
        data: what `describe_sequences` says of the videos, if it is known already.

    Raises:
        What reading the videos raises.
    """
    from uamp_model.layers_file import weights_digest  # late: scoring PNGs reads fingerprints without torch

    layers, budget = tracker.acting_layers, float(tracker.memory_budget)
    read = {} if budget == 1.0 else {"memory_budget": budget}
    return Fingerprint(
        model=tracker.name,
        weights=weights_digest(tracker.base) if weights is None else weights,
        memory=tracker.memory,
        memory_settings=asdict(tracker.settings) | read,
        precision=str(tracker.dtype).removeprefix("torch."),
        image_size=tracker.image_size,
        protocol=protocol,
        sequences=describe_sequences(sequences) if data is None else data,
        versions={name: version(name) for name in ("uamp-eval", "uamp-model")},
        layers=None if layers is None else weights_digest(layers),
    )


def describe_sequences(sequences: Iterable[VideoSequence]) -> dict[str, dict[str, Any]]:
    """Tell videos apart, by name: numbers of frames, and a digest of frame names, prompts, pictures and given masks.

    A data set that was degraded, re-encoded or made anew under the same names, even in a single frame, is another one.

    Raises:
        What reading the videos raises.
    """
    return {sequence.name: _describe(sequence) for sequence in sequences}


def differences(stored: Mapping[str, Any], wanted: Fingerprint) -> list[str]:
    """What differs between the record of earlier results and a fingerprint, in words; empty if nothing does."""
    now: dict[str, Any] = json.loads(wanted.as_json())
    if stored.get("format") != now["format"]:
        return [_SPOKEN["format"]]
    return [_put(name, stored.get(name), now[name]) for name in _SPOKEN if stored.get(name) != now[name]]


def _put(name: str, then: Any, now: Any) -> str:
    spoken = _SPOKEN[name]
    if isinstance(then, str) and isinstance(now, str) and name != "weights":
        return f"{spoken} ({then} then, {now} now)"
    if name == "sequences" and isinstance(then, dict) and len(then) != len(now):
        return f"{spoken} ({len(then)} sequence{'s' if len(then) != 1 else ''} then, {len(now)} now)"
    if name == "sequences" and isinstance(then, dict):
        return f"{spoken} ({next(one for one in now if then.get(one) != now[one])})"
    if name in ("memory_settings", "versions") and isinstance(then, dict):
        changes = [
            f"{key} {then.get(key)} then, {now.get(key)} now"
            for key in {**then, **now}
            if then.get(key) != now.get(key)
        ]
        return f"{spoken} ({'; '.join(changes)})"
    return spoken


def _describe(sequence: VideoSequence) -> dict[str, Any]:
    names = list(sequence.frame_names)
    prompts = {str(frame): sorted(ids) for frame, ids in sorted(sequence.prompts.items())}
    digest = hashlib.sha256(json.dumps([names, list(sequence.listed), prompts]).encode())
    for frame in range(len(names)):
        digest.update(_picture(sequence, frame))
    for ids in (sequence.annotation(frame) for frame in sorted(sequence.prompts)):
        digest.update(f"{ids.shape}".encode())
        digest.update(ids.tobytes())
    return {
        "frames": len(names),
        "listed": len(sequence.listed),
        "digest": digest.hexdigest()[:16],
    }


def _picture(sequence: VideoSequence, frame: int) -> bytes:
    """What tells a picture from another one: its file as it is, which is soon read, or else its pixels."""
    paths: Sequence[Path] | None = getattr(sequence, "frame_paths", None)
    if paths is not None:
        with suppress(OSError):  # reading the picture says what is wrong
            return paths[frame].read_bytes()
    pixels = sequence.image(frame)
    return f"{pixels.shape}".encode() + pixels.tobytes()
