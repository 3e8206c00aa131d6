"""Folders of results: whole or not there, of one kind of run, and never at the cost of somebody's files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_videos import contents
from uamp_eval.fingerprint import Fingerprint
from uamp_eval.results_store import RECORD, ResultFolder
from uamp_model.errors import InputError

SEQUENCES: Mapping[str, Mapping[str, object]] = {"bear": {"frames": 2}}
FINGERPRINT = Fingerprint("nano", "w", "sam2", {}, "float32", 256, "tiny", SEQUENCES, {"uamp-eval": "1"})
FRAMES = ("0", "1")


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    folder = ResultFolder(tmp_path / "out" / "sam2")
    folder.prepare(FINGERPRINT)
    return folder


def fill(folder: ResultFolder, text: str = "x", sequence: str = "bear") -> None:
    with folder.new_sequence(sequence, FRAMES) as place:
        for frame in FRAMES:
            (place / f"{frame}.png").write_text(text)


def test_a_sequence_gets_its_name_when_it_is_whole(folder: ResultFolder) -> None:
    with folder.new_sequence("bear", FRAMES) as place:
        (place / "0.png").write_text("x")
        assert not (folder.path / "bear").exists()
        (place / "1.png").write_text("x")
    assert list(contents(folder.path)) == ["bear/0.png", "bear/1.png", RECORD]
    assert folder.is_whole("bear", FRAMES)
    assert not folder.is_whole("bear", ("0",))
    assert not folder.is_whole("bear", ("0", "1", "2"))
    assert not folder.is_whole("wolf", FRAMES)


def test_a_sequence_may_be_named_as_long_as_a_folder_can_be(folder: ResultFolder) -> None:
    for name in ("b" * 255, "ä" * 127):
        for text in ("x", "new"):  # what is there is moved away first
            fill(folder, text, sequence=name)
        assert contents(folder.path)[f"{name}/1.png"] == b"new"
    folder.prepare(replace(FINGERPRINT, sequences={"b" * 255: {}, "ä" * 127: {}}), overwrite=True)
    assert list(contents(folder.path)) == [RECORD]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("The disk is full.")])
def test_nothing_stays_of_a_sequence_that_fails(folder: ResultFolder, error: BaseException) -> None:
    def fail() -> None:
        with folder.new_sequence("bear", FRAMES) as place:
            (place / "0.png").write_text("x")
            raise error

    with pytest.raises((KeyboardInterrupt, ValueError)):
        fail()
    assert list(contents(folder.path)) == [RECORD]
    assert [path.name for path in folder.path.iterdir()] == [RECORD]


def test_a_sequence_that_lost_masks_while_it_was_written_is_not_kept(folder: ResultFolder) -> None:
    with pytest.raises(InputError, match="one run at a time"), folder.new_sequence("bear", FRAMES) as place:
        (place / "0.png").write_text("x")
    assert list(contents(folder.path)) == [RECORD]


def test_what_a_killed_run_left_half_done_is_removed(folder: ResultFolder) -> None:
    fill(folder)
    (folder.path / "bear" / "1.png").write_text("")  # an empty file is no mask
    (folder.path / ".uamp-cows.part").mkdir()
    (folder.path / ".uamp-cows.part" / "0.png").write_text("x")
    folder.prepare(FINGERPRINT)
    assert not (folder.path / ".uamp-cows.part").exists()
    assert not folder.is_whole("bear", FRAMES)
    fill(folder, "new")
    assert contents(folder.path)["bear/1.png"] == b"new"


def test_results_of_other_settings_are_refused_and_say_what_differs(folder: ResultFolder) -> None:
    fill(folder)
    folder.prepare(FINGERPRINT)
    other = replace(FINGERPRINT, model="sam2.1-hiera-tiny", protocol="else")
    with pytest.raises(InputError, match=r"the model \(nano then, sam2.1-hiera-tiny now\) and the protocol") as caught:
        folder.prepare(other)
    assert "choose another --output, or --overwrite" in str(caught.value)
    assert folder.is_whole("bear", FRAMES)
    folder.prepare(other, overwrite=True)
    assert not (folder.path / "bear").exists()
    folder.prepare(other)


def test_a_record_without_results_stands_in_nobodys_way(folder: ResultFolder) -> None:
    other = replace(FINGERPRINT, precision="bfloat16", sequences={"bear": {}, "wolf": {}})
    folder.check(other)
    assert (folder.path / RECORD).read_text() == FINGERPRINT.as_json()
    (folder.path / ".uamp-bear.part").mkdir()
    folder.prepare(other)
    assert (folder.path / RECORD).read_text() == other.as_json()
    fill(folder, sequence="wolf")
    with pytest.raises(InputError, match=r"the precision \(bfloat16 then, float32 now\)"):
        folder.prepare(FINGERPRINT)


def test_results_that_the_record_does_not_name_are_not_taken_over(folder: ResultFolder) -> None:
    fill(folder, sequence="wolf")
    with pytest.raises(InputError, match="the data"):
        folder.prepare(replace(FINGERPRINT, sequences={"bear": {"frames": 2}, "wolf": {"frames": 2}}))


def test_checking_writes_nothing(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "out" / "sam2")
    folder.check(FINGERPRINT)
    assert not (tmp_path / "out").exists()
    (folder.path / ".uamp-bear.part").mkdir(parents=True)
    folder.check(FINGERPRINT)
    (folder.path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"no run\.json"):
        folder.check(FINGERPRINT)
    assert list(contents(tmp_path)) == ["out/sam2/notes.txt"]


def test_a_video_may_be_mended_until_it_has_results(folder: ResultFolder) -> None:
    mended = replace(FINGERPRINT, sequences={"bear": {"frames": 2, "digest": "mended"}})
    folder.prepare(mended)
    fill(folder)
    folder.prepare(mended)
    with pytest.raises(InputError, match=r"the data \(bear\)"):
        folder.prepare(FINGERPRINT)
    (folder.path / RECORD).write_text('{"format": 5, "sequences": []}')
    with pytest.raises(InputError, match="other settings"):
        folder.prepare(mended)


def test_overwriting_removes_the_sequences_of_the_earlier_run_too(folder: ResultFolder) -> None:
    fill(folder)
    folder.prepare(replace(FINGERPRINT, sequences={"wolf": {"frames": 1}}), overwrite=True)
    assert [path.name for path in folder.path.iterdir()] == [RECORD]


def test_files_of_another_origin_are_never_removed(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "sam2")
    (tmp_path / "sam2" / "bear").mkdir(parents=True)
    (tmp_path / "sam2" / "bear" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"no run\.json"):
        folder.prepare(FINGERPRINT)
    with pytest.raises(InputError, match=r"thesis\.tex is not a result"):
        folder.prepare(FINGERPRINT, overwrite=True)
    assert list(contents(tmp_path)) == ["sam2/bear/thesis.tex"]


def test_clearing_removes_results_and_nothing_else(folder: ResultFolder) -> None:
    fill(folder)
    (folder.path / "notes").mkdir()
    folder.clear(["bear", "wolf"])
    assert [path.name for path in folder.path.iterdir()] == ["notes"]
    (folder.path / "notes").rmdir()
    folder.clear([])
    assert not folder.path.exists()
    folder.clear(["bear"])


def test_a_record_that_names_folders_elsewhere_removes_nothing_there(folder: ResultFolder) -> None:
    elsewhere = folder.path.parent / "photos"
    elsewhere.mkdir()
    (elsewhere / "me.png").write_text("x")
    for name in ("../photos", "..", ".", "", str(elsewhere), "a\0b"):
        strange = replace(FINGERPRINT, sequences={name: {}})
        (folder.path / RECORD).write_text(strange.as_json())
        folder.prepare(FINGERPRINT, overwrite=True)
    assert (elsewhere / "me.png").exists()


def test_a_damaged_record_vouches_for_nothing(folder: ResultFolder) -> None:
    for damaged, says in [
        ("{", "no run.json"),
        ("[" * 100_000, "no run.json"),
        *((f'{{"sequences": {other}}}', "other settings") for other in ("null", "3", "[[1]]", "[5]")),
    ]:
        (folder.path / RECORD).write_text(damaged)
        with pytest.raises(InputError, match=says):
            folder.prepare(FINGERPRINT)
        folder.prepare(FINGERPRINT, overwrite=True)
    folder.prepare(FINGERPRINT)


def test_a_link_in_place_of_results_stays(folder: ResultFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder.path / "bear").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(InputError, match="bear is not a result of uamp"):
            folder.prepare(FINGERPRINT, overwrite=True)
    assert (folder.path / "bear").is_symlink()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"file.* cannot be written \(not a directory\): choose another --output"):
        ResultFolder(tmp_path / "file" / "sam2").prepare(FINGERPRINT)
