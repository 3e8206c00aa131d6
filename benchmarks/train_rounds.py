"""UAMP layers of several rounds of short runs, each round begun at the average of the one before.

    uv run python benchmarks/train_rounds.py runs/nano_b --rounds 4 --runs 4 --jobs 2 --set precision=fp32

Runs of a round differ in their seed alone. What they have learned is averaged (McMahan et al. 2017) and cut to
`--rank`, which the next round learns with, at `--later-lr`; the first round's rank and rate are the configuration's.
FOLDER/round_R.safetensors is what R rounds give, FOLDER/round_R_run_S/ a run, whose words are in the .log beside it. A
round that is there is not made again, and a run that was ended goes on from its last checkpoint.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from average_layers import write_average
from rich.console import Console
from rich.progress import track
from uamp_model import find_model, load_tracker
from uamp_model.sam2 import Sam2
from uamp_train.checkpoint import LAST
from uamp_train.config_loading import load_config
from uamp_train.export import FINETUNED


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        folder: of everything that is made.
        config: of `uamp train`.
        runs: of a round.
        jobs: runs at a time.
        rank: of an average's corrections, and of the runs after the first round.
        later_lr: learning rate of those runs.
        settings: key=value for all runs.
    """

    folder: Path
    config: Path
    runs: int
    jobs: int
    rank: int
    later_lr: float
    settings: tuple[str, ...]

    def layers(self, number: int) -> Path:
        """The average of a round."""
        return self.folder / f"round_{number}.safetensors"

    def name(self, number: int, run: int) -> str:
        """Of a run's folder."""
        return f"round_{number}_run_{run}"

    def command(self, number: int, run: int) -> list[str]:
        """`uamp train` of one run of round `number`, which counts from 1."""
        own = [
            f"save_dir={self.folder}",
            f"experiment_name={self.name(number, run)}",
            f"seed={10 * (number - 1) + run}",
        ]
        if number > 1:
            own += [f"uamp_checkpoint={self.layers(number - 1)}", f"lr={self.later_lr:g}"]
            own += [f"layers.adapter_rank={self.rank}"]
        command = [sys.executable, "-m", "uamp_cli", "train", "--config", str(self.config)]
        for setting in [*self.settings, *own]:
            command += ["--set", setting]
        begun = (self.folder / self.name(number, run) / LAST).exists()
        return [*command, "--resume"] if begun else command


def learn(plan: Plan, number: int, run: int) -> Path:
    """The layers of one run.

    Raises:
        SystemExit: if it fails.
    """
    name = plan.name(number, run)
    layers = plan.folder / name / FINETUNED
    if not layers.exists():
        log = plan.folder / f"{name}.log"
        with log.open("a") as words:
            code = subprocess.run(plan.command(number, run), stdout=words, stderr=words, check=False).returncode
        if code or not layers.exists():
            raise SystemExit(f"Run {run} of round {number} ended with exit code {code}: see {log}.")
    return layers


def learn_round(plan: Plan, number: int, model: Sam2, base: str) -> float:
    """Run and average one round; the share of the average's corrections that its file holds."""
    with ThreadPoolExecutor(plan.jobs) as pool:
        each = pool.map(lambda run: learn(plan, number, run), range(plan.runs))
        files = list(track(each, description=f"Round {number}", total=plan.runs))
    return write_average(plan.layers(number), files, model, base, plan.rank)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", type=Path, default=Path("configs/finetune_nano.yaml"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--later-lr", type=float, default=5e-4)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of uamp train, for all runs")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        options.folder,
        options.config,
        runs=options.runs,
        jobs=options.jobs,
        rank=options.rank,
        later_lr=options.later_lr,
        settings=tuple(options.set),
    )
    config = load_config(plan.config, plan.settings)
    base = find_model(config.model_name).name
    model = load_tracker(base, checkpoint=config.sam2_checkpoint, device="cpu").base
    console = Console()
    for number in range(1, options.rounds + 1):
        if plan.layers(number).exists():
            continue
        held = learn_round(plan, number, model, base)
        console.print(
            f"{plan.layers(number)}: {plan.runs} runs, {100 * held:.2f} % of the corrections' squares", soft_wrap=True
        )


if __name__ == "__main__":
    main()
