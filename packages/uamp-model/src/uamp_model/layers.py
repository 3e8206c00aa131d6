"""UAMP's learned layers: what is trained while SAM 2 stays as it is. Shapes: see `types.py`.

All of them end in a layer of zeros, so that untrained layers change nothing, bit for bit. Formulas: docs/method.md. The
head follows MatAnyone's idea (Yang et al., 2025) of predicting what changes from what is seen now and was seen before;
the correction of conditioned features is ControlNet's zero convolution (Zhang et al., 2023). The adapter: `adapter.py`.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uamp_model.adapter import Adapter
from uamp_model.presets import LEARNED_PARTS, MemorySettings
from uamp_model.propagation import to_cells
from uamp_model.sam2 import ImageFeatures, Sam2

CELL = 4
"""Mask pixels (stride 4) along the side of a stride-16 cell."""
SMALLEST_DOUBT = 1e-3
"""Keeps the prior's logit finite."""
GROUPS = 8


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """Widths of the layers, which follow from the base model, and which of its parts there are.

    Attributes:
        channels: C of the base model's stride-16 features.
        memory: D of its memory features.
        fine: channels of its stride-4 features.
        hidden: channels inside the refiner and the second look.
        doubt_input: whether refiner and second look are shown the uncertainty; false for an ablation.
        rank: of the adapter's matrices.
        encoder: whether the adapter corrects the image encoder too.
    """

    channels: int
    memory: int
    fine: int
    hidden: int = 96
    doubt_input: bool = True
    rank: int = 8
    encoder: bool = True

    @staticmethod
    def of(
        model: Sam2, *, hidden: int = 96, doubt_input: bool = True, rank: int = 8, encoder: bool = True
    ) -> "LayerSizes":
        """Those that fit a base model."""
        fine = model.sam_mask_decoder.conv_s0.out_channels
        return LayerSizes(int(model.hidden_dim), int(model.mem_dim), int(fine), hidden, doubt_input, rank, encoder)


@dataclass(frozen=True, slots=True)
class Past:
    """The last frame, as N objects saw it.

    Attributes:
        fine: N×C/8×4h×4w, the image's stride-4 features.
        logits: N×1×4h×4w mask logits.
        uncertainty: N×1×4h×4w in [0, 1].
        memory: N×D×h×w, what was written to memory.
    """

    fine: Tensor
    logits: Tensor
    uncertainty: Tensor
    memory: Tensor

    def pick(self, rows: slice) -> "Past":
        """That of some of the objects."""
        return Past(self.fine[rows], self.logits[rows], self.uncertainty[rows], self.memory[rows])

    def detach(self) -> "Past":
        """The same, as a given."""
        return Past(self.fine.detach(), self.logits.detach(), self.uncertainty.detach(), self.memory.detach())


class UncertaintyHead(nn.Module):
    """Corrects the prior's logits at stride 4: what the image shows now and showed before, and what memory expects."""

    def __init__(self, sizes: LayerSizes, width: int = 32, expected: int = 16) -> None:
        super().__init__()
        self.expect = nn.Conv2d(sizes.channels, expected, 1)
        self.mix = nn.Conv2d(2 * sizes.fine + expected + 4, width, 1)
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, width)
        self.out = _zero(nn.Conv2d(width, 1, 3, padding=1))

    def forward(
        self, features: ImageFeatures, conditioned: Tensor, logits: Tensor, prior: Tensor, past: Past
    ) -> Tensor:
        """What to add to the prior's logits, N×1×4h×4w.

        Args:
            features: of the frame, one row per object.
            conditioned: N×C×h×w stride-16 features that have seen the memory.
            logits: N×1×4h×4w mask logits.
            prior: N×1×4h×4w the training-free uncertainty.
            past: the last frame.
        """
        size = (logits.shape[-2], logits.shape[-1])
        expected = F.interpolate(self.expect(conditioned), size, mode="bilinear", align_corners=False)
        maps = [features.stride4, past.fine, expected, logits.sigmoid(), past.logits.sigmoid(), prior, past.uncertainty]
        hidden = F.gelu(self.mix(torch.cat([m.to(expected.dtype) for m in maps], dim=1)))
        change: Tensor = self.out(F.gelu(self.norm(self.look(hidden))))
        return change.float()


class Correction(nn.Module):
    """A small network whose output is added to features of the same size; nothing at first.

    Attributes:
        drop_path: share of objects for which it says nothing while it is trained.
    """

    def __init__(self, inputs: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.drop_path = 0.0
        self.mix = nn.Conv2d(inputs, hidden, 1)
        self.look = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, hidden)
        self.out = _zero(nn.Conv2d(hidden, channels, 1))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """What to add, N×C×H×W, from maps N×·×H×W."""
        hidden = F.gelu(self.mix(torch.cat([m.to(maps[0].dtype) for m in maps], dim=1)))
        change: Tensor = self.out(F.gelu(self.norm(self.look(hidden))))
        if self.training and self.drop_path > 0:
            kept = torch.rand(len(change), 1, 1, 1, device=change.device) >= self.drop_path
            change = change * kept / (1 - self.drop_path)
        return change


class Refiner(Correction):
    """Corrects the conditioned features before the mask is decoded, by what was last remembered and doubted."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__(2 * sizes.channels + sizes.memory + 2, sizes.hidden, sizes.channels)
        self._doubt_input = sizes.doubt_input

    def correct(self, conditioned: Tensor, features: ImageFeatures, past: Past) -> Tensor:
        """N×C×h×w, to be added to `conditioned`."""
        grid = (conditioned.shape[-2], conditioned.shape[-1])
        doubt, mask = to_cells(past.uncertainty, grid) * self._doubt_input, to_cells(past.logits.sigmoid(), grid)
        change: Tensor = self([conditioned, features.stride16, past.memory, doubt, mask])
        return change


class SecondLook(Correction):
    """Corrects the conditioned features once more, knowing the mask and its doubt; the mask is then decoded again."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__(2 * sizes.channels + 2 * CELL * CELL, sizes.hidden, sizes.channels)
        self._doubt_input = sizes.doubt_input

    def correct(self, conditioned: Tensor, features: ImageFeatures, logits: Tensor, doubt: Tensor) -> Tensor:
        """N×C×h×w, to be added to `conditioned`; mask logits and their doubt are N×1×4h×4w."""
        maps = [F.pixel_unshuffle(m, CELL) for m in (logits.sigmoid(), doubt * self._doubt_input)]
        change: Tensor = self([conditioned, features.stride16, *maps])
        return change


class UampLayers(nn.Module):
    """Everything that UAMP learns.

    Attributes:
        adapter: corrections of the base model's weights.
        head, refiner, second_look: networks beside it.
        write, keep, read: learned strengths λ, μ and β, added to those of the memory settings.
    """

    def __init__(self, model: Sam2, sizes: LayerSizes) -> None:
        """Untrained layers for a base model, of which nothing is kept."""
        super().__init__()
        self.sizes = sizes
        self.adapter = Adapter(model, rank=sizes.rank, encoder=sizes.encoder)
        self.head = UncertaintyHead(sizes)
        self.refiner = Refiner(sizes)
        self.second_look = SecondLook(sizes)
        self.write, self.keep, self.read = (nn.Parameter(torch.zeros(())) for _ in range(3))

    @property
    def trained_parts(self) -> tuple[str, ...]:
        """Those of `presets.LEARNED_PARTS` that were trained and therefore do something."""
        return tuple(name for name, ends in self.last_weights.items() if any(end.any() for end in ends))

    @property
    def last_weights(self) -> dict[str, tuple[Tensor, ...]]:
        """What each of `presets.LEARNED_PARTS` ends in: zeros until it is trained."""
        ends = (self.head.out.weight,), (self.refiner.out.weight,), (self.second_look.out.weight,)
        return dict(zip(LEARNED_PARTS, (tuple(self.adapter.up.values()), *ends), strict=True))


def with_learned_strengths(settings: MemorySettings, layers: UampLayers | None) -> MemorySettings:
    """Memory settings with the strengths that layers have learned."""
    if layers is None or not settings.learned:
        return settings
    learned = {name: settings.learned * getattr(layers, name).item() for name in ("write", "keep", "read")}
    return replace(settings, **{name: getattr(settings, name) + more for name, more in learned.items()})


def doubt_correction(prior: Tensor, change: Tensor) -> Tensor:
    """How far a change of its logits moves the prior uncertainty; exactly 0 for no change."""
    logits = prior.clamp(SMALLEST_DOUBT, 1 - SMALLEST_DOUBT).logit()
    return (logits + change).sigmoid() - logits.sigmoid()


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
