"""Memory settings side by side on real sequences and on families of generated clips: J&F, differences, intervals.

    uv run python benchmarks/memory_scores.py --davis DIR --split train --settings sam2 choose=0.25 select=0.3,pool=12
    uv run python benchmarks/memory_scores.py --clips 8 --frames 48 --settings sam2 samurai uamp

    uv run python benchmarks/memory_scores.py --clips 8 --settings sam2 uamp-free uamp uamp@runs/mine/uamp.safetensors
    uv run python benchmarks/memory_scores.py --clips 8 --settings uamp-free uamp-rehearsed --keep scores.jsonl

A setting is a name (sam2, samurai, uamp; uamp-free is uamp without learned layers, uamp-rehearsed learns from each
video before it tracks it) or numbers of `MemorySettings` over SAM 2's; with @FILE behind it, the layers of a file act
(uamp@FILE; refine=1@FILE: the refiner alone; uamp-rehearsed@nothing begins at no layers). Doubt is judged on the
pixels within 16 of the edge of the predicted or the true mask. Differences to the first setting, and of the last one
to the others, come with 95 % bootstrap intervals over objects; up to ten objects are listed one by one. What --keep
FILE holds already is not measured again, so that several processes can share a long measurement (each with its own
--families or --sequences) and a last call shows all of it; layers files are told apart by their names alone. Search
with --seed 8000000 (the default) and the train split; report other seeds and val. It asserts nothing.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
from nano_scores import prompt_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from uamp_data.davis import DavisDataset
from uamp_data.synthetic import FAMILIES, generate_clip
from uamp_eval.calibration import ENTROPY, UNCERTAINTY, Calibration, packed, unpacked
from uamp_eval.doubt import add_frame
from uamp_eval.metrics import score_frame
from uamp_eval.protocols import Give, run_sequence
from uamp_eval.sequences import VideoSequence
from uamp_model import VideoTracker, load_tracker
from uamp_model.layers_file import load_layers
from uamp_model.presets import MEMORY_SETTINGS, MemorySettings, memory_settings
from uamp_model.rehearsal import STEPS, new_layers

SEARCH_SEED = 8_000_000
RESAMPLES = 2000
STORIES = tuple(family for family in FAMILIES if family != "mixed")


@dataclass(frozen=True)
class GeneratedSequence:
    """A generated clip as a benchmark's video."""

    name: str
    frames: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Numbers of five digits."""
        return tuple(f"{t:05d}" for t in range(len(self.frames)))

    @property
    def prompts(self) -> Mapping[int, tuple[int, ...]]:
        """All objects of the first frame."""
        return {0: tuple(int(i) for i in np.unique(self.masks[0]) if i)}

    @property
    def annotated(self) -> tuple[int, ...]:
        """All frames."""
        return tuple(range(len(self.frames)))

    @property
    def listed(self) -> tuple[int, ...]:
        """All frames."""
        return self.annotated

    def image(self, frame: int) -> npt.NDArray[np.uint8]:
        """One picture."""
        return np.asarray(self.frames[frame])

    def annotation(self, frame: int) -> npt.NDArray[np.uint8]:
        """Its ids."""
        return np.asarray(self.masks[frame])


@dataclass(frozen=True)
class SmallSequence:
    """A video in the middle of frames `times` as large, whose rim repeats its edge: what it shows is small there."""

    inner: VideoSequence
    times: float

    def __getattr__(self, name: str) -> object:
        """All else is the video's own."""
        return getattr(self.inner, name)

    def image(self, frame: int) -> npt.NDArray[np.uint8]:
        """One picture."""
        return self._surround(self.inner.image(frame), cv2.BORDER_REPLICATE)

    def annotation(self, frame: int) -> npt.NDArray[np.uint8]:
        """Its ids; the rim is background."""
        return self._surround(self.inner.annotation(frame), cv2.BORDER_CONSTANT)

    def _surround(self, picture: npt.NDArray[np.uint8], border: int) -> npt.NDArray[np.uint8]:
        down, right = (round((self.times - 1) / 2 * side) for side in picture.shape[:2])
        return np.asarray(cv2.copyMakeBorder(picture, down, down, right, right, border), np.uint8)


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """One object under one setting: mean J and F over frames 1 to T − 2."""

    group: str
    name: str
    setting: str
    j: float
    f: float

    @property
    def jf(self) -> float:
        """Their mean."""
        return (self.j + self.f) / 2


def make_tracker(base: VideoTracker, text: str) -> VideoTracker:
    """A tracker of the base's network for a setting: see the top of this file."""
    name, _, file = text.partition("@")
    if file:
        nothing = file == "nothing"
        layers = new_layers(base.base) if nothing else load_layers(Path(file), base.base, base_model=base.name)
        settings = parse_setting(name, base.name)
        return VideoTracker(base.base, name=base.name, settings=settings, dtype=base.dtype, layers=layers)
    if text == "uamp-free":
        return VideoTracker(base.base, name=base.name, memory="uamp", dtype=base.dtype)
    return base.with_memory(text, parse_setting(text, base.name))


def parse_setting(text: str, model: str) -> MemorySettings:
    """A name, or numbers over SAM 2's: "choose=0.25,settled=5"."""
    if text in MEMORY_SETTINGS:
        return memory_settings(text, model)
    if text == "uamp-rehearsed":
        return replace(memory_settings("uamp", model), rehearse=STEPS)
    plain = MemorySettings()
    kinds = {field.name: type(getattr(plain, field.name)) for field in fields(MemorySettings)}
    values: dict[str, object] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key not in kinds:
            raise SystemExit(f"{part!r}: use a memory setting's name or numbers of {', '.join(kinds)}")
        values[key] = value == "1" if kinds[key] is bool else kinds[key](value)
    return replace(plain, **values)  # type: ignore[arg-type]


def generated(clips: int, frames: int, seed: int, families: Sequence[str]) -> Iterator[tuple[str, VideoSequence]]:
    """Families one after another."""
    for family in families:
        for number in range(clips):
            clip = generate_clip(seed + number, num_frames=frames, family=family)
            yield family, GeneratedSequence(clip.name, clip.frames, clip.masks)


@dataclass
class Doubt:
    """What is known of a sequence under one setting beside J and F.

    Attributes:
        calibration: of the uncertainty, and of the mask's own entropy.
        frames, seconds: how many frames took how long with this setting alone.
    """

    group: str
    setting: str
    calibration: Calibration = field(default_factory=Calibration)
    frames: int = 0
    seconds: float = 0.0

    def note(self) -> dict[str, object]:
        """What `from_note` reads."""
        return {**vars(self), "calibration": packed(self.calibration)}

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> "Doubt":
        """What `note` made."""
        return cls(**{**note, "calibration": unpacked(note["calibration"])})


@dataclass
class Scores:
    """What was measured: of objects, and, where doubt was asked for, of sequences."""

    objects: list[ObjectScore] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    def add(self, others: "Scores") -> None:
        """Take more."""
        self.objects += others.objects
        self.doubts += others.doubts


def score(
    trackers: Mapping[str, VideoTracker], group: str, sequence: VideoSequence, give: Give, doubt: bool = False
) -> Scores:
    """Scores of all objects under all settings; doubts are counted where they are asked for."""
    ids = sorted(i for start in sequence.prompts.values() for i in start)
    sums = {name: np.zeros((2, len(ids))) for name in trackers}
    doubts = {name: Doubt(group, name) for name in trackers if doubt}
    last = len(sequence.frame_names) - 1
    for frame in run_sequence(trackers, sequence, give=give):
        if not 0 < frame.number < last:
            continue
        truth = sequence.annotation(frame.number)
        for name, one in doubts.items():
            add_frame(one.calibration, frame.results[name], truth, ids, truth == 255)
            one.frames += 1
            one.seconds += frame.seconds[name]
        for name, labels in frame.labels.items():
            sums[name] += np.stack(score_frame(labels, np.where(truth == 255, 0, truth).astype(np.uint8), ids))
    scores = []
    for name, total in sums.items():
        for column, number in enumerate(ids):
            j, f = (total[:, column] / (last - 1)).tolist()
            scores.append(ObjectScore(group, f"{sequence.name}_{number}", name, j, f))
    return Scores(scores, list(doubts.values()))


def interval(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """95 % bootstrap interval of a mean."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def doubt_figures(doubts: Sequence[Doubt], setting: str, groups: Sequence[str]) -> list[str]:
    """AUROC and ECE of the uncertainty, and AUROC of the mask's own entropy."""
    together = Calibration()
    for one in doubts:
        if one.setting == setting and one.group in groups:
            together.include(one.calibration)
    figures = together.figures()
    shown = (figures[UNCERTAINTY]["AUROC"], figures[UNCERTAINTY]["ECE"], figures[ENTROPY]["AUROC"])
    return ["" if value is None else f"{value:.3f}" for value in shown]


def show(
    console: Console, scores: Sequence[ObjectScore], settings: Sequence[str], doubts: Sequence[Doubt] = ()
) -> dict[str, dict[str, object]]:
    """Print a row for each setting and group; return the same as JSON."""
    report: dict[str, dict[str, object]] = {}
    groups = list(dict.fromkeys(s.group for s in scores))
    for group in [*groups, *(["all generated"] if len([g for g in groups if g in STORIES]) > 1 else [])]:
        chosen = [s for s in scores if s.group == group or (group == "all generated" and s.group in STORIES)]
        by_setting = {name: [s for s in chosen if s.setting == name] for name in settings}
        base = np.array([s.jf for s in by_setting[settings[0]]])
        columns = ("setting", "J", "F", "J&F", f"J&F - {settings[0]}", "95 %")
        more = ("AUROC", "ECE", "AUROC of entropy") if doubts else ()
        table = Table(*columns, *more, title=f"{group}, {len(base)} objects")
        for name, own in by_setting.items():
            gain = 100 * (np.array([s.jf for s in own]) - base)
            low, high = interval(gain)
            j, f, jf = (100 * float(np.mean([getattr(s, k) for s in own])) for k in ("j", "f", "jf"))
            doubt = doubt_figures(doubts, name, STORIES if group == "all generated" else (group,)) if doubts else []
            span = f"{low:+.2f} to {high:+.2f}"
            table.add_row(name, f"{j:.1f}", f"{f:.1f}", f"{jf:.1f}", f"{gain.mean():+.2f}", span, *doubt)
            report.setdefault(group, {})[name] = {
                "J": j,
                "F": f,
                "J&F": jf,
                "gain": gain.mean(),
                "low": low,
                "high": high,
                "doubt": doubt,
            }
        console.print(table)
        last = np.array([s.jf for s in by_setting[settings[-1]]])
        for name in settings[1:-1]:
            gain = 100 * (last - np.array([s.jf for s in by_setting[name]]))
            low, high = interval(gain)
            console.print(f"{settings[-1]} against {name}: {gain.mean():+.2f} ({low:+.2f} to {high:+.2f})")
        for number, one in enumerate(by_setting[settings[0]] if len(base) <= 10 else []):
            found = ", ".join(f"{name} {100 * own[number].jf:.1f}" for name, own in by_setting.items())
            console.print(f"  {one.name}: {found}")
    return report


def kept_notes(file: Path) -> list[dict[str, Any]]:
    """The lines of a file that `Kept` wrote."""
    notes = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        try:
            notes.append(json.loads(line))
        except ValueError:  # written when the disk was full, say
            raise SystemExit(
                f"Line {number} of {file} is damaged: delete it, and what it held is measured again."
            ) from None
    return notes


@dataclass(frozen=True)
class Kept:
    """What was measured, in a file which processes append to: a line for an object or a sequence under one setting.

    Attributes:
        file: none keeps nothing.
        conditions: what scores depend on beside the sequence and the setting; others' lines are left alone.
    """

    file: Path | None
    conditions: str

    @cached_property
    def _notes(self) -> list[dict[str, Any]]:
        """What was there when it was first asked for: others measure other sequences meanwhile."""
        notes = kept_notes(self.file) if self.file and self.file.exists() else []
        return [note for note in notes if note["conditions"] == self.conditions]

    def of(self, group: str, sequence: str, settings: Iterable[str], doubt: bool) -> Scores:
        """What is known about a sequence under some settings; where doubt is asked for, of those that have it."""
        mine = [n for n in self._notes if n["sequence"] == sequence]
        doubts = {n["doubt"]["setting"]: n["doubt"] for n in mine if doubt and n.get("doubt", {}).get("group") == group}
        wanted = set(settings) & doubts.keys() if doubt else set(settings)
        scores = [ObjectScore(**n["score"]) for n in mine if n.get("score", {}).get("group") == group]
        objects = {(s.name, s.setting): s for s in scores if s.setting in wanted}
        return Scores(list(objects.values()), [Doubt.from_note(doubts[name]) for name in wanted if doubt])

    def add(self, sequence: str, scores: Scores) -> None:
        """In one write, so that processes do not mix their lines."""
        if self.file:
            where = {"conditions": self.conditions, "sequence": sequence}
            notes = [{**where, "score": asdict(s)} for s in scores.objects]
            notes += [{**where, "doubt": one.note()} for one in scores.doubts]
            with self.file.open("a") as out:
                out.write("".join(json.dumps(note) + "\n" for note in notes))


def measure(
    trackers: Mapping[str, VideoTracker],
    sequences: Iterable[tuple[str, VideoSequence]],
    total: int,
    kept: Kept,
    give: Give,
    doubt: bool,
) -> Scores:
    """Scores of all sequences, with a progress bar."""
    scores = Scores()
    for group, sequence in track(sequences, description="sequences", total=total):
        known = kept.of(group, sequence.name, trackers, doubt)
        missing = {name: trackers[name] for name in trackers if name not in {s.setting for s in known.objects}}
        if missing:
            measured = score(missing, group, sequence, give, doubt)
            kept.add(sequence.name, measured)
            known.add(measured)
        scores.add(known)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--checkpoint", type=Path, help="weights other than the bundled ones")
    parser.add_argument("--image-size", type=int, metavar="S", help="another input side than the model's own")
    parser.add_argument("--settings", nargs="+", default=["sam2", "samurai", "uamp"])
    parser.add_argument("--davis", type=Path, help="root of DAVIS-2016")
    parser.add_argument("--split", default="train")
    parser.add_argument("--sequences", metavar="NAME,NAME", help="these real sequences alone")
    parser.add_argument("--every", type=int, default=1, help="take every n-th real sequence")
    parser.add_argument("--first", type=int, default=0, help="number of the first real sequence, from 0")
    parser.add_argument("--surround", type=float, default=1, help="real sequences in frames so many times as large")
    parser.add_argument("--clips", type=int, default=0, help="generated clips of each family")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--families", nargs="+", default=list(STORIES))
    parser.add_argument("--seed", type=int, default=SEARCH_SEED)
    parser.add_argument("--prompt", choices=("mask", "box", "point"), default="mask", help="how objects are given")
    parser.add_argument("--doubt", action="store_true", help="judge the uncertainty too")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="add scores to a file; take those that it has")
    options = parser.parse_args()
    if not (options.davis or options.clips > 0):
        parser.error("give --davis, --clips or both: there is nothing to measure.")

    if options.frames < 3:
        parser.error("--frames must be 3 or more: the first and the last are not scored.")
    if options.keep:
        options.keep.parent.mkdir(parents=True, exist_ok=True)
    base = load_tracker(options.model, checkpoint=options.checkpoint, image_size=options.image_size)
    trackers = {text: make_tracker(base, text) for text in options.settings}
    conditions = (base.name, options.checkpoint, base.image_size, options.frames, options.surround, options.prompt)
    kept, give = Kept(options.keep, " ".join(map(str, conditions))), partial(prompt_of, kind=options.prompt)
    began = time.perf_counter()
    scores = Scores()
    if options.davis:
        real = DavisDataset(
            options.davis,
            year=2016,
            split=options.split,
            sequences=options.sequences.split(",") if options.sequences else None,
        )
        videos = [
            real[i] if options.surround == 1 else cast(VideoSequence, SmallSequence(real[i], options.surround))
            for i in range(options.first, len(real), options.every)
        ]
        group = f"DAVIS-2016 {options.split}"
        named = ((group, video) for video in videos)
        scores.add(measure(trackers, named, len(videos), kept, give, options.doubt))
    if options.clips:
        clips = generated(options.clips, options.frames, options.seed, options.families)
        scores.add(measure(trackers, clips, options.clips * len(options.families), kept, give, options.doubt))
    console = Console(width=140)
    report = show(console, scores.objects, list(trackers), scores.doubts)
    for name in trackers if options.doubt else ():
        own = [one for one in scores.doubts if one.setting == name]
        rate = sum(one.frames for one in own) / sum(one.seconds for one in own)
        console.print(f"{name}: {rate:.1f} frames/s, the image encoder included")
    console.print(f"{base.name} at {base.image_size} px on {base.device}, {time.perf_counter() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
