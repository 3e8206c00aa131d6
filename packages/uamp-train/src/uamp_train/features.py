"""What the frozen image encoder says of frames: computed once, so that a step costs the light layers only.

Features are rounded to half precision before they are first used, and frames are encoded one at a time: a step is the
same bit for bit whether its frames were in the cache or not.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor
from uamp_model.adapter import ENCODER
from uamp_model.layers_file import weights_digest
from uamp_model.preprocess import normalize
from uamp_model.sam2 import ImageFeatures, Sam2, encode_image

from uamp_train.feature_store import LEVELS, FeatureStore, StoredFrame

HALF_LIMIT = 65504.0


class FeatureCache:
    """The store together with the encoder that fills it."""

    def __init__(
        self,
        model: Sam2,
        folder: Path,
        *,
        precision: str,
        autocast: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Ties a cache to a network.

        Args:
            model: the network, on its device, frozen as a whole: a part of its mask decoder makes the fine features.
            folder: where caches of all fingerprints lie.
            precision: what `autocast` computes in, for the fingerprint.
            autocast: makes the context in which images are encoded.

        Raises:
            ConfigError: if the folder cannot be written.
        """
        encoder = {name: value for name, value in model.state_dict().items() if name.startswith(ENCODER)}
        self.store = FeatureStore(
            folder,
            {"encoder": weights_digest(encoder), "image_size": str(model.image_size), "precision": precision},
        )
        self._model, self._autocast = model, autocast
        self._device = next(model.parameters()).device
        empty = torch.zeros(1, 3, model.image_size, model.image_size, dtype=torch.uint8)
        self._position = self._encode(empty).position

    def complete(self, images: Tensor, stored: Sequence[StoredFrame]) -> ImageFeatures:
        """The features of B×T×3×S×S frames as B·T rows; what is not stored yet is computed and stored."""
        rows: list[dict[str, Tensor]] = []
        fresh: dict[str, dict[str, Tensor]] = {}
        for image, frame in zip(images.flatten(0, -4), stored, strict=True):
            levels = frame.levels or fresh.get(frame.key)
            if levels is None:
                features = self._encode(image[None])
                levels = {level: _half(getattr(features, level)) for level in LEVELS}
                fresh[frame.key] = levels
                self.store.keep(frame.key, levels)
            rows.append(levels)
        together = {level: torch.cat([row[level] for row in rows]).to(self._device).float() for level in LEVELS}
        return ImageFeatures(**together, position=self._position)

    @torch.no_grad()
    def _encode(self, image: Tensor) -> ImageFeatures:
        with self._autocast():
            return encode_image(self._model, normalize(image.to(self._device)))


def _half(features: Tensor) -> Tensor:
    return features.float().clamp(-HALF_LIMIT, HALF_LIMIT).half().cpu().contiguous()
