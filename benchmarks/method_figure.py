"""The figure of docs/method.md: a generated clip's frames, nano's masks, where they are wrong, and the uncertainty.

uv run python benchmarks/method_figure.py --out docs/method.jpg
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from uamp_cli.heat import draw_heat
from uamp_data.synthetic import generate_clip
from uamp_model import Prompt, load_tracker

Picture = npt.NDArray[np.uint8]
SEED, FAMILY, FRAMES = 9_500_001, "occlusion", (4, 12, 20, 28)
MASK, WRONG = (230, 159, 0), (213, 0, 50)


def panels(
    image: Picture, mask: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_], doubt: npt.NDArray[np.float32]
) -> Picture:
    """The frame with its mask, its wrong pixels and its uncertainty, one under the other."""
    shown, mistakes = image.copy(), image // 3
    shown[mask] = shown[mask] // 2 + np.array(MASK, np.uint8) // 2
    mistakes[wrong] = WRONG
    return np.concatenate([shown, mistakes, draw_heat(image, (doubt * 255).astype(np.uint8))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--family", default=FAMILY)
    options = parser.parse_args()
    clip = generate_clip(options.seed, num_frames=max(FRAMES) + 1, family=options.family, num_objects=1)
    session = load_tracker("nano", memory="sam2", device="cpu").start()
    columns = []
    for number, frame in enumerate(clip.frames):
        truth = clip.masks[number] == 1
        result = session.step(frame, {1: Prompt.mask(truth)} if number == 0 else None)
        if number in FRAMES:
            mask = result.masks[0].cpu().numpy()
            columns.append(panels(frame, mask, mask != truth, result.uncertainty[0].cpu().numpy()))
    figure = np.concatenate(columns, axis=1)
    cv2.imwrite(str(options.out), cv2.cvtColor(figure, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
