"""The memory settings a tracker can be asked for: one tracker, one set of numbers each. Formulas: docs/method.md."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from uamp_model.errors import InputError


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """How a tracker chooses masks, and what enters and leaves its memory. The defaults are SAM 2.

    Attributes:
        choose: α₀, weight of the motion filter's agreement against the predicted IoU when a hypothesis is chosen.
        choose_steadily: take α₀ as it is; otherwise it is scaled by the filter's own confidence.
        settled: frames of reliable tracking before the filter has a say.
        reliable: predicted IoU above which a mask updates the filter; below, the filter starts anew.
        select: τ, quality from which a frame may be read from memory; 0 reads the most recent frames. The last frame
            is always read.
        select_by: what quality is: "product" is predicted IoU · presence · certainty · motion agreement, in [0, 1];
            "thresholds" is 1 if predicted IoU, presence and motion agreement all pass SAMURAI's thresholds, else 0.
        pool: how many of the latest frames of that quality are candidates; the best of them are read.
        write: λ, how far doubtful pixels enter the memory encoder as undecided, in [0, 1].
        keep: μ, how far doubtful cells keep what the last frame's memory says, in [0, 1].
        read: β, how much less doubtful cells are read.
        anchor: γ, how much more is read of conditioning frames: their cells count for e^γ others of the same score.
        presence_above: presence logit above which an object is taken to be in view.
        outline: strength of the filter that puts a shown mask's outline where the picture's colours change, in [0, 1].
            What is remembered does not depend on it.
        focus: side of the window that is looked at around the objects, in sides of their box; 0 looks at whole frames.
        adapt: strength of the learned corrections of the network's own weights.
        rehearse: steps in which such corrections are learned from a video's own first masks before it is tracked, see
            `rehearsal.py`; who runs the tracker sees to it.
        learned: weight of the learned correction of the uncertainty map, and of the learned strengths beside λ, μ, β.
        refine: strength of the learned correction of what the decoder is given.
        second_look: strength of the learned second decoding. These four need trained layers (`layers.UampLayers`)
            and do nothing without.
        second_look_above: doubt of the first mask from which the second one decides; below, the first stays. 0 takes
            the second everywhere.
    """

    choose: float = 0.0
    choose_steadily: bool = False
    settled: int = 15
    reliable: float = 0.3
    select: float = 0.0
    select_by: str = "product"
    pool: int = 6
    write: float = 0.0
    keep: float = 0.0
    read: float = 0.0
    anchor: float = 0.0
    presence_above: float = 0.0
    outline: float = 0.0
    focus: float = 0.0
    adapt: float = 0.0
    rehearse: int = 0
    learned: float = 0.0
    refine: float = 0.0
    second_look: float = 0.0
    second_look_above: float = 0.0

    @property
    def follows_motion(self) -> bool:
        """Whether anything asks the motion filter."""
        return self.choose > 0 or self.select > 0

    @property
    def doubts(self) -> bool:
        """Whether anything asks for the uncertainty map."""
        return self.write != 0 or self.keep != 0 or self.read != 0


SAM2 = MemorySettings()
"""Memory exactly as SAM 2's own video predictor keeps and reads it."""

SAMURAI = MemorySettings(choose=0.25, choose_steadily=True, select=0.5, select_by="thresholds", presence_above=-1.0)
"""SAMURAI (Yang et al., 2024) as published, for each object."""
SAMURAI_LARGE_CHOOSE = 0.15
"""SAMURAI weighs motion less with the large model."""

UAMP = MemorySettings(adapt=1.0, learned=1.0, refine=1.0, second_look=1.0, second_look_above=0.4)
"""UAMP's defaults."""
MEASURED = {"nano": {"outline": 1.0, "anchor": 0.7}}
"""Strengths by model, found to help on training sequences (docs/method.md); elsewhere they are 0."""

UAMP_TRIAL = MemorySettings(
    choose=0.15, settled=5, select=0.2, write=0.5, keep=0.3, read=0.5, anchor=0.7, outline=1.0, focus=3.5
)
"""Strengths that an ablation tries for parts whose default is 0."""

PARTS = ("choose", "select", "write", "keep", "read", "anchor", "outline", "focus")
"""The training-free strengths that can be told apart in an ablation."""

LEARNED_PARTS = ("adapt", "learned", "refine", "second_look")
"""Those that come with trained layers."""

MEMORY_SETTINGS = ("sam2", "samurai", "uamp")


def memory_settings(memory: str, model: str = "nano") -> MemorySettings:
    """The numbers of a memory setting, as they are for a model of the catalog.

    Raises:
        InputError: if there is no such setting, naming those that are.
    """
    if memory == "samurai" and model.endswith("-large"):
        return replace(SAMURAI, choose=SAMURAI_LARGE_CHOOSE)
    if memory == "uamp":
        return _with(UAMP, **MEASURED.get(model, {}))
    found = {"sam2": SAM2, "samurai": SAMURAI}.get(memory)
    if found is not None:
        return found
    near = difflib.get_close_matches(str(memory).lower(), MEMORY_SETTINGS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise InputError(f"Unknown memory setting {memory!r}: use {', '.join(MEMORY_SETTINGS)}.{hint}")


def ablation(trained: Sequence[str] = (), model: str = "nano") -> dict[str, MemorySettings]:
    """The settings of an ablation by name: SAM 2, each of UAMP's parts alone, and all of them.

    A part whose default strength is 0 takes part with that of `UAMP_TRIAL`, so that the table shows what it would do.

    Args:
        trained: those of `LEARNED_PARTS` that a tracker has; each is listed alone, and "uamp" as it is.
        model: its name in the catalog.
    """
    uamp = memory_settings("uamp", model)
    tried = {part: getattr(uamp, part) or getattr(UAMP_TRIAL, part) for part in PARTS}
    base = replace(SAM2, settled=uamp.settled if uamp.choose else UAMP_TRIAL.settled, pool=uamp.pool)
    alone = {f"+{part}": _with(base, **{part: strength}) for part, strength in tried.items()}
    settings = {"sam2": SAM2, **alone, "all": _with(base, **tried)}
    settings |= {f"+{part}": _with(SAM2, **{part: getattr(uamp, part)}) for part in trained}
    return settings | ({"uamp": uamp} if trained else {})


def _with(settings: MemorySettings, **strengths: float) -> MemorySettings:
    return replace(settings, **strengths)  # type: ignore[arg-type] # only strengths are given, which are floats
