"""`uamp demo` from end to end on small videos."""

import json
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from agreement import assert_agreement
from loopback import QuietFiles, serving
from sound import write_video_with_sound
from uamp_data.masks import read_mask, write_mask
from uamp_data.reader import open_video
from uamp_data.writer import VideoWriter

Run = Callable[..., Any]
Make = Callable[..., Path]


@pytest.fixture
def demo(run: Run, checkpoint: Path) -> Run:
    """Run `uamp demo` with the test's weights, which say as much about a small input."""

    def invoke(*arguments: object) -> Any:
        return run("demo", "--device", "cpu", "--image-size", 160, "--checkpoint", checkpoint, *arguments)

    return invoke


def _shape(path: Path) -> tuple[int, int, int, float]:
    with open_video(path) as video:
        frames = sum(1 for _ in video)
        return frames, video.width, video.height, float(video.frame_rate)


def test_mask_prompt_writes_video_masks_and_json(demo: Run, make_video: Make, make_mask: Make, tmp_path: Path) -> None:
    video, mask = make_video(frames=5), make_mask()
    outcome = demo("--input", video, "--mask", mask, "--save-masks", "masks", "--json", "out/report.json")
    assert outcome.code == 0, outcome
    assert _shape(tmp_path / "in_uamp.mp4") == _shape(video)
    assert "in_uamp.mp4" in outcome.out
    assert "objects    1, 3" in outcome.out
    assert "5 of 96×64 at 10 frames/s" in outcome.out

    names = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert names == [f"{index:05d}.png" for index in range(5)]
    # A mask prompt comes back as it went in, within the network's own resolution.
    found, given = read_mask(tmp_path / "masks" / "00000.png"), read_mask(mask)
    assert np.mean(found == given) > 0.95

    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report) == ["frames", "objects", "model", "memory", "device", "fps", "output", "per_frame"]
    assert (report["frames"], report["objects"], report["model"], report["memory"]) == (5, 2, "nano", "uamp")
    assert (report["device"], report["output"]) == ("cpu", "in_uamp.mp4")
    assert [entry["frame"] for entry in report["per_frame"]] == list(range(5))
    assert [entry["time"] for entry in report["per_frame"]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    for entry, name in zip(report["per_frame"], names, strict=True):
        ids = read_mask(tmp_path / "masks" / name)
        assert set(entry["objects"]) == {"1", "3"}
        for key, state in entry["objects"].items():
            assert set(state) == {"box", "area", "score", "uncertainty"}
            rows, columns = np.nonzero(ids == int(key))
            assert state["area"] == len(rows)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else None
            assert state["box"] == box
            assert 0 <= state["score"] <= 1
            assert (state["uncertainty"] is None) == (not len(rows))


def test_pixels_that_are_not_square_stay_so(demo: Run, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "wide.mp4", frame_rate=10, size=(64, 96), pixel_aspect=Fraction(2)) as video:
        for shade in (60, 90):
            video.write(np.full((64, 96, 3), shade, np.uint8))
    outcome = demo("--input", "wide.mp4", "--box", "10,10,50,50", "--green-screen", "green.mp4", "--show-uncertainty")
    assert outcome.code == 0, outcome
    for name in ("wide_uamp.mp4", "green.mp4"):
        with open_video(tmp_path / name) as written:
            assert written.pixel_aspect == 2, name


def test_two_boxes_are_two_objects(demo: Run, make_video: Make) -> None:
    outcome = demo("--input", make_video(frames=2), "--box", "12,16,32,32", "--box", "48,48,96,64")
    assert outcome.code == 0, outcome
    assert "objects    1, 2" in outcome.out


def test_points_are_one_object(demo: Run, make_video: Make) -> None:
    outcome = demo(
        "--input_video", make_video(frames=2), "--point", "20,20", "--point", "60,50,0", "--point", "24,24,1"
    )
    assert outcome.code == 0, outcome
    assert "objects    1\n" in outcome.out


def test_every_output_of_one_run_agrees(demo: Run, make_video: Make, make_mask: Make, tmp_path: Path) -> None:
    outcome = demo(
        *("--input", make_video(frames=3), "--mask", make_mask(), "--prompt-frame", 1, "--show-uncertainty"),
        *("--save-masks", "masks", "--save-cutout", "cutouts", "--json", "report.json", "--coco", "coco.json"),
        *("--csv", "table.csv", "--summary", "sum.png", "--cutout-video", "c.webm", "--green-screen", "g.mp4"),
    )
    assert outcome.code == 0, outcome
    assert assert_agreement(tmp_path) > 0
    for name in ("g.mp4", "c.webm"):
        assert _shape(tmp_path / name) == (3, 96, 64, 10)
    printed = {line.split()[0] for line in outcome.out.splitlines()}
    assert {"masks", "cut-outs", "cut-out", "green", "summary", "json", "coco", "csv", "video"} <= printed
    assert (tmp_path / "sum.png").is_file()


def test_json_on_standard_output_stands_alone(demo: Run, make_video: Make) -> None:
    outcome = demo("--input", make_video(frames=2), "--box", "12,16,32,32", "--json", "-")
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out)["frames"] == 2
    assert "mean score" in outcome.err


def test_a_table_on_standard_output_stands_alone(demo: Run, make_video: Make) -> None:
    outcome = demo("--input", make_video(frames=2), "--box", "12,16,32,32", "--csv", "-")
    assert outcome.code == 0, outcome
    assert len({line.count(",") for line in outcome.out.strip().splitlines()}) == 1
    assert "mean score" in outcome.err


def test_a_mask_too_small_to_be_seen_is_told_of(demo: Run, make_video: Make, tmp_path: Path) -> None:
    ids = np.zeros((240, 320), np.uint8)
    ids[20, 30] = 1
    write_mask(tmp_path / "dot.png", ids)
    outcome = demo("--input", make_video(frames=2, height=240, width=320), "--mask", "dot.png", "--json", "j.json")
    assert outcome.code == 0, outcome
    assert json.loads((tmp_path / "j.json").read_text())["per_frame"][0]["objects"]["1"]["area"] == 0
    assert "sees nothing of object 1: try a larger --image-size" in outcome.out


def test_an_object_that_another_covers_is_told_of(demo: Run, make_video: Make, tmp_path: Path) -> None:
    for number, edge in ((1, 10), (2, 16)):
        ids = np.zeros((64, 96), np.uint8)
        ids[edge:-edge, edge:-edge] = 1
        write_mask(tmp_path / f"{number}.png", ids)
    (tmp_path / "both.json").write_text('{"objects": {"1": {"mask": "1.png"}, "2": {"mask": "2.png"}}}')
    outcome = demo("--input", make_video(frames=2), "--prompts", "both.json", "--json", "j.json")
    assert outcome.code == 0, outcome
    assert json.loads((tmp_path / "j.json").read_text())["per_frame"][0]["objects"]["2"]["area"] == 0
    assert "other masks cover that of object 2" in outcome.out
    assert "too small" not in outcome.out


def test_sound_of_an_address_is_said_to_be_left_out(demo: Run, tmp_path: Path) -> None:
    write_video_with_sound(tmp_path / "in.mp4", seconds=1)
    with serving(partial(QuietFiles, directory=str(tmp_path))) as address:
        outcome = demo("--input", f"{address}/in.mp4", "--box", "12,16,32,32", "--max-frames", 2)
    assert outcome.code == 0, outcome
    assert "sound of the stream is left out" in outcome.out
    with av.open(str(tmp_path / "in_uamp.mp4")) as written:
        assert not written.streams.audio


def test_quiet_prints_nothing(demo: Run, make_video: Make, tmp_path: Path) -> None:
    outcome = demo("--input", make_video(frames=2), "--box", "12,16,32,32", "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert (tmp_path / "in_uamp.mp4").is_file()
    assert demo("--input", "gone.mp4", "-q").refused().startswith("Error: gone.mp4")
    assert demo("--input", make_video(frames=1), "--box", "12,16,32,32").out


def test_sound_of_the_input_is_kept(demo: Run, tmp_path: Path) -> None:
    write_video_with_sound(tmp_path / "loud.mp4", seconds=1)
    outcome = demo("--input", "loud.mp4", "--box", "12,16,32,32", "--max-frames", 4)
    assert outcome.code == 0, outcome
    with av.open(str(tmp_path / "loud_uamp.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(0.4, abs=0.1)


def test_without_prompt_objects_are_proposed(run: Run, make_video: Make, tmp_path: Path) -> None:
    video = make_video(frames=2, height=120, width=160)
    demo = ("demo", "--device", "cpu", "--input", video)  # an untrained model would see nothing
    outcome = run(*demo, "--json", "first.json")
    assert outcome.code == 0, outcome
    assert "the most prominent of" in outcome.out
    assert "* object 1: box " in outcome.out
    assert (tmp_path / "in_uamp_objects.png").is_file()
    assert "There is no object 99" in run(*demo, "--object", 99).refused()
    assert set(json.loads((tmp_path / "first.json").read_text())["per_frame"][0]["objects"]) == {"1"}
    if "  object 2: box " in outcome.out:
        outcome = run(*demo, "--object", 2, "--object", 1, "--json", "second.json")
        assert "following object 1, 2 of" in outcome.out
        assert set(json.loads((tmp_path / "second.json").read_text())["per_frame"][0]["objects"]) == {"1", "2"}


def test_prompt_frame_tracks_both_directions(demo: Run, make_video: Make, make_mask: Make, tmp_path: Path) -> None:
    outcome = demo(
        "--input",
        make_video(frames=6),
        "--mask",
        make_mask(),
        "--prompt-frame",
        3,
        "--save-masks",
        "m",
        "--json",
        "r.json",
    )
    assert outcome.code == 0, outcome
    assert _shape(tmp_path / "in_uamp.mp4")[0] == 6
    per_frame = json.loads((tmp_path / "r.json").read_text())["per_frame"]
    assert [entry["frame"] for entry in per_frame] == list(range(6))
    assert all(set(entry["objects"]) == {"1", "3"} for entry in per_frame)
    assert np.mean(read_mask(tmp_path / "m" / "00003.png") == read_mask(make_mask())) > 0.95


def test_prompts_file_with_objects_on_different_frames(demo: Run, make_video: Make, tmp_path: Path) -> None:
    content = {"objects": {"2": {"frame": 2, "box": [48, 48, 90, 60]}, "7": [{"points": [[20, 20]]}]}}
    (tmp_path / "prompts.json").write_text(json.dumps(content))
    outcome = demo("--input", make_video(frames=4), "--prompts", "prompts.json", "--json", "r.json")
    assert outcome.code == 0, outcome
    per_frame = json.loads((tmp_path / "r.json").read_text())["per_frame"]
    assert all(set(entry["objects"]) == {"2", "7"} for entry in per_frame)


def test_max_frames_and_an_existing_output(demo: Run, make_video: Make, tmp_path: Path) -> None:
    (tmp_path / "o.mp4").write_text("an older result")
    outcome = demo("-i", make_video(frames=5), "--box", "12,16,32,32", "--max-frames", 2, "--output_video", "o.mp4")
    assert outcome.code == 0, outcome
    assert _shape(tmp_path / "o.mp4")[0] == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["in.mp4", "o.mp4"]


def test_folder_of_frames(demo: Run, make_video: Make, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "clip").mkdir()
    with open_video(make_video(frames=3)) as video:
        for frame in video:
            Image.fromarray(frame.image).save(tmp_path / "clip" / f"{frame.index}.png")
    outcome = demo("--input", "clip", "--box", "12,16,32,32")
    assert outcome.code == 0, outcome
    assert _shape(tmp_path / "clip_uamp.mp4")[:3] == (3, 96, 64)


def test_stale_masks_are_mentioned(demo: Run, make_video: Make, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "00099.png").write_bytes(b"")
    outcome = demo("--input", make_video(frames=1), "--box", "12,16,32,32", "--save-masks", "m")
    assert outcome.code == 0, outcome
    assert "m also holds 1 PNG that this run did not write" in outcome.out


def test_generated_clip_is_scored_and_shown_beside_its_truth(
    demo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uamp_cli.sources.CLIP_SIZE", (96, 128))
    monkeypatch.setattr("uamp_cli.sources.CLIP_FRAMES", 4)
    outcome = demo("--json", "r.json")
    assert outcome.code == 0, outcome
    assert _shape(tmp_path / "uamp_demo.mp4") == (4, 256, 96, 24)
    report = json.loads((tmp_path / "r.json").read_text())
    assert set(report["score"]) == {"J-Mean", "F-Mean", "J&F-Mean"}
    assert f"J&F        {report['score']['J&F-Mean']:.3f}" in outcome.out
    assert "from its true first mask" in outcome.err

    outcome = demo("--show-uncertainty", "--max-frames", 2)
    assert outcome.code == 0, outcome
    assert _shape(tmp_path / "uamp_demo.mp4") == (2, 256, 192, 24)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (1, 1), (17, 400), (63, 95)])
def test_uncertainty_is_shown_beside_or_below(
    demo: Run, make_video: Make, tmp_path: Path, height: int, width: int
) -> None:
    video = make_video(frames=3, height=height, width=width)
    box = ("--input", video, "--box", f"0,0,{width},{height}")
    assert demo(*box, "--json", "plain.json").code == 0
    outcome = demo(*box, "--json", "shown.json", "--output", "shown.mp4", "--show_uncertainty")
    assert outcome.code == 0, outcome
    frames, shown_width, shown_height, rate = _shape(tmp_path / "shown.mp4")
    below = width * 9 > height * 16
    assert (shown_width, shown_height) == ((width, 2 * height) if below else (2 * width, height))
    assert (frames, rate) == (3, 10)
    with open_video(video) as before, open_video(tmp_path / "shown.mp4") as after:
        assert [frame.time for frame in before] == [frame.time for frame in after]
    plain, shown = (json.loads((tmp_path / name).read_text())["per_frame"] for name in ("plain.json", "shown.json"))
    assert plain == shown


def test_uncertainty_of_frames_tracked_backwards(demo: Run, make_video: Make, make_mask: Make, tmp_path: Path) -> None:
    video, mask = make_video(frames=4, height=120, width=160), make_mask(height=120, width=160)
    outcome = demo("--input", video, "--mask", mask, "--prompt-frame", 2, "--show-uncertainty", "--save-masks", "m")
    assert outcome.code == 0, outcome
    with open_video(tmp_path / "in_uamp.mp4") as written:
        frames = [frame.image.astype(int) for frame in written]
    assert len(frames) == 4
    for frame in frames:
        assert frame.shape == (120, 320, 3)
        assert (np.ptp(frame[60:, 160:], axis=2) > 30).any()  # heat: the rest of this half is grey
    assert len(list((tmp_path / "m").iterdir())) == 4


@pytest.mark.parametrize("memory", ["sam2", "samurai", "uamp"])
def test_every_memory_setting(demo: Run, make_video: Make, make_mask: Make, tmp_path: Path, memory: str) -> None:
    outcome = demo("--input", make_video(frames=4), "--mask", make_mask(), "--memory", memory, "--json", "r.json")
    assert outcome.code == 0, outcome
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["memory"] == memory
    for entry in report["per_frame"]:
        assert set(entry["objects"]) == {"1", "3"}
        for state in entry["objects"].values():
            assert 0 <= state["score"] <= 1
            assert (state["uncertainty"] is None) if not state["area"] else 0 <= state["uncertainty"] <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 400), (63, 95)])
def test_odd_sizes(demo: Run, make_video: Make, tmp_path: Path, height: int, width: int) -> None:
    video = make_video(frames=2, height=height, width=width)
    outcome = demo("--input", video, "--box", f"0,0,{width},{height}")
    assert outcome.code == 0, outcome
    assert _shape(tmp_path / "in_uamp.mp4")[:3] == (2, width, height)


def test_truncated_video_says_how_much(demo: Run, make_video: Make, tmp_path: Path) -> None:
    whole = make_video("whole.mp4", frames=40, height=240, width=320).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    outcome = demo("--input", "cut.mp4", "--box", "40,60,100,120")
    assert outcome.code == 0, outcome
    frames = _shape(tmp_path / "cut_uamp.mp4")[0]
    assert 0 < frames < 40
    assert "note " in outcome.out
    assert str(frames) in next(line for line in outcome.out.splitlines() if line.startswith("note"))
