"""One frame of tracking as a pure, batched and differentiable function.

Training unrolls it over a clip (`unroll.py`), a session wraps it in inference mode (`session.py`): there is no other
code path. The N objects may belong to one image or to many; their features come already lined up. Shapes: `types.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from uamp_model import sam2
from uamp_model.budget import Share, reading_of, share_of
from uamp_model.forms import Forms
from uamp_model.layers import Past, UampLayers, doubt_correction
from uamp_model.memory import MemoryEntry
from uamp_model.propagation import acts, keep_past, temper, to_cells
from uamp_model.sam2 import ImageFeatures, MemoryTokens, Sam2
from uamp_model.uncertainty import consensus, prior_uncertainty

PROMPT_LOGIT = 10.0
"""A mask prompt becomes logits of ±10, as in SAM 2: near 1 and 0 after the sigmoid."""
PREVIOUS_LOGIT_LIMIT = 32.0
"""Logits of a mask that a correction starts from are clamped to ±32, as in SAM 2."""


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Prompts of one kind for N objects on one frame, in pixels of the model's S×S input.

    Attributes:
        points: N×P×2 float (x, y), or None.
        labels: N×P int32: 1 on the object, 0 beside it, 2 and 3 the corners of a box, or None.
        masks: N×1×S×S float in {0, 1}, or None.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None

    def pick(self, rows: slice) -> "PromptBatch":
        """The prompts of some of the objects."""
        parts = (self.points, self.labels, self.masks)
        return PromptBatch(*(None if part is None else part[rows] for part in parts))


@dataclass(frozen=True, slots=True)
class FrameOutput:
    """What the network says about N objects on one frame.

    Attributes:
        hypotheses: N×K×4h×4w mask logits, before absence is taken into account.
        ious: N×K predicted IoU of each hypothesis, in [0, 1].
        presence: N×1 logit that the object is in view.
        best: N index of the hypothesis that was chosen, by default that of the highest predicted IoU; it enters memory.
        logits: N×1×4h×4w of the chosen hypothesis, `sam2.ABSENT_LOGIT` everywhere if the object is absent.
        pointer: N×C object pointer.
        present: N×1 in {0, 1}, the decision on presence that `logits`, `pointer` and the memory follow.
        agreed: N×1×4h×4w logits, what the hypotheses say together.
        correction: N×1×4h×4w, what the learned head adds to the training-free uncertainty, or None without one.
    """

    hypotheses: Tensor
    ious: Tensor
    presence: Tensor
    best: Tensor
    logits: Tensor
    pointer: Tensor
    present: Tensor
    agreed: Tensor
    correction: Tensor | None = None

    @property
    def chosen(self) -> Tensor:
        """N×1×4h×4w logits of the best hypothesis, before absence is taken into account."""
        return self.hypotheses.take_along_dim(self.best[:, None, None, None], dim=1)

    @property
    def chosen_iou(self) -> Tensor:
        """N×1 predicted IoU of the best hypothesis."""
        return self.ious.take_along_dim(self.best[:, None], dim=1)

    @property
    def uncertainty(self) -> Tensor:
        """N×1×4h×4w in [0, 1]."""
        prior = prior_uncertainty(self.logits.float(), self.agreed.float(), self.presence.float()[..., None, None])
        return prior if self.correction is None else (prior + self.correction).clamp(0, 1)


@dataclass(frozen=True, slots=True)
class Learned:
    """Trained layers, and how much of each acts beside the network. See `MemorySettings`."""

    layers: UampLayers
    doubt: float = 1.0
    refine: float = 1.0
    second_look: float = 1.0
    second_look_above: float = 0.0


Choose = Callable[[sam2.Decoded, slice], Tensor]
"""Says for some of the objects, those of the slice, which hypothesis is theirs."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is doubtful about a frame, and how that tells on what is written to memory.

    Attributes:
        uncertainty: N×1×4h×4w in [0, 1].
        past: N×D×h×w memory features of the frame before, or None if there is none.
        write: λ, see `propagation.temper`; a tensor where it is learned.
        keep: μ, see `propagation.keep_past`, likewise.
    """

    uncertainty: Tensor
    past: Tensor | None
    write: float | Tensor = 0.0
    keep: float | Tensor = 0.0


def track_frame(
    model: Sam2,
    features: ImageFeatures,
    memory: MemoryTokens | None,
    prompt: PromptBatch | None = None,
    *,
    previous: Tensor | None = None,
    present: Tensor | None = None,
    present_above: float = 0.0,
    choose: Choose | None = None,
    learned: Learned | None = None,
    past: Past | None = None,
    separately: bool = False,
    fast: Forms | None = None,
) -> FrameOutput:
    """Find N objects on one frame.

    Args:
        model: the network.
        features: of the frame, one row per object.
        memory: what the objects remember; None on an object's first frame, which is then read from its prompt alone.
        prompt: points or masks of this frame, if there are any.
        previous: N×1×4h×4w mask logits that the points correct, if there are any.
        present: N booleans that overrule the predicted presence (training from scratch knows the truth).
        present_above: presence logit above which an object is taken to be in view.
        choose: which hypothesis is taken where there are several; by default that of the highest predicted IoU.
        learned: trained layers, which act where an object is tracked without a prompt.
        past: the last frame, for those layers; without it they do not act.
        separately: decode the objects one after the other. The decoder has matrix products of one row per object,
            which torch rounds otherwise for one row than for several; with this, an object's masks do not depend on
            what others are tracked beside it.
        fast: see `sam2.attend_memory`.
    """
    rows = _rows(len(features.stride16), separately=separately)
    if prompt is not None and prompt.masks is not None:
        return _join([_adopt_masks(model, features.pick(row), prompt.masks[row]) for row in rows])
    conditioned = (
        sam2.without_memory(model, features)
        if memory is None
        else sam2.attend_memory(model, features, memory, fast=fast)
    )
    points, labels = (None, None) if prompt is None else (prompt.points, prompt.labels)
    if previous is not None:
        previous = previous.clamp(-PREVIOUS_LOGIT_LIMIT, PREVIOUS_LOGIT_LIMIT)
    count = 0 if labels is None else labels.shape[1]
    multimask = _gives_hypotheses(model, count, tracking=memory is not None)

    def decode(given: Tensor, row: slice) -> FrameOutput:
        clicks = None if points is None or labels is None else (points[row], labels[row])
        start = None if previous is None else previous[row]
        seen = features.pick(row)
        decoded = sam2.decode_masks(model, given, seen, clicks, start, multimask=multimask, fast=fast)
        known = decoded.presence > present_above if present is None else present[row].view(-1, 1)
        best = decoded.ious.argmax(dim=1) if choose is None or not multimask else choose(decoded, row)
        return _take(model, decoded, best, known)

    if learned is None or past is None or memory is None or prompt is not None:
        return _join([decode(conditioned[row], row) for row in rows])
    return _join(
        [
            _decode_with_layers(partial(decode, row=row), conditioned[row], features.pick(row), learned, past.pick(row))
            for row in rows
        ]
    )


def _decode_with_layers(
    decode: Callable[[Tensor], FrameOutput], conditioned: Tensor, features: ImageFeatures, learned: Learned, past: Past
) -> FrameOutput:
    """Refine, decode, look again, and say what is doubtful."""
    layers = learned.layers
    if learned.refine > 0:
        conditioned = conditioned + learned.refine * layers.refiner.correct(conditioned, features, past)
    output = decode(conditioned)
    if learned.second_look > 0:
        first, doubt = output, output.uncertainty
        seen = layers.second_look.correct(conditioned, features, first.logits, doubt)
        conditioned = conditioned + learned.second_look * seen
        output = decode(conditioned)
        if learned.second_look_above > 0:
            output = _decide(output, first, doubt > learned.second_look_above)
    if learned.doubt > 0:
        prior = output.uncertainty.detach()
        change = layers.head(features, conditioned.detach(), output.logits.detach(), prior, past.detach())
        output = replace(output, correction=doubt_correction(prior, learned.doubt * change))
    return output


def _decide(second: FrameOutput, first: FrameOutput, doubtful: Tensor) -> FrameOutput:
    """The second look where the first was doubtful (N×1×4h×4w); the first mask, as it was chosen, everywhere else.

    Where they differ on whether the object is there at all, the second has the whole say.
    """
    decides = doubtful | (second.present != first.present)[..., None, None]
    return replace(
        second,
        logits=torch.where(decides, second.logits, first.logits),
        hypotheses=torch.where(decides, second.hypotheses, first.chosen),
    )


def _join(outputs: Sequence[FrameOutput]) -> FrameOutput:
    """Outputs of several groups of objects as one."""
    if len(outputs) == 1:
        return outputs[0]
    always = [name for name in FrameOutput.__slots__ if name != "correction"]
    corrections = [output.correction for output in outputs if output.correction is not None]
    joined = FrameOutput(*(torch.cat([getattr(output, name) for output in outputs]) for name in always))
    return replace(joined, correction=torch.cat(corrections)) if corrections else joined


def _gives_hypotheses(model: Sam2, point_count: int, *, tracking: bool) -> bool:
    """SAM 2 decodes three hypotheses where the prompt is ambiguous: no point (tracking) or a single one."""
    allowed = model.multimask_output_in_sam and (not tracking or model.multimask_output_for_tracking)
    return bool(allowed and model.multimask_min_pt_num <= point_count <= model.multimask_max_pt_num)


def _take(model: Sam2, decoded: sam2.Decoded, best: Tensor, present: Tensor) -> FrameOutput:
    """Take the chosen hypotheses, N, and blank the objects that are not there, N×1."""
    row = torch.arange(len(best), device=best.device)
    pointer = sam2.object_pointer(model, decoded.tokens[row, best if decoded.tokens.shape[1] > 1 else 0])
    here = present if model.pred_obj_scores else torch.ones_like(present)
    logits = torch.where(here[..., None, None], decoded.hypotheses[row, best].unsqueeze(1), sam2.ABSENT_LOGIT)
    return FrameOutput(
        hypotheses=decoded.hypotheses,
        ious=decoded.ious,
        presence=decoded.presence,
        best=best,
        logits=logits,
        pointer=sam2.mix_absence(model, pointer, here.float()),
        present=here.float(),
        agreed=consensus(decoded.hypotheses, decoded.ious[row, best]),
    )


def _adopt_masks(model: Sam2, features: ImageFeatures, masks: Tensor) -> FrameOutput:
    """Take prompt masks (N×1×S×S) as the result; the decoder only derives the object pointer from them."""
    masks = masks.float()
    logits = (2 * masks - 1) * PROMPT_LOGIT
    logits = F.interpolate(logits, scale_factor=0.25, mode="bilinear", align_corners=False, antialias=True)
    start = model.mask_downsample(masks).float()
    conditioned = features.stride16
    decoded = sam2.decode_masks(model, conditioned, features, None, start, multimask=False)
    inner = _take(model, decoded, decoded.ious.argmax(dim=1), decoded.presence > 0)
    here = masks.flatten(1).any(dim=1, keepdim=True).float()
    return FrameOutput(
        hypotheses=logits,
        ious=torch.ones_like(here),
        presence=(2 * here - 1) * PROMPT_LOGIT,
        best=torch.zeros(len(masks), dtype=torch.long, device=masks.device),
        logits=logits,
        pointer=sam2.mix_absence(model, inner.pointer, here),
        present=here,
        agreed=logits,
    )


def write_memory(
    model: Sam2,
    features: ImageFeatures,
    output: FrameOutput,
    frame: int,
    *,
    prompted: bool,
    doubt: Doubt | None = None,
    separately: bool = False,
    fast: Forms | None = None,
) -> MemoryEntry:
    """Turn a frame's result into what the objects remember of it.

    Args:
        model: the network.
        features: of the frame, one row per object.
        output: of the frame.
        frame: its number.
        prompted: whether the masks come from a prompt.
        doubt: what is doubtful about them; None leaves SAM 2's memory.
        separately: as for `track_frame`.
        fast: likewise.
    """
    logits = output.logits
    if doubt is not None and acts(doubt.write):
        logits = temper(logits, doubt.uncertainty, doubt.write)
    encoded = [
        sam2.encode_memory(model, features.pick(row), logits[row], output.present[row], prompted=prompted, fast=fast)
        for row in _rows(len(logits), separately=separately)
    ]
    memory = torch.cat(encoded) if len(encoded) > 1 else encoded[0]
    if doubt is None:
        return MemoryEntry(frame, memory, output.pointer)
    cells = to_cells(doubt.uncertainty, (memory.shape[-2], memory.shape[-1]))
    if acts(doubt.keep) and doubt.past is not None:
        memory = keep_past(memory, cells, doubt.past, doubt.keep)
    return MemoryEntry(frame, memory, output.pointer, cells)


def readable_share(model: Sam2, budget: float) -> Share | None:
    """What a network may read of its memory, None for all; see `budget.share_of`."""
    return share_of(budget, (model.image_size // int(model.backbone_stride)) ** 2, model.num_maskmem)


@torch.no_grad()
def read_in_part(entry: MemoryEntry, output: FrameOutput) -> MemoryEntry:
    """The memory of a frame with how it is read in part, see `budget.py`."""
    if entry.features is None:
        return entry
    height, width = entry.features.shape[-2:]
    return replace(entry, reading=reading_of(output.logits, output.uncertainty, (height, width)))


def _rows(count: int, *, separately: bool) -> list[slice]:
    """The objects to take together: each alone, or all."""
    return [slice(i, i + 1) for i in range(count)] if separately else [slice(None)]
