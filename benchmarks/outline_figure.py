"""The figure of outlines in docs/method.md: what nano draws, and the same along the picture's edges.

uv run python benchmarks/outline_figure.py --out docs/outlines.jpg

One column for each of the first clips of the search seeds, frame 20, none left out: above as memory "sam2" shows it,
below as "uamp" does. The true outline is white.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from memory_scores import SEARCH_SEED
from uamp_data.synthetic import generate_clip
from uamp_eval.metrics import jaccard
from uamp_model import Prompt, VideoTracker, load_tracker

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
FRAME, SIDE, MARGIN = 20, 320, 0.25
TRUTH, FOUND = (255, 255, 255), (230, 159, 0)


def surroundings(mask: Mask) -> tuple[slice, slice]:
    """A square around a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    half = round((0.5 + MARGIN) * max(np.ptp(rows), np.ptp(columns)) + 1)
    return tuple(slice(max(0, int(c.mean()) - half), int(c.mean()) + half) for c in (rows, columns))  # type: ignore[return-value]


def panel(image: Picture, truth: Mask, found: Mask) -> Picture:
    """The picture enlarged, both outlines on it and the J."""
    shown = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    for mask, colour in ((truth, TRUTH), (found, FOUND)):
        large = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, contours, -1, colour, 2)
    cv2.rectangle(shown, (0, SIDE - 30), (92, SIDE), (0, 0, 0), cv2.FILLED)
    cv2.putText(shown, f"J {jaccard(found, truth):.3f}", (8, SIDE - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.7, FOUND, 2)
    return np.asarray(shown, np.uint8)


def column(tracker: VideoTracker, seed: int) -> Picture:
    """One clip's first object under both memory settings."""
    clip = generate_clip(seed, num_frames=FRAME + 1)
    sessions = [tracker.with_memory(name).start() for name in ("sam2", "uamp")]
    masks: list[Mask] = []
    for number, frame in enumerate(clip.frames):
        prompt = {1: Prompt.mask(clip.masks[0] == 1)} if number == 0 else None
        masks = [session.step(frame, prompt).masks[0].cpu().numpy() for session in sessions]
    truth = clip.masks[FRAME] == 1
    window = surroundings(truth | masks[0])
    return np.concatenate([panel(clip.frames[FRAME][window], truth[window], mask[window]) for mask in masks])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=4)
    options = parser.parse_args()
    tracker = load_tracker("nano", device="cpu")
    figure = np.concatenate([column(tracker, SEARCH_SEED + number) for number in range(options.clips)], axis=1)
    cv2.imwrite(str(options.out), cv2.cvtColor(figure, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
