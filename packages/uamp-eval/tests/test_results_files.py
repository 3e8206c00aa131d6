import csv
import errno
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from uamp_eval.atomic import write_atomically
from uamp_eval.calibration import Calibration
from uamp_eval.results_files import Evaluation, best_values, write_per_sequence_csv, write_results_json
from uamp_eval.scores import FIGURES, ObjectResult, summarise
from uamp_eval.tables import MOST_SEQUENCES, results_tables
from uamp_model.errors import InputError


def evaluation(name: str, shift: float = 0.0, videos: int = 2, **more: object) -> Evaluation:
    rng = np.random.default_rng(5)
    objects = [
        ObjectResult(
            f"video {video}, long" if video else "[red]", number, ("a", "b", "c"), rng.random(3) / 2 + shift, np.ones(3)
        )
        for video in range(videos)
        for number in (1, 2)
    ]
    return Evaluation(name, objects, Path("masks") / name, **more)  # type: ignore[arg-type]


def shown(*evaluations: Evaluation, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(results_tables(evaluations))
    return out.getvalue()


def test_results_json_keeps_the_contract_and_adds_to_it(tmp_path: Path) -> None:
    seen = {"[red]_1": True, "[red]_2": False, "video 1, long_1": True, "video 1, long_2": False}
    one = evaluation("sam2", settings={"model": "nano"}, versions={"uamp-eval": "1"}, seen=seen)
    looked_at = Calibration()
    two = evaluation("uamp", 0.2, fingerprint={"weights": "3f"}, calibration=looked_at)
    write_results_json(tmp_path / "new" / "results.json", [one, two])
    document = json.loads((tmp_path / "new" / "results.json").read_text())
    assert list(document) == ["sam2", "uamp"]
    assert {key: document["sam2"][key] for key in ("global", "objects")} == summarise(one.objects)
    assert document["sam2"]["settings"] == {"model": "nano"}
    assert document["sam2"]["versions"] == {"uamp-eval": "1"}
    assert document["sam2"]["youtube_vos"]["G"] == one.figures()["G"]
    assert document["sam2"]["frames"]["[red]_2"]["J"] == one.objects[1].jaccard.tolist()
    assert document["sam2"]["fingerprint"] is None
    assert document["uamp"]["fingerprint"] == {"weights": "3f"}
    assert "youtube_vos" not in document["uamp"]
    assert document["uamp"]["calibration"] == looked_at.document()
    assert "calibration" not in document["sam2"]


def test_per_sequence_csv(tmp_path: Path) -> None:
    evaluations = [evaluation("sam2"), evaluation("uamp", 0.2)]
    write_per_sequence_csv(tmp_path / "per_sequence.csv", evaluations)
    with (tmp_path / "per_sequence.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["setting", "sequence", "object", "frames", *FIGURES]
    assert len(rows) == 8
    assert (rows[6]["setting"], rows[6]["sequence"], rows[6]["object"], rows[6]["frames"]) == (
        "uamp",
        "video 1, long",
        "1",
        "3",
    )
    assert float(rows[6]["J-Mean"]) == evaluations[1].objects[2].j.mean  # every digit


def test_tables_compare_settings() -> None:
    text = shown(evaluation("sam2"), evaluation("uamp", 0.2))
    assert "2 sequences, 4 objects; percent, mean over objects" in text
    rows = {line.split("  ")[0]: line.split()[-2:] for line in text.splitlines() if line}
    sam2, uamp = map(float, rows["J-Mean"])
    assert uamp == pytest.approx(sam2 + 20, abs=0.11)
    assert all(figure in rows for figure in FIGURES)
    assert float(rows["[red]"][1]) > float(rows["[red]"][0])
    assert "video 1, long" in rows


def test_tables_of_one_setting_show_j_and_f_by_sequence() -> None:
    text = shown(evaluation("sam2"))
    assert text.count("J&F-Mean") == 2
    assert "By sequence" in text


def test_tables_of_many_sequences_show_the_worst() -> None:
    text = shown(evaluation("sam2", videos=MOST_SEQUENCES + 9))
    assert f"the {MOST_SEQUENCES} lowest of {MOST_SEQUENCES + 9}" in text
    assert len(text.splitlines()) < MOST_SEQUENCES + 20


def test_the_best_value_is_the_lowest_decay_and_none_where_all_are_equal() -> None:
    best = best_values(
        [{"J-Mean": 0.5, "J-Decay": 0.1, "F-Mean": 1.0, "G": 1.0}, {"J-Mean": 0.6, "J-Decay": 0.2, "F-Mean": 1.0}]
    )
    assert best == {"J-Mean": 0.6, "J-Decay": 0.1, "F-Mean": None}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_atomically(path, "old")

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match=r"The disk is full, so .*results\.json could not be written"):
            write_atomically(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
    assert path.read_text() == "old"
    with pytest.raises(InputError, match="is a folder"):
        write_atomically(tmp_path, "new")
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(path / "below" / "file", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_names_in_tables_do_not_steer_the_terminal() -> None:
    one, other = evaluation("a\x1b[31mb"), evaluation("uamp", 0.2)
    objects = [replace(result, sequence=result.sequence + "\x1b[2J") for result in one.objects]
    for text in (
        shown(replace(one, objects=objects)),
        shown(replace(one, objects=objects), replace(other, objects=objects)),
    ):
        assert "\x1b" not in text
        assert r"a\x1b[31mb" in text
        assert r"[red]\x1b[2J" in text
