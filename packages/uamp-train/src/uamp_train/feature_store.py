"""Image features on disk: one safetensors file of half-precision features a frame, known by the digest of its pixels.

Because a frame is not known by a name, nothing stale can be read, whatever the data set, its sizes or its flips do. A
folder holds the frames of one encoder, image size and precision.
"""

import contextlib
import hashlib
import json
import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor
from uamp_model.checkpoint import save_tensors

from uamp_train.errors import ConfigError

log = logging.getLogger(__name__)

FORMAT = "uamp-features-1"
LEVELS = ("stride16", "stride8", "stride4")


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """What the cache knows of a frame: its key, and its features by level (1×C×h×w, half), or None."""

    key: str
    levels: dict[str, Tensor] | None


class FeatureStore:
    """Features in a folder, read by memory map. Threads and processes may share it: files appear whole."""

    def __init__(self, folder: Path, fingerprint: dict[str, str]) -> None:
        """Names the part of `folder` that belongs to a fingerprint, and describes it there."""
        text = json.dumps({"format": FORMAT, **fingerprint}, sort_keys=True)
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()
        self.folder = folder / self.fingerprint[:16]
        self._full = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "features.json").write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"The cache folder {self.folder} cannot be written ({error.strerror or error}): set cache_folder to "
                "another one, or cache_features to false."
            ) from error

    def look_up(self, images: Tensor) -> tuple[StoredFrame, ...]:
        """What is known of frames, …×3×S×S uint8 on the CPU, in their order."""
        frames = images.flatten(0, -4).contiguous().numpy()
        keys = [hashlib.blake2b(frame.data, digest_size=16).hexdigest() for frame in frames]
        return tuple(StoredFrame(key, self._read(key)) for key in keys)

    def keep(self, key: str, levels: dict[str, Tensor]) -> None:
        """Store a frame's features; a full disk ends storing, not training."""
        if self._full:
            return
        path = self._path(key)
        temporary = path.with_name(f".{key}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            path.parent.mkdir(exist_ok=True)
            save_tensors(temporary, levels, {"fingerprint": self.fingerprint})
            temporary.replace(path)
        except (OSError, SafetensorError) as error:
            self._full = True
            with contextlib.suppress(OSError):
                temporary.unlink()
            log.warning("No more features are cached, because %s cannot be written: %s.", self.folder, error)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _read(self, key: str) -> dict[str, Tensor] | None:
        """None if the frame is not there, or its file is damaged: it is then computed and written again."""
        path = self._path(key)
        try:
            with safe_open(str(path), framework="pt") as file:
                if (file.metadata() or {}).get("fingerprint") != self.fingerprint:
                    return None
                return {level: file.get_tensor(level) for level in LEVELS}
        except (OSError, SafetensorError):
            return None
