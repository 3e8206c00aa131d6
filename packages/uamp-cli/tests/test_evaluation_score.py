"""Scoring masks that lie on disk: what is printed and written, and what is refused."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pictures
from uamp_cli.evaluation_score import ScoreOptions, find_results, score_command
from uamp_data.davis import DavisDataset
from uamp_data.errors import DataError
from uamp_data.masks import write_mask
from uamp_eval.reference import reference_score_frame
from uamp_model.errors import InputError

FIGURES = {"J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"}
FRAMES, SIZE = 6, (48, 64)

Ids = npt.NDArray[np.uint8]
Run = Callable[..., Any]


def truth_of(objects: int, shift: int = 0) -> Ids:
    """Squares that move to the right, T×H×W."""
    ids = np.zeros((FRAMES, *SIZE), np.uint8)
    for number in range(1, objects + 1):
        for t in range(FRAMES):
            left = 3 + 19 * (number - 1) + t + shift
            ids[t, 8 + 4 * number : 24 + 4 * number, left : left + 15] = number
    return ids


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A tree of two videos with one and three objects, and results that are a little off."""
    root = tmp_path / "DAVIS"
    for name, objects in (("camel", 1), ("dogs", 3)):
        for t, (ids, result) in enumerate(zip(truth_of(objects), truth_of(objects, shift=2), strict=True)):
            frame = root / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"
            frame.parent.mkdir(parents=True, exist_ok=True)
            Pictures.new("RGB", SIZE[::-1], (90, 120, 90)).save(frame)
            write_mask(root / "Annotations" / "480p" / name / f"{t:05d}.png", ids)
            write_mask(tmp_path / "masks" / "uamp" / name / f"{t:05d}.png", result)
    listing = root / "ImageSets" / "2017" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("camel\ndogs\n")
    return root


def options(folder: Path, **more: object) -> ScoreOptions:
    return ScoreOptions(folder / "masks", folder / "DAVIS", "DAVIS 2017 val", workers=1, **more)  # type: ignore[arg-type]


def test_json_holds_the_reference_s_scores(davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scores.json"
    score_command(DavisDataset(davis), options(tmp_path, json=path))
    document = json.loads(path.read_text())
    assert set(document["global"]) == FIGURES
    assert list(document["objects"]) == ["camel_1", "dogs_1", "dogs_2", "dogs_3"]
    assert all(set(figures) == FIGURES for figures in document["objects"].values())
    assert document["settings"]["rule"] == "davis"

    means = []
    for name, objects in (("camel", 1), ("dogs", 3)):
        pairs = zip(truth_of(objects, shift=2)[1:-1], truth_of(objects)[1:-1], strict=True)
        scores = np.array([reference_score_frame(result, true, range(1, objects + 1)) for result, true in pairs])
        for number, (j, f) in enumerate(scores.mean(axis=0).T, start=1):
            assert document["objects"][f"{name}_{number}"]["J-Mean"] == pytest.approx(j, abs=1e-12)
            assert document["objects"][f"{name}_{number}"]["F-Mean"] == pytest.approx(f, abs=1e-12)
            means.append((j, f))
    assert document["global"]["J-Mean"] == pytest.approx(np.mean(means, axis=0)[0], abs=1e-12)
    assert document["global"]["J&F-Mean"] == pytest.approx(np.mean(means), abs=1e-12)

    printed = capsys.readouterr()
    assert "2 sequences, 4 objects; percent, mean over objects" in printed.out
    assert re.search(rf"J&F-Mean +{100 * document['global']['J&F-Mean']:.1f}\n", printed.out)
    assert "dogs" in printed.out
    assert "Scoring: 2 of 2 sequences" in printed.err


def test_the_record_beside_the_masks_is_passed_on(davis: Path, tmp_path: Path) -> None:
    folder = tmp_path / "masks" / "uamp"
    (folder / "run.json").write_text(json.dumps({"memory": "samurai", "weights": "3f2a"}))
    report, path = tmp_path / "new" / "report.html", tmp_path / "scores.json"
    score_command(DavisDataset(davis), options(tmp_path, report=report, json=path))
    assert json.loads(path.read_text())["fingerprint"] == {"memory": "samurai", "weights": "3f2a"}
    text = report.read_text(encoding="utf-8")
    assert "3f2a" in text
    assert "samurai" in text
    assert text.count("<img") == 4


def test_a_record_that_cannot_be_read_is_none(davis: Path, tmp_path: Path) -> None:
    (tmp_path / "masks" / "uamp" / "run.json").write_text("[" * 100_000)
    score_command(DavisDataset(davis), options(tmp_path, json=tmp_path / "scores.json"))
    assert json.loads((tmp_path / "scores.json").read_text())["fingerprint"] is None


def test_torch_is_not_needed(davis: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
if __name__ == "__main__":
    from uamp_cli.evaluation_score import ScoreOptions, score_command
    from uamp_data.davis import DavisDataset
    report = Path({str(tmp_path / "report.html")!r})
    masks, data = Path({str(tmp_path / "masks")!r}), Path({str(davis)!r})
    score_command(DavisDataset(data), ScoreOptions(masks, data, "DAVIS", report=report))
    print("loaded:", [name for name in ("torch", "torchvision", "av", "sam2") if name in sys.modules])
"""
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout


def test_results_may_be_the_folder_of_sequences_or_the_one_above(davis: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    assert find_results(masks, ["camel", "dogs"]) == masks / "uamp"
    assert find_results(masks / "uamp", ["camel"]) == masks / "uamp"
    assert find_results(masks, ["unknown"]) == masks
    assert find_results(masks / "nowhere", ["camel"]) == masks / "nowhere"
    (masks / "sam2" / "dogs").mkdir(parents=True)
    with pytest.raises(InputError, match=r"several results \(sam2, uamp\): name one"):
        find_results(masks, ["camel", "dogs"])


def spoil_id(path: Path) -> None:
    write_mask(path, np.full(SIZE, 7, np.uint8))


def spoil_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_id, r"holds id 7, but its sequence has no such object \(it has 1 to 3\)"),
        (spoil_end, "damaged or cut off"),
    ],
)
def test_a_wrong_mask_is_named_by_another_process(
    davis: Path, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "masks" / "uamp" / "dogs" / "00002.png"
    spoil(path)
    wanted = ScoreOptions(tmp_path / "masks", davis, "DAVIS", json=tmp_path / "scores.json", workers=2)
    with pytest.raises((InputError, DataError), match=sentence) as caught:
        score_command(DavisDataset(davis), wanted)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "scores.json").exists()


def test_extra_ids_can_be_ignored(davis: Path, tmp_path: Path) -> None:
    spoil_id(tmp_path / "masks" / "uamp" / "camel" / "00003.png")
    score_command(DavisDataset(davis), options(tmp_path, ignore_extra_ids=True, json=tmp_path / "scores.json"))
    assert json.loads((tmp_path / "scores.json").read_text())["settings"]["ignore_extra_ids"] is True


def test_outputs_are_checked_before_the_work(davis: Path, tmp_path: Path) -> None:
    spoil_id(tmp_path / "masks" / "uamp" / "camel" / "00003.png")
    with pytest.raises(InputError, match="--json"):
        score_command(DavisDataset(davis), options(tmp_path, json=tmp_path))


def test_the_command_scores_and_refuses(davis: Path, tmp_path: Path, run: Run) -> None:
    common = ("eval", "score", "--results", tmp_path / "masks", "--dataset_root", davis, "--workers", 1)
    done = run(*common, "--json", "scores.json", "--report", "report.html")
    assert done.code == 0, done
    assert "J&F-Mean" in done.out
    assert set(json.loads((tmp_path / "scores.json").read_text())) >= {"global", "objects"}
    assert (tmp_path / "report.html").is_file()
    command = [sys.executable, "-m", "uamp_cli", *map(str, common), "--json", str(tmp_path / "unread.json")]
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does when it has read enough
    subprocess.run(command, stdout=writer, check=False)
    os.close(writer)
    assert (tmp_path / "unread.json").read_bytes() == (tmp_path / "scores.json").read_bytes()
    path = tmp_path / "masks" / "uamp" / "camel" / "00003.png"
    spoil_id(path)
    spoken = run(*common).err.splitlines()[-1]
    assert spoken.startswith(f"Error: The result {path} holds id 7")
    assert run(*common).code == 2
    assert run(*common, "--ignore-extra-ids").code == 0
    assert "There is no DAVIS of 0" in run(*common, "--year", 0).refused()
    assert "no split '' of DAVIS 2017" in run(*common, "--split", "").refused()
    foreign = run(*common, "--dataset", "youtube-vos", "--resolution", "Full-Resolution").refused()
    assert "--resolution chooses among DAVIS's pictures" in foreign
