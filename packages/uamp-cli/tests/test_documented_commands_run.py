"""What the READMEs and docs say to type is run, in one folder with small files of the names that they use.

Large models and GPUs give way to nano on the CPU, and options at the end of a line cut the work short; the rest is as
it stands. A line that is not run is named in `NOT_RUN` with the reason; if it starts `uamp`, it is parsed by
`test_documented_commands.py`. Of long measurements the options are looked up.
"""

import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from documented import PAGES, ROOT, blocks, shell_lines
from documented_files import FRAMES, make_files, picture_at
from invoking import invoke

Invoke = Callable[..., Any]

_INSTALLS = "installs into the environment that the tests run in; CI starts with it"
_PROCESSES = "several processes: test_processes.py (uamp-train) and test_evaluation.py start both launchers with two"
_MEASURES = "many minutes of measuring on data that is not shipped"
NOT_RUN = {
    "uamp train --config configs/finetune_nano.yaml --set experiment_name=nano_layers_b352_0 --set seed=0 "
    "--set precision=fp32 --set dataset=mix --set 'mix={davis: 0.8, synthetic: 0.2}' --set dataset_root=DAVIS "
    "--set val_interval=0 --set augment.crop=0.25 "
    "--set 'stages=[{steps: 160, image_size: 352, num_frames: 9, batch_size: 2, max_stride: 3}]'": _MEASURES,
    "python3 -m pip install --quiet --upgrade --target .tools uv": _INSTALLS,
    "python3 -m pip install --quiet --target .tools uv": _INSTALLS,
    "pip install torch torchvision setuptools wheel": _INSTALLS,
    "SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2": _INSTALLS,
    "pip install packages/uamp-model packages/uamp-data packages/uamp-eval packages/uamp-train "
    '"packages/uamp-cli[ui]"': "installs; `nox -s build` installs every wheel alone",
    "nox -s tests": "is what runs this test",
    "nox --list": "nox is there in a checkout's environment only; CI runs it",
    "uamp demo --ui": "runs until Ctrl-C: page/test_page.py opens the page in a browser",
    "uamp data download davis": "downloads: test_data_download.py does it from the loopback",
    "uamp data download davis data": "downloads: test_data_download.py does it from the loopback",
    "uamp train --config configs/finetune_nano.yaml --set experiment_name=nano_layers_a --set lr=7e-4 "
    "--set warmup_steps=30 --set free_frames=5 "
    "--set 'stages=[{steps: 300, image_size: 448, num_frames: 10, batch_size: 2, max_stride: 3}]'": _MEASURES,
    "uamp train --config configs/finetune_nano.yaml --set experiment_name=nano_layers_b2 --set dataset=mix "
    "--set 'mix={davis: 0.8, synthetic: 0.2}' --set dataset_root=DAVIS --set val_interval=0 --set augment.paste=0.5 "
    "--set 'stages=[{steps: 200, image_size: 448, num_frames: 9, batch_size: 2, max_stride: 3}]'": _MEASURES,
    "uamp train --config configs/finetune_nano.yaml --set experiment_name=nano_layers_b576_0 --set seed=0 "
    "--set dataset=mix --set 'mix={davis: 0.8, synthetic: 0.2}' --set dataset_root=DAVIS --set val_interval=0 "
    "--set 'stages=[{steps: 160, image_size: 576, num_frames: 9, batch_size: 2, max_stride: 3}]'": _MEASURES,
    "uamp train --config configs/pretrain_nano_gpu.yaml": "a step of 40 clips takes minutes of a CPU",
}
_LONG = re.compile(r"uv run python (benchmarks/(?:memory_scores|train_rounds|average_layers|scores_figure)\.py) ")
"""Many minutes of measuring or training, on data that is not shipped."""
_LAUNCHERS = re.compile(r"(OMP_NUM_THREADS=1 )?(torchrun|accelerate launch) ")
_GIVES_WAY = {
    "sam2.1-hiera-large": "nano",
    "sam2.1-hiera-tiny": "nano",
    "sam2.1_hiera_large.pt": "nano.safetensors",
    "cuda": "cpu",
}
_SMALL_INPUT = ("--image-size", "224")
_SMALL_TRAINING = {
    "device": "cpu",
    "max_steps": "1",
    "num_workers": "1",
    "precision": "fp32",
    "use_wandb": "false",
    "val_interval": "0",
}
_SMALL_BY_CONFIG = {
    "finetune_nano": {
        "pool": "{clips: 2, frames: 4, size: 64, seed: 500, folder: runs/pool}",
        "stages": "[{steps: 2, image_size: 64, num_frames: 2, batch_size: 1}]",
    },
    "finetune_uamp": {
        "sam2_model_type": "nano",
        "sam2_checkpoint": "nano.safetensors",
        "batch_size": "1",
        "num_frames": "2",
        "image_size": "64",
        "num_epochs": "2",
        "warmup_epochs": "0",
    },
}
_FINETUNE = "uamp train --config configs/finetune_uamp.yaml"
_WRITES = re.compile(r"--(?:save-masks|coco|csv|json|cutout-video|summary|submission|plot) (\S+)")


def _lines() -> list[str]:
    return list(dict.fromkeys(line for page in PAGES for line in shell_lines(page)))


def _is_run(line: str) -> bool:
    return line not in NOT_RUN and not _LAUNCHERS.match(line) and not _LONG.match(line)


class World:
    """The folder in which everything is run, and what was run in it already."""

    def __init__(self, folder: Path, invoke: Invoke) -> None:
        self.folder, self._invoke = folder, invoke
        self._done: dict[str, Any] = {}

    def run(self, line: str) -> Any:
        """Run a line that starts `uamp`, after those that must come before it, unless that was done."""
        needs_training = "uamp_finetuned.safetensors" in line or "--resume" in line
        if needs_training:
            self.run(_FINETUNE)
        if line not in self._done:
            self._done[line] = self._invoke(*_cut_short(line, len(self._done)))
        return self._done[line]


def _cut_short(line: str, number: int) -> list[str]:
    """The words of a line after `uamp`, with small models, and options that keep it short; `number` is its own."""
    goes_on = line in (_FINETUNE, f"{_FINETUNE} --resume")
    for large, small in _GIVES_WAY.items():
        line = line.replace(large, small)
    words = shlex.split(line)[1:]
    words += ["--rehearse", "1"] if "--rehearse" in words else []  # the last of an option's values counts
    match words[:2]:
        case ["demo", *_]:
            frames = [] if "--prompt-frame" in words else ["--max-frames", "3"]
            return [*words, *_SMALL_INPUT, "--device", "cpu", *frames]
        case ["eval", "davis" | "youtube-vos" | "folder"]:
            return [*words, *_SMALL_INPUT, "--device", "cpu", "--workers", "1", "--output", f"results_{number}"]
        case ["train", _]:
            settings = {**_SMALL_TRAINING, **_small_for(line)}
            if "--resume" in words:
                settings["max_steps"] = "2"
            elif not goes_on:  # a run does not begin where another one lies
                settings["experiment_name"] = f"run_{number}"
            typed = {word.partition("=")[0] for word in words if "=" in word}
            return [*words, *(f"--set={key}={value}" for key, value in settings.items() if key not in typed)]
        case ["data", "synth"]:
            return [*words, "--clips", "1", "--frames", "2", "--size", "96x64"]
        case ["bench", "tracker"]:
            short = ("--frames", "2", "--size", "96x64", "--objects", "1", "--memory-frames", "0")
            return [*words, *_SMALL_INPUT, *short]
    return words


def _small_for(line: str) -> dict[str, str]:
    return next((small for name, small in _SMALL_BY_CONFIG.items() if name in line), {})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("documented")
    make_files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "100")
        patch.setenv("UAMP_CACHE", str(folder / "cache"))
        yield World(folder, invoke)


@pytest.mark.parametrize("line", [pytest.param(line, id=line[:80]) for line in _lines() if _is_run(line)])
def test_what_is_documented_runs(world: World, line: str) -> None:
    outcome = world.run(line)
    assert outcome.code == 0, (outcome.err, outcome.out)
    assert outcome.out.strip()
    for path in _WRITES.findall(line):
        assert (world.folder / path).exists(), path


def test_what_is_not_run_is_documented_still() -> None:
    assert set(NOT_RUN) <= set(_lines())
    assert all(line.startswith("uamp ") for line in _lines() if _is_run(line))


@pytest.mark.parametrize("line", [pytest.param(line, id=line[:80]) for line in _lines() if _LONG.match(line)])
def test_long_measurements_have_the_options_they_are_documented_with(line: str) -> None:
    match = _LONG.match(line)
    assert match is not None
    script = (ROOT / match[1]).read_text()
    options = [word for word in shlex.split(line) if word.startswith("--")]
    assert options
    assert not [option for option in options if f'add_argument("{option}"' not in script]


def _python() -> list[Any]:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}:{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, "python"))
    ]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # pycocotools
@pytest.mark.parametrize("block", _python())
def test_python_that_is_documented_runs(world: World, block: str) -> None:
    if "COCO(" in block:
        world.run("uamp demo --input cat.mp4 --point 190,190 --coco cat.json")
    if "__main__" in block:  # other processes import it again
        (world.folder / "script.py").write_text(block)
        done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return
    frames = [picture_at(index)[0] for index in range(3)]
    names: dict[str, Any] = {"frames": frames, "first_frame": frames[0], "__name__": "documented"}
    names["first_mask"] = picture_at(0)[1] == 1
    exec(textwrap.dedent(block).replace("steps=40", "steps=1"), names)
    result = names.get("result")
    if result is not None:
        assert result.masks.shape == (1, *frames[0].shape[:2])
        assert torch.isfinite(result.scores).all()
        assert result.frame_index in (len(frames) - 1, len(frames), FRAMES - 1)


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page, "yaml") if "dataset: mix" in block]
)
def test_a_mix_that_is_documented_trains(world: World, block: str) -> None:
    config = yaml.safe_load((ROOT / "configs" / "finetune_nano.yaml").read_text())
    (world.folder / "mix.yaml").write_text(
        yaml.safe_dump({**config, **yaml.safe_load(block), "experiment_name": "mix"})
    )
    settings = _SMALL_TRAINING | _SMALL_BY_CONFIG["finetune_nano"]
    outcome = world.run(
        " ".join(["uamp train --config mix.yaml", *(shlex.quote(f"--set={k}={v}") for k, v in settings.items())])
    )
    assert outcome.code == 0, outcome.err
