"""Several processes, started by torch's launcher, do what one does."""

import json
import os
import signal
import socket
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
    tracker = load_tracker("nano", memory="sam2", device="cpu", precision="fp32")
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


def run_pair(*command: str) -> list[tuple[int, str]]:
    """Exit codes and stderr of two processes that find each other without a launcher, which would end the second."""
    with socket.socket() as kept:
        # as long as this is open, nobody else is given the port; process 0 may listen there, since this does not
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = str(kept.getsockname()[1])
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen(
                [sys.executable, *command], env={**os.environ, **place, "RANK": rank}, stderr=subprocess.PIPE, text=True
            )
            for rank in ("0", "1")
        ]
        try:
            errors = [process.communicate(timeout=150)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def test_the_error_of_one_process_ends_the_other_with_its_sentence(tmp_path: Path) -> None:
    # process 0 has 2,000 frames to do, process 1 fails on its first
    first, second = run_pair(str(SCRIPT), str(tmp_path), "--spoil")
    assert first == (2, "OtherProcessError in process 0: The disk is full of bears: free some space.\n")
    assert second == (2, "UampError in process 1: The disk is full of bears: free some space.\n")
    assert [path.name for path in (tmp_path / "many" / "sam2").iterdir()] == ["run.json"]


TEAMWORK = """
import os, signal, sys, time
from pathlib import Path
from uamp_eval.distributed import OtherProcessError, join_team
from uamp_model.errors import InputError

there = Path(sys.argv[1])

def refuse():
    raise InputError("No.")

def die_or_wait():
    if team.rank == 1:
        there.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while not there.exists():  # the other still reads the refusal, from the store that ends with this process
        time.sleep(0.01)

with join_team() as team:
    assert team.agree(lambda: {"rank": team.rank}) == {"rank": 0}
    assert team.together(lambda: team.rank * 10) == [0, 10]
    try:
        team.agree(refuse)
    except (InputError, OtherProcessError) as error:
        assert (type(error).__name__, str(error)) == (["InputError", "OtherProcessError"][team.rank], "No.")
    team.patience = 1.0
    try:
        team.together(die_or_wait)
    except OtherProcessError as error:
        sys.exit(str(error))
"""


def test_processes_agree_exchange_and_notice_when_one_is_gone(tmp_path: Path) -> None:
    first, second = run_pair("-c", TEAMWORK, str(tmp_path / "there"))
    assert first[0] == 1
    assert "Process 1 has been silent for 1 s: stop all processes and start them again" in first[1]
    assert second == (-signal.SIGKILL, "")
