"""A frame's result: objects as the network saw them, enlarged to the video's size. Shapes: see `types.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from uamp_model.devices import to_device
from uamp_model.focus import UNSEEN, Window
from uamp_model.outlines import follow_edges
from uamp_model.types import FrameResult
from uamp_model.uncertainty import prior_uncertainty, upsample


@dataclass(frozen=True, slots=True)
class Seen:
    """An object on the last frame.

    Attributes:
        logits: 1×1×4h×4w mask logits on what was looked at of the frame, as are the following maps.
        agreed: 1×1×4h×4w logits, what the hypotheses said together.
        correction: 1×1×4h×4w, what the learned head added to the uncertainty there; None without one.
        uncertainty: 1×1×4h×4w in [0, 1], kept only for learned layers.
        presence: logit that it is in view, a scalar tensor.
        score: a scalar tensor in [0, 1].
        given: whether its mask was given by a prompt, and so is beyond doubt.
    """

    logits: Tensor
    agreed: Tensor
    correction: Tensor | None
    uncertainty: Tensor | None
    presence: Tensor
    score: Tensor
    given: bool


def make_result(
    found: Mapping[int, Seen], index: int, window: Window, *, picture: Tensor | None = None, outline: float = 0.0
) -> FrameResult:
    """The result of a frame on which there are objects.

    Args:
        found: the N objects by their ids, at least one.
        index: number of the frame.
        window: what of the frame was looked at.
        picture: H×W×3 uint8, the frame itself, if outlines are to follow its edges.
        outline: how far they do, see `outlines.py`; masks that were given stay as they are.
    """
    seen = list(found.values())
    logits = upsample(torch.cat([each.logits for each in seen]), window.size)[:, 0]
    if picture is not None and outline > 0:
        tracked = [row for row, each in enumerate(seen) if not each.given]
        logits[tracked] = follow_edges(logits[tracked], window.cut(picture), outline)
    full = window.place(logits, UNSEEN)
    doubt = _Doubts(
        torch.cat([each.agreed for each in seen]),
        torch.stack([each.presence for each in seen]).float(),
        tuple(each.correction for each in seen),
        to_device([each.given for each in seen], full.device),
        window,
    )
    return FrameResult(
        frame_index=index,
        object_ids=tuple(found),
        masks=full > 0,
        logits=full,
        uncertainty=partial(doubt.at, full),
        scores=torch.stack([each.score for each in seen]).float(),
    )


def empty_result(index: int, size: tuple[int, int], device: torch.device) -> FrameResult:
    """The result of a frame of H×W pixels on which nothing is followed."""
    empty = torch.zeros(0, *size, device=device)
    return FrameResult(index, (), empty > 0, empty, empty.clone(), torch.zeros(0, device=device))


@dataclass(frozen=True, slots=True)
class _Doubts:
    """What the uncertainty of N objects at the video's size is made of, once somebody asks for it.

    Attributes:
        agreed: N×1×4h×4w.
        presence: N.
        corrections: N of 1×1×4h×4w or None.
        given: N booleans.
        window: what of the frame was seen; there is no doubt outside.
    """

    agreed: Tensor
    presence: Tensor
    corrections: tuple[Tensor | None, ...]
    given: Tensor
    window: Window

    @torch.inference_mode()
    def at(self, logits: Tensor) -> Tensor:
        """N×H×W in [0, 1] beside logits N×H×W."""
        logits = self.window.cut_maps(logits)
        size = (logits.shape[-2], logits.shape[-1])
        uncertainty = prior_uncertainty(logits, upsample(self.agreed, size)[:, 0], self.presence[:, None, None])
        for row, correction in enumerate(self.corrections):
            if correction is not None:
                uncertainty[row] = (uncertainty[row] + upsample(correction, size)[0, 0]).clamp(0, 1)
        return self.window.place(uncertainty * ~self.given[:, None, None], 0.0)
