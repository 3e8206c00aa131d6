"""Where a model fails: kinds of errors by family of generated clips and by real sequence, and pictures of the worst.

    uv run python benchmarks/nano_failures.py --out failures                                  # generated clips
    uv run python benchmarks/nano_failures.py --out failures --families mixed --clips 20 --seed 9300000
    uv run python benchmarks/nano_failures.py --out failures --davis DIR --split train --clips 0

Each object's wrong pixels are told apart, as shares of the union of prediction and truth, so that J = 1 − their sum:

- lost     missed pixels on frames where J < 0.1
- thin     missed pixels of parts thinner than a tenth of the object's size
- missed   other missed pixels
- leftover wrong pixels in blobs that do not touch the object, or on frames where it is out of view
- spill    wrong pixels joined to the object but farther from it than a tenth of its size
- edge     other wrong pixels

`first` is J on the prompted frame, which tells how a box or a point was read. It asserts nothing.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from nano_scores import FIRST_SEED, PROMPTS, Frames, Ids, Which, real_sequences, track_clip
from rich.console import Console
from rich.progress import track
from rich.table import Table
from uamp_data.synthetic import FAMILIES, generate_clip

Mask = npt.NDArray[np.bool_]
KINDS = ("lost", "thin", "missed", "leftover", "spill", "edge")
LOST_BELOW = 0.1
THIN_SHARE = 0.1
SHEET_FRAMES, SHEET_ROWS, SHEET_WIDTH = 6, 10, 220


@dataclass(frozen=True, slots=True)
class Followed:
    """One object of one clip, followed from one kind of prompt.

    Attributes:
        family: what the clip shows, or the name of the real sequence.
        prompt: "mask", "box" or "point".
        name: of clip and object.
        jaccard: J of every frame.
        errors: T×6 shares of the union, in the order of `KINDS`.
        sheet: H×W×3, a strip of frames with the true outline green and the predicted one red.
    """

    family: str
    prompt: str
    name: str
    jaccard: npt.NDArray[np.float64]
    errors: npt.NDArray[np.float64]
    sheet: npt.NDArray[np.uint8]


def frame_errors(prediction: Mask, truth: Mask) -> tuple[float, npt.NDArray[np.float64]]:
    """J and the shares of the kinds of errors of one frame."""
    union = int((prediction | truth).sum())
    shares = np.zeros(len(KINDS))
    if union == 0:
        return 1.0, shares
    jaccard = float((prediction & truth).sum() / union)
    missed, wrong = truth & ~prediction, prediction & ~truth
    reach = max(2.0, THIN_SHARE * float(np.sqrt(truth.sum())))
    counts = dict.fromkeys(KINDS, 0)
    if jaccard < LOST_BELOW:
        counts["lost"] = int(missed.sum())
    else:
        counts["thin"] = int((missed & ~_opened(truth, reach)).sum())
        counts["missed"] = int(missed.sum()) - counts["thin"]
    apart = _apart(prediction, truth)
    far = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, 5) > reach if truth.any() else ~truth
    counts["leftover"] = int((wrong & apart).sum())
    counts["spill"] = int((wrong & ~apart & far).sum())
    counts["edge"] = int(wrong.sum()) - counts["leftover"] - counts["spill"]
    return jaccard, np.array([counts[kind] / union for kind in KINDS])


def _opened(mask: Mask, reach: float) -> Mask:
    side = 2 * int(reach) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disk).astype(bool)


def _apart(prediction: Mask, truth: Mask) -> Mask:
    """Predicted blobs that do not touch the truth."""
    _, blobs = cv2.connectedComponents(prediction.astype(np.uint8))
    return prediction & ~np.isin(blobs, np.unique(blobs[truth & prediction]))


def inspect(family: str, prompt: str, name: str, frames: Frames, predicted: Ids, truth: Ids) -> Iterator[Followed]:
    """Look at every object of a clip."""
    for identity in (int(i) for i in np.unique(truth[0]) if i not in (0, 255)):
        pairs = [(p == identity, t == identity) for p, t in zip(predicted, truth, strict=True)]
        seen = [frame_errors(p, t) for p, t in pairs]
        shown = np.linspace(0, len(frames) - 1, SHEET_FRAMES).round().astype(int)
        strip = np.concatenate([_draw(frames[t], *pairs[t]) for t in shown], axis=1)
        jaccard = np.array([j for j, _ in seen])
        cv2.putText(
            strip,
            f"{name}-{identity} {prompt} J {jaccard[1:].mean():.2f}",
            (4, 14),
            0,
            0.45,
            (255, 255, 0),
            1,
            cv2.LINE_AA,
        )
        yield Followed(family, prompt, f"{name}-{identity}", jaccard, np.stack([e for _, e in seen]), strip)


def _draw(frame: npt.NDArray[np.uint8], prediction: Mask, truth: Mask) -> npt.NDArray[np.uint8]:
    size = (SHEET_WIDTH, round(SHEET_WIDTH * frame.shape[0] / frame.shape[1]))
    small = np.ascontiguousarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
    for mask, colour in ((truth, (0, 255, 0)), (prediction, (255, 0, 0))):
        tiny = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(tiny, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(small, contours, -1, colour, 1)
    return np.asarray(small, np.uint8)


def report(console: Console, followed: list[Followed]) -> dict[str, dict[str, float]]:
    """Print and return the mean J and errors by family and prompt."""
    table = Table("family", "prompt", "objects", "J", "first", *KINDS)
    rows: dict[str, dict[str, float]] = {}
    pairs = sorted({(f.family, f.prompt) for f in followed}) + [("all", p) for p in PROMPTS]
    for family, prompt in pairs:
        group = [f for f in followed if f.prompt == prompt and family in (f.family, "all")]
        if not group:
            continue
        errors = np.mean([f.errors[1:].mean(0) for f in group], axis=0)
        row = {
            "objects": len(group),
            "J": float(np.mean([f.jaccard[1:].mean() for f in group])),
            "first": float(np.mean([f.jaccard[0] for f in group])),
            **{kind: float(share) for kind, share in zip(KINDS, errors, strict=True)},
        }
        rows[f"{family}/{prompt}"] = row
        table.add_row(
            family, prompt, str(len(group)), *(f"{value:.3f}" for key, value in row.items() if key != "objects")
        )
    console.print(table)
    return rows


def save_sheet(path: Path, followed: list[Followed]) -> None:
    """Save the worst objects, the worst on top."""
    worst = sorted(followed, key=lambda f: float(f.jaccard[1:].mean()))[:SHEET_ROWS]
    width = max(f.sheet.shape[1] for f in worst)
    rows = [np.pad(f.sheet, ((0, 2), (0, width - f.sheet.shape[1]), (0, 0))) for f in worst]
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--checkpoint", type=Path, help="weights other than the bundled ones")
    parser.add_argument("--image-size", type=int, metavar="S", help="another input side than the model's own")
    parser.add_argument("--clips", type=int, default=6, help="generated clips of each family; 0: none")
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES, help="mixed: one drawn by chance")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first clip of each family")
    parser.add_argument("--frames", type=int, default=48, help="frames of a generated clip")
    parser.add_argument("--prompts", nargs="+", default=["mask"], choices=PROMPTS)
    parser.add_argument("--davis", type=Path, help="root of DAVIS-2016")
    parser.add_argument(
        "--split", default="train", help="look at train only: what is learned from val is no test of it"
    )
    parser.add_argument("--every", type=int, default=1, help="take every n-th real sequence")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures and the table")
    options = parser.parse_args()
    if not (options.davis or options.clips > 0):
        parser.error("give --davis, --clips or both: there is nothing to measure.")

    tracker = Which(options.model, options.checkpoint, "uamp", options.image_size).load()
    clips: list[tuple[str, str, Frames, Ids]] = []
    for family in options.families:
        for number in range(options.clips):
            clip = generate_clip(options.seed + number, num_frames=options.frames, family=family)
            clips.append((clip.family, clip.name, clip.frames, clip.masks))
    if options.davis:
        clips += [(n, n, f, t) for n, f, t in list(real_sequences(options.davis, options.split))[:: options.every]]
    followed: list[Followed] = []
    options.out.mkdir(parents=True, exist_ok=True)
    for family, name, frames, truth in track(clips, description="clips"):
        for prompt in options.prompts:
            followed += inspect(family, prompt, name, frames, track_clip(tracker, frames, truth, prompt), truth)
    rows = report(Console(), followed)
    (options.out / "errors.json").write_text(json.dumps(rows, indent=1))
    for prompt in options.prompts:
        save_sheet(options.out / f"worst-{prompt}.png", [f for f in followed if f.prompt == prompt])


if __name__ == "__main__":
    main()
