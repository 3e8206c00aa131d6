"""Every form of output, on frames whose objects are known."""

import errno
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from agreement import assert_agreement
from PIL import Image
from uamp_cli.overlay import object_box
from uamp_cli.tracking import ObjectState, TrackedFrame
from uamp_cli.writers.coco import CocoFile
from uamp_cli.writers.files import AtomicFolder, AtomicText
from uamp_cli.writers.group import WriterGroup
from uamp_cli.writers.pictures import CutoutFolder, MaskFolder
from uamp_cli.writers.report import JsonReport
from uamp_cli.writers.summary import MOST_KEPT, TILES, SummaryPicture
from uamp_cli.writers.table import CsvFile
from uamp_cli.writers.videos import GREEN, CutoutVideo, GreenScreenVideo, OverlayVideo
from uamp_cli.writers.writer import VideoForm, Writer
from uamp_data.errors import DataError
from uamp_data.reader import open_video

HEIGHT, WIDTH = 62, 98
FORM = VideoForm(HEIGHT, WIDTH, Fraction(10))


def make_frame(index: int, height: int = HEIGHT, width: int = WIDTH) -> TrackedFrame:
    """Ragged masks of objects 1 and 7; object 7 is not seen on frame 2 and comes only with frame 1."""
    rng = np.random.default_rng(index)
    image = np.full((height, width, 3), (60, 90, 200), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    ids = np.where((columns + 3 * index) % 40 < 12 + rows % 5, np.uint8(1), np.uint8(0))
    if index not in (0, 2):
        ids[(rows - height // 2) ** 2 + (columns - width // 3) ** 2 < 90] = 7
    ids[rng.random(ids.shape) < 0.02] = 0
    objects = {}
    for object_id in (1,) if index == 0 else (1, 7):
        mask = ids == object_id
        box = object_box(mask)
        doubt = float(rng.random()) if box is not None else None
        objects[object_id] = ObjectState(box, int(mask.sum()), float(rng.random()), doubt)
    return TrackedFrame(index, index / 10, image, ids, objects)


def all_openers(folder: Path) -> list[Callable[[], Writer]]:
    """One opener of every kind."""
    return [
        lambda: OverlayVideo(folder / "overlay.mp4", FORM),
        lambda: GreenScreenVideo(folder / "green.mp4", FORM),
        lambda: CutoutVideo(folder / "cutout.mov", FORM),
        lambda: MaskFolder(folder / "masks"),
        lambda: CutoutFolder(folder / "cutouts"),
        lambda: JsonReport(folder / "report.json", lambda: {"model": "nano", "score": {"J-Mean": 1.0}}),
        lambda: CocoFile(folder / "coco.json", "Füße"),
        lambda: CsvFile(folder / "table.csv"),
        lambda: SummaryPicture(folder / "summary.png", FORM, "a clip"),
    ]


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_numbers_agree_with_the_pictures(tmp_path: Path) -> None:
    with WriterGroup(all_openers(tmp_path)) as group:
        for index in range(5):
            group.add(make_frame(index))
    assert group.frame_count == 5
    assert group.notes == []
    assert assert_agreement(tmp_path) == 5 + 3
    assert not [name for name in _tree(tmp_path) if ".part" in name]
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report) == ["model", "score", "per_frame"]
    coco = (tmp_path / "coco.json").read_bytes()
    assert json.loads(coco)["info"]["description"] == "Füße"
    assert coco.isascii()  # standard output may be in any encoding


def test_cut_out_pictures_keep_the_object_and_nothing_else(tmp_path: Path) -> None:
    frame = make_frame(3)
    writer = CutoutFolder(tmp_path / "c")
    writer.add(frame)
    writer.close()
    picture = np.asarray(Image.open(tmp_path / "c" / "00003.png"))
    inside = frame.ids > 0
    assert picture.shape == (HEIGHT, WIDTH, 4)
    assert (picture[inside, :3] == (60, 90, 200)).all()
    assert not picture[~inside].any()


def test_cut_out_video_has_the_masks_as_alpha(tmp_path: Path) -> None:
    frames = [make_frame(index) for index in range(3)]
    with WriterGroup([lambda: CutoutVideo(tmp_path / "c.mov", FORM)]) as group:
        for frame in frames:
            group.add(frame)
    with av.open(str(tmp_path / "c.mov")) as container:
        found = [frame.to_ndarray(format="rgba") for frame in container.decode(video=0)]
    for before, after in zip(frames, found, strict=True):
        assert np.array_equal(after[..., 3] > 127, before.ids > 0)
        assert np.abs(after[before.ids > 0, :3].astype(int) - (60, 90, 200)).max() < 12


def test_green_screen_is_green_where_no_object_is(tmp_path: Path) -> None:
    frame = make_frame(1)
    big = TrackedFrame(0, 0.0, np.full((64, 96, 3), 128, np.uint8), np.zeros((64, 96), np.uint8), frame.objects)
    big.ids[16:48, 16:64] = 3
    writer = GreenScreenVideo(tmp_path / "g.mp4", VideoForm(64, 96, Fraction(10)))
    writer.add(big)
    writer.close()
    with open_video(tmp_path / "g.mp4") as video:
        shown = next(iter(video)).image.astype(int)
    assert np.abs(shown[:10] - GREEN).max() < 12
    assert np.abs(shown[22:42, 24:56] - 128).max() < 8


def test_outputs_have_pixels_of_the_shape_of_the_input(tmp_path: Path) -> None:
    form = replace(FORM, pixel_aspect=Fraction(2))
    frame = replace(make_frame(1), uncertainty=np.zeros((HEIGHT, WIDTH), np.uint8))
    openers: list[Callable[[], Writer]] = [
        lambda: OverlayVideo(tmp_path / "overlay.mp4", form, shows_uncertainty=True),
        lambda: GreenScreenVideo(tmp_path / "green.mp4", form),
        lambda: CutoutVideo(tmp_path / "cutout.mov", form),
        lambda: SummaryPicture(tmp_path / "summary.png", form, "a clip"),
    ]
    with WriterGroup(openers) as group:
        group.add(frame)
    for writer in group.writers[:3]:
        with open_video(writer.path) as video:
            assert video.pixel_aspect == 2
    summary = group.writers[3]
    assert isinstance(summary, SummaryPicture)
    width, height = summary._tile_size
    assert width / height == pytest.approx(2 * WIDTH / HEIGHT, rel=0.02)


@pytest.mark.parametrize(("height", "width"), [(62, 98), (200, 90), (1, 1), (17, 400)])
@pytest.mark.parametrize("count", [1, 5, 70])
def test_summary_of_any_length_and_shape(tmp_path: Path, height: int, width: int, count: int) -> None:
    writer = SummaryPicture(tmp_path / "s.png", VideoForm(height, width, Fraction(10)), "a clip")
    for index in range(count):
        writer.add(make_frame(index, height, width))
        assert len(writer._tiles) <= MOST_KEPT
    assert not (tmp_path / "s.png").exists()
    writer.close()
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.width == 1600
        assert np.asarray(picture).std() > 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("count", [8, 37, 65, 129, 289])
def test_summary_shows_frames_evenly_from_first_to_last(tmp_path: Path, count: int) -> None:
    writer = SummaryPicture(tmp_path / "s.png", FORM, "a clip")
    for index in range(count):
        writer.add(replace(make_frame(0), index=index))
    shown = [tile.index for tile in writer._chosen()]
    writer.abort()
    assert len(shown) == TILES
    assert np.abs(shown - np.linspace(0, count - 1, TILES)).max() <= max(0.5, count / 64)
    assert (shown[0], shown[-1]) == (0, count - 1)


def _summary_of(folder: Path, objects: int, title: str = "a clip") -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The heading of a summary: title, and below it the names."""
    frame = make_frame(0)
    state = frame.objects[1]
    writer = SummaryPicture(folder / "s.png", FORM, title)
    writer.add(replace(frame, objects=dict.fromkeys(range(1, objects + 1), state)))
    writer.close()
    with Image.open(folder / "s.png") as picture:
        return np.asarray(picture)[:100]


def test_a_long_title_of_a_summary_keeps_both_ends(tmp_path: Path) -> None:
    short, long = (_summary_of(tmp_path, 1, f"clip{'_' * count}.mp4 · nano, memory uamp")[:60] for count in (1, 200))
    assert (long[:, -24:] == 255).all()  # the margin is free
    assert np.array_equal(long[:, :70], short[:, :70])
    end = np.flatnonzero((short < 255).any(axis=(0, 2)))[-1]
    other = np.flatnonzero((long < 255).any(axis=(0, 2)))[-1]
    assert (np.abs(long[:, other - 200 : other].mean((0, 2)) - short[:, end - 200 : end].mean((0, 2))) < 12).all()


@pytest.mark.parametrize("objects", [8, 26, 255])
def test_names_of_many_objects_stay_in_the_summary(tmp_path: Path, objects: int) -> None:
    names = _summary_of(tmp_path, objects)[64:]
    assert (names[:, -24:] == 255).all()
    grey = (np.ptp(names.astype(int), axis=2) < 12) & (np.abs(names[..., 0].astype(int) - 122) < 4)
    assert (grey.sum() > 60) == (objects > TILES)  # "and 2 more" is grey


def test_an_error_leaves_everything_as_it_was(tmp_path: Path) -> None:
    for name in ("overlay.mp4", "coco.json", "table.csv", "summary.png"):
        (tmp_path / name).write_text("older")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "00000.png").write_text("older")
    before = _tree(tmp_path)

    def fail() -> None:
        with WriterGroup(all_openers(tmp_path)) as group:
            group.add(make_frame(0))
            group.add(make_frame(1, HEIGHT, WIDTH + 2))  # a video's frames have one size

    with pytest.raises(DataError):
        fail()
    assert _tree(tmp_path) == before
    assert (tmp_path / "coco.json").read_text() == "older"
    assert (tmp_path / "masks" / "00000.png").read_text() == "older"


def test_a_writer_that_cannot_start_takes_the_others_with_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    openers = [*all_openers(tmp_path), lambda: CsvFile(tmp_path / "file" / "table.csv")]
    with pytest.raises(DataError, match="is not a folder"):
        WriterGroup(openers)
    assert _tree(tmp_path) == ["file"]


def test_ctrl_c_keeps_the_frames_so_far(tmp_path: Path) -> None:
    def interrupted() -> None:
        with WriterGroup(all_openers(tmp_path)) as group:
            group.add(make_frame(0))
            group.add(make_frame(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert assert_agreement(tmp_path) == 3
    with open_video(tmp_path / "overlay.mp4") as video:
        assert sum(1 for _ in video) == 2


def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), WriterGroup(all_openers(tmp_path)):
        raise KeyboardInterrupt
    assert _tree(tmp_path) == []


def test_cut_outs_need_a_format_with_alpha(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in \.mov or \.webm"):
        CutoutVideo(tmp_path / "c.mp4", FORM)
    assert _tree(tmp_path) == []


def test_folders_take_over_files_of_the_same_name_and_mention_others(tmp_path: Path) -> None:
    (tmp_path / "00000.png").write_text("older")
    (tmp_path / "00009.png").write_text("older")
    writer = MaskFolder(tmp_path)
    writer.add(make_frame(0))
    writer.close()
    assert writer.note == f"{tmp_path} also holds 1 PNG that this run did not write"
    assert (tmp_path / "00000.png").read_bytes().startswith(b"\x89PNG")


def test_folder_names_its_own_path_when_something_fails(tmp_path: Path) -> None:
    folder = AtomicFolder(tmp_path / "a" / "b")

    def fail(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"disk is full, so .*a/b/00000\.png"):
        folder.add("00000.png", fail)
    folder.abort()
    assert _tree(tmp_path) == []


def test_a_folder_in_the_place_of_a_picture_keeps_all_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "00000.png").write_text("older")
    (tmp_path / "00001.png").mkdir()
    writer = MaskFolder(tmp_path)
    for index in range(3):
        writer.add(make_frame(index))
    with pytest.raises(DataError, match=r"00001\.png cannot be written \(Is a directory\)"):
        writer.close()
    assert _tree(tmp_path) == ["00000.png", "00001.png"]
    assert (tmp_path / "00000.png").read_text() == "older"


def test_text_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    text = AtomicText(Path("-"))
    text.write("whole")
    assert capsys.readouterr().out == ""
    text.close()
    assert capsys.readouterr().out == "whole"


def test_standard_output_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(DataError, match="Standard output is closed"):
        AtomicText(Path("-"))


@pytest.mark.parametrize(("number", "kind"), [(errno.EPIPE, BrokenPipeError), (errno.ENOSPC, DataError)])
def test_standard_output_that_cannot_be_written(
    number: int, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(io.StringIO):
        def flush(self) -> None:
            raise OSError(number, os.strerror(number))

    text = AtomicText(Path("-"))
    monkeypatch.setattr("sys.stdout", Refusing())
    with pytest.raises(kind) as caught:
        text.close()
    assert kind is BrokenPipeError or "standard output could not be written" in str(caught.value)
