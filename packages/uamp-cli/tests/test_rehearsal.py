"""`--rehearse`: what the demo and the benchmarks do with it, and where it is refused."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from loopback import serving
from uamp_data.masks import read_mask

Run = Callable[..., Any]
Make = Callable[..., Path]
Tracked = Any
SMALL = ("--device", "cpu", "--image-size", 64)
BOX = ("--box", "12,16,32,32")


def masks(folder: Path) -> list[np.ndarray]:
    return [read_mask(path) for path in sorted(folder.iterdir())]


def test_the_demo_rehearses_and_then_tracks_the_whole_video(
    run: Run, make_video: Make, make_mask: Make, tmp_path: Path
) -> None:
    given = ("demo", *SMALL, "--input", make_video(frames=6), "--mask", make_mask(), "--prompt-frame", 2)
    plain = run(*given, "--save-masks", "plain")
    assert plain.code == 0, plain
    outcome = run(*given, "--rehearse", 3, "--save-masks", "taught", "--json", "r.json")
    assert outcome.code == 0, outcome
    assert "Looking ahead: 6 of 6 frames" in outcome.err
    assert "Rehearsing: 3 of 3 steps" in outcome.err
    assert "the rehearsal took" in outcome.out
    assert [entry["frame"] for entry in json.loads((tmp_path / "r.json").read_text())["per_frame"]] == list(range(6))
    pairs = list(zip(masks(tmp_path / "plain"), masks(tmp_path / "taught"), strict=True))
    assert len(pairs) == 6
    assert any((before != after).any() for before, after in pairs)
    again = run(*given, "--rehearse", 3, "--save-masks", "again")
    assert again.code == 0, again
    repeated = zip(masks(tmp_path / "taught"), masks(tmp_path / "again"), strict=True)
    assert all((first == second).all() for first, second in repeated)


def test_a_benchmark_rehearses_each_video_and_keeps_its_results_apart(
    run: Run, tracked: Tracked, tmp_path: Path
) -> None:
    given = ("eval", "davis", "--dataset-root", tracked.root, "--sequences", "camel", *SMALL, "--workers", 1)
    memories = ("--memory", "sam2", "--memory", "uamp")
    outcome = run(*given, *memories, "--output", "out", "--rehearse", 2)
    assert outcome.code == 0, outcome
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    asked = {name: entry["fingerprint"]["memory_settings"]["rehearse"] for name, entry in results.items()}
    assert asked == {"sam2": 0, "uamp": 2}
    assert "Rehearsing and tracking: " in outcome.err
    assert "--overwrite" in run(*given, *memories, "--output", "out").refused()


@pytest.mark.parametrize("memory", ["sam2", "samurai"])
def test_other_memories_have_nothing_to_rehearse(run: Run, make_video: Make, tracked: Tracked, memory: str) -> None:
    sentence = "--rehearse is a part of memory uamp"
    given = ("--memory", memory, "--rehearse", 5)
    assert sentence in run("demo", *SMALL, "--input", make_video(frames=1), *BOX, *given).refused()
    assert sentence in run("eval", "davis", "--dataset-root", tracked.root, *SMALL, *given).refused()


def test_the_page_cannot_rehearse(run: Run) -> None:
    assert "The page has no --rehearse" in run("demo", *SMALL, "--ui", "--rehearse", 5).refused()


def write_broadcast(path: Path) -> bytes:
    """A few frames as stations send them."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for level in (40, 80, 120, 160):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), level, np.uint8))))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize("given", [BOX, ("--point", "20,20"), ()], ids=["box", "point", "proposal"])
def test_what_is_not_a_mask_teaches_nothing(run: Run, make_video: Make, given: tuple[str, ...]) -> None:
    outcome = run("demo", *SMALL, "--input", make_video(frames=3), *given, "--rehearse", 5)
    assert "--rehearse learns from a mask" in outcome.refused()


def test_a_live_stream_cannot_be_looked_ahead_in(run: Run, make_mask: Make, tmp_path: Path) -> None:
    data = write_broadcast(tmp_path / "live.ts")

    class Broadcast(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Broadcast) as address:
        given = ("--input", f"{address}/live", "--mask", make_mask(), "--rehearse", 5)
        assert "--rehearse looks ahead" in run("demo", *SMALL, *given).refused()
    assert not list(tmp_path.glob("*.mp4"))
