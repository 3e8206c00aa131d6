"""Several processes, started by torch's launcher, do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_videos import MANY, contents, read_mask, write_mask
from uamp_eval.distributed import Alone, device_of_process, join_team, launched, share_out
from uamp_eval.runs import run_benchmark
from uamp_eval.scoring import ScoringRule, score_results
from uamp_model import load_tracker
from uamp_model.errors import InputError

SCRIPT = Path(__file__).with_name("run_tiny.py")
RULE = ScoringRule.YOUTUBE_VOS  # objects may enter late


def test_the_longest_go_first_to_whom_has_least_to_do() -> None:
    costs = {"a": 3, "b": 9, "c": 3, "d": 5, "e": 1}
    assert share_out(costs, 1) == [["b", "d", "a", "c", "e"]]
    assert share_out(costs, 2) == [["b", "e"], ["d", "a", "c"]]
    assert share_out({"a": 1}, 3) == [["a"], [], []]
    assert share_out({}, 2) == [[], []]


@given(st.dictionaries(st.text(max_size=4), st.integers(1, 300), max_size=30), st.integers(1, 9))
def test_every_job_is_done_once_and_nobody_does_much_more_than_others(costs: dict[str, int], processes: int) -> None:
    shares = share_out(costs, processes)
    assert sorted(job for share in shares for job in share) == sorted(costs)
    loads = [sum(costs[job] for job in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs.values(), default=0)
    assert shares == share_out(dict(reversed(list(costs.items()))), processes)


def test_without_a_launcher_one_process_is_the_team(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(variable, raising=False)
    with join_team() as team:
        assert team == Alone()
        assert team.agree(lambda: 3) == 3
        assert team.together(lambda: 4) == [4]
        team.beat()
    assert device_of_process("auto") == "auto"


def test_a_strange_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="RANK is 2 but WORLD_SIZE is 2"):
        launched()
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(InputError, match="RANK is 'first'"):
        launched()
    monkeypatch.setenv("RANK", "0")
    for variable in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match="start them with torchrun"), join_team():
        pass


def launch(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
            *("--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "--local_addr", "localhost"),
            *(str(SCRIPT), str(output), *options),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.usefixtures("one_thread")
def test_two_processes_write_what_one_writes_also_if_one_has_nothing_to_do(tmp_path: Path) -> None:
    done = launch(tmp_path, "--one")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "summary.json").read_text()) == {"sequences": 3, "frames": 15, "processes": 2}
    tracker = load_tracker("nano", device="cpu", precision="fp32")
    run_benchmark({"sam2": tracker}, MANY, tmp_path / "alone", write=write_mask, protocol="tiny")
    assert contents(tmp_path / "many") == contents(tmp_path / "alone")
    assert {path.name for path in (tmp_path / "one" / "sam2").iterdir()} == {"bear", "run.json"}
    assert contents(tmp_path / "one" / "sam2" / "bear") == contents(tmp_path / "many" / "sam2" / "bear")
    together, alone = (
        [
            (r.name, r.j, r.f)
            for r in score_results(MANY, tmp_path / folder / "sam2", read=read_mask, rule=RULE, workers=1)
        ]
        for folder in ("many", "alone")
    )
    assert together == alone


def test_the_error_of_one_process_ends_the_others_with_its_sentence(tmp_path: Path) -> None:
    # process 0 has 2,000 frames to do, process 1 fails on its first
    done = launch(tmp_path, "--spoil")
    assert done.returncode != 0
    assert "UampError in process 1: The disk is full of bears: free some space." in done.stderr
    assert not [path for path in (tmp_path / "many" / "sam2").iterdir() if path.name in ("bear", "long")]
