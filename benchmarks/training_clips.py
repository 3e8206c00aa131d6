"""How long a training clip takes, by size and with or without pictures in memory, on one core.

python benchmarks/training_clips.py --dataset-root DAVIS
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from uamp_data.augmentation import NO_AUGMENTATION, Augmentation
from uamp_data.training_clips import CACHE_BYTES, TrainingClips
from uamp_data.training_sets import open_any

CLIPS, FRAMES = 40, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset-root", type=Path, required=True)
    root = parser.parse_args().dataset_root
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sequences = open_any(root, "train")
    print(f"{len(sequences)} sequences of {root}, clips of {FRAMES} frames, CPU milliseconds each")
    print(f"{'size':>6} {'augmented':>10} {'cache MiB':>10} {'ms/clip':>8}")
    for cache in (0, CACHE_BYTES):
        for augmentation in (NO_AUGMENTATION, Augmentation()):
            source = TrainingClips(sequences, augmentation, cache_bytes=cache)
            rng = np.random.default_rng(0)
            source.clip(0, rng, FRAMES, 64)  # imports torchvision
            for size in (256, 480):
                start = time.process_time()
                for _ in range(CLIPS):
                    source.clip(int(rng.integers(len(source))), rng, FRAMES, size)
                spent = 1000 * (time.process_time() - start) / CLIPS
                print(f"{size:>6} {augmentation.crop > 0!s:>10} {cache >> 20:>10} {spent:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
