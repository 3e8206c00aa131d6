"""What clean memory could win: two oracles beside the memory settings, on the same weights and image features.

    uv run python benchmarks/headroom.py --davis DIR --split train
    uv run python benchmarks/headroom.py --clips 6

- true mask: the true mask is written to memory at every frame; nothing that remembers a mask can do better
- perfect doubt: the predicted mask is written, but where it is wrong it enters as undecided

Both change what is remembered, never what is scored. It asserts nothing.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from memory_scores import SEARCH_SEED, STORIES, ObjectScore, generated, show
from rich.console import Console
from rich.progress import track
from torch import Tensor
from uamp_data.davis import DavisDataset
from uamp_eval.metrics import score_frame
from uamp_eval.protocols import merge_logits
from uamp_eval.sequences import Ids, VideoSequence
from uamp_model import Prompt, TrackingSession, VideoTracker, load_tracker
from uamp_model.core import FrameOutput, write_memory
from uamp_model.memory import MemoryEntry
from uamp_model.sam2 import ImageFeatures

SURE_LOGIT = 10.0
ORACLES = ("true mask", "perfect doubt")


@dataclass(slots=True)
class OracleSession(TrackingSession):
    """A session that is told the truth when it writes to memory."""

    oracle: str = "true mask"
    truth: Ids = field(default_factory=lambda: np.zeros((1, 1), np.uint8))

    def _write(
        self, ids: Sequence[int], features: ImageFeatures, output: FrameOutput, index: int, *, prompted: bool
    ) -> MemoryEntry:
        if not prompted:
            output = self._enlighten(ids, output)
        return write_memory(self.tracker.model, features, output, index, prompted=prompted)

    def _enlighten(self, ids: Sequence[int], output: FrameOutput) -> FrameOutput:
        shares = torch.stack([self._share(i, output.logits) for i in ids]).to(output.logits)
        if self.oracle == "true mask":
            here = (shares > 0).flatten(1).any(1, keepdim=True).float()
            return replace(output, logits=(2 * shares - 1) * SURE_LOGIT, present=here)
        wrong = ((output.logits > 0).float() - shares).abs()
        return replace(output, logits=(1 - wrong) * output.logits)

    def _share(self, object_id: int, like: Tensor) -> Tensor:
        mask = torch.from_numpy((self.truth == object_id).astype(np.float32))[None, None]
        return F.interpolate(mask, like.shape[-2:], mode="bilinear", antialias=True)[0]


def start(tracker: VideoTracker, name: str, frames: int) -> TrackingSession:
    """A session of a memory setting or an oracle."""
    plain = tracker.start(num_frames=frames)
    return OracleSession(tracker, 1, 0, plain.age_span, oracle=name) if name in ORACLES else plain


def follow(trackers: Mapping[str, VideoTracker], sequence: VideoSequence) -> Iterator[tuple[Ids, dict[str, Ids]]]:
    """Truth and label maps by name, frame by frame; objects are those of frame 0."""
    total = len(sequence.frame_names)
    sessions = {name: start(tracker, name, total) for name, tracker in trackers.items()}
    for frame in range(total):
        image, truth = sequence.image(frame), sequence.annotation(frame)
        prompts = {i: Prompt.mask(truth == i) for i in sequence.prompts[0]} if frame == 0 else None
        features = next(iter(trackers.values())).encode(image)
        maps = {}
        for name, session in sessions.items():
            if isinstance(session, OracleSession):
                session.truth = truth
            result = session.step(image, prompts, features=features)
            maps[name] = merge_logits(result.logits, result.object_ids).cpu().numpy()
        yield truth, maps


def score(trackers: Mapping[str, VideoTracker], group: str, sequence: VideoSequence) -> list[ObjectScore]:
    """Mean J and F over frames 1 to T − 2, of all objects under all names."""
    ids = sorted(sequence.prompts[0])
    rows: dict[str, list[object]] = {name: [] for name in trackers}
    for truth, maps in follow(trackers, sequence):
        for name, labels in maps.items():
            rows[name].append(np.stack(score_frame(labels, truth, ids)))
    scores = []
    for name, values in rows.items():
        means = np.mean(np.array(values[1:-1]), axis=0)  # 2×N
        for column, number in enumerate(ids):
            scores.append(ObjectScore(group, f"{sequence.name}_{number}", name, *means[:, column].tolist()))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--checkpoint", type=Path, help="weights other than the bundled ones")
    parser.add_argument("--davis", type=Path, help="root of DAVIS-2016")
    parser.add_argument("--split", default="train")
    parser.add_argument("--every", type=int, default=1, help="take every n-th real sequence")
    parser.add_argument("--clips", type=int, default=0, help="generated clips of each family")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not (options.davis or options.clips > 0):
        parser.error("give --davis, --clips or both: there is nothing to measure.")

    base = load_tracker(options.model, checkpoint=options.checkpoint)
    trackers = {name: base.with_memory(name) for name in ("sam2", "samurai", "uamp")}
    trackers |= dict.fromkeys(ORACLES, trackers["sam2"])
    jobs: list[tuple[str, VideoSequence]] = []
    if options.davis:
        real = DavisDataset(options.davis, year=2016, split=options.split)
        jobs += [(f"DAVIS-2016 {options.split}", real[i]) for i in range(0, len(real), options.every)]
    if options.clips:
        jobs += generated(options.clips, options.frames, SEARCH_SEED, STORIES)
    scores: list[ObjectScore] = []
    for group, sequence in track(jobs, description="sequences"):
        scores += score(trackers, group, sequence)
    report = show(Console(width=140), scores, list(trackers))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
