"""The page of an evaluation: what is in it as text, and that a real browser finds its parts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from label_videos import LabelVideo, random_labels, write_results
from tiny_videos import MANY, TinyVideo, read_mask
from uamp_eval.calibration import RELIABILITY_BINS, Calibration
from uamp_eval.report import render_report, write_report
from uamp_eval.results_files import Evaluation
from uamp_eval.scoring import score_results
from uamp_eval.sequences import Ids, VideoSequence

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NASTY = "<b>&\"'{{ 1 }}"


def predict(video: TinyVideo, drift: int) -> Ids:
    """The truth, drifting to the right and lost in the last frames."""
    truth = np.stack([video.annotation(frame) for frame in range(video.length)])
    moved = np.stack([np.roll(ids, drift * frame, axis=1) for frame, ids in enumerate(truth)])
    if drift > 1:
        moved[-2:] = 0
    return moved


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> list[Evaluation]:
    root = tmp_path_factory.mktemp("results")
    made = []
    rng = np.random.default_rng(0)
    for name, drift in (("sam2", 2), (NASTY, 1)):
        folder = root / f"drift{drift}"
        for video in VIDEOS:
            write_results(folder, video.name, predict(video, drift))
        objects = score_results(VIDEOS, folder, read=read_mask, workers=1)
        settings = {"model": "nano", "memory": name, "nested": {"alpha": drift}, "frames": [1, 2], "checkpoint": None}
        record = {"weights": "3f2a", "sequences": {"bear": {"digest": "beef"}}}
        doubt = Calibration(sequences=drift)  # of all videos, and of one alone
        for sources in doubt.histograms.values():
            for histogram in sources.values():
                histogram.add(rng.random(2000, dtype=np.float32), rng.random(2000) < 0.3)
        made.append(Evaluation(name, objects, folder, settings, {"uamp-eval": "0.1.0"}, record, calibration=doubt))
    return made


VIDEOS = [MANY[0], TinyVideo("cows", length=6, enters={1: 0, 2: 0})]
OBJECTS, SETTINGS = 3, 2


@pytest.fixture(scope="module")
def page_file(evaluations: list[Evaluation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, evaluations, VIDEOS, read=read_mask, title="Tiny <videos>", about="two discs & a third")
    return path


def test_text_is_escaped_and_nothing_points_outside(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert "Tiny &lt;videos&gt;" in text
    assert "<b>" not in text
    assert "<script" not in text
    for address in re.findall(r'(?:src|href|xlink:href|action)="([^"]*)"', text) + re.findall(r"url\(([^)]*)\)", text):
        assert address.startswith("data:"), address
    assert "beef" not in text  # the record's list of videos would fill pages


def test_one_setting_and_one_perfect_video(tmp_path: Path) -> None:
    video = LabelVideo("still", np.repeat(random_labels(1, 1, (20, 30), 1), 3, axis=0))
    video.truth[:, 4:9, 4:9] = 1
    write_results(tmp_path, "still", video.truth)
    objects = score_results([video], tmp_path, read=read_mask)
    text = render_report([Evaluation("sam2", objects, tmp_path)], [video], read=read_mask)
    assert "Every frame is perfect." in text
    assert "1 sequence · 1 object · 1 scored mask" in text
    assert text.count("<polyline") == 1
    assert 'id="calibration"' not in text


def test_many_sequences_start_folded(tmp_path: Path) -> None:
    videos: list[VideoSequence] = []
    for number in range(61):
        video = LabelVideo(f"v{number:02d}", random_labels(number, 4, (16, 16), 1))
        video.truth[0, :4, :4] = 1
        write_results(tmp_path, video.name, random_labels(number + 100, 4, (16, 16), 1))
        videos.append(video)
    objects = score_results(videos, tmp_path, read=read_mask, workers=1)
    text = render_report([Evaluation("sam2", objects, tmp_path)], videos, read=read_mask)
    assert "<details open>" not in text
    assert text.count('class="card panel"') == 61
    assert text.count("<img") == 12


class Visit:
    """The page in a browser that notes every complaint and every address asked for."""

    def __init__(self, browser: "Browser", path: Path, width: int, scheme: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=True,
        )
        self.page: Page = self._context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def close(self) -> None:
        self._context.close()


@pytest.fixture(params=[("light", 1280), ("dark", 1280), ("dark", 390)], ids=["light", "dark", "narrow"])
def visit(request: pytest.FixtureRequest, browser: "Browser", page_file: Path) -> Iterator[Visit]:
    scheme, width = request.param
    visit = Visit(browser, page_file, width, scheme)
    yield visit
    visit.close()


def test_a_browser_finds_every_part(visit: Visit) -> None:
    page = visit.page
    assert page.title() == "Tiny <videos>"
    assert page.locator("#figures tbody tr").count() == SETTINGS
    assert page.locator("#figures tbody td").count() == SETTINGS * 7

    bars = page.locator("#sequences .fill")
    assert bars.count() == len(VIDEOS) * SETTINGS
    for number in range(bars.count()):
        box = bars.nth(number).bounding_box()
        assert box is not None
        assert box["width"] > 20
        assert box["height"] > 5

    curves = page.locator("#curves .panel polyline")
    assert page.locator("#curves .panel").count() == OBJECTS
    assert curves.count() == OBJECTS * SETTINGS
    assert curves.evaluate_all("lines => lines.every(line => line.getTotalLength() > 0.5)")
    assert (page.locator("#curves .hint title").first.text_content() or "").startswith("00001: sam2 ")

    assert page.locator("#calibration .doubt").count() == SETTINGS
    assert page.locator("#calibration polyline").count() == SETTINGS * 3
    assert page.locator("#calibration .dot").count() == SETTINGS * RELIABILITY_BINS
    assert page.locator("#calibration tbody tr").count() == SETTINGS * 3
    assert page.locator("#calibration tbody .best").count() >= SETTINGS * 3
    assert page.get_by_text("1 of 2 sequences").is_visible()
    square = page.locator("#calibration .doubt").first.bounding_box()
    assert square is not None
    assert square["width"] == pytest.approx(square["height"], abs=1)

    pictures = page.locator("#worst img")
    assert pictures.count() == OBJECTS * SETTINGS
    assert pictures.evaluate_all("images => images.every(image => image.complete && image.naturalWidth === 480)")
    assert pictures.evaluate_all("images => images.every(image => image.alt.includes('contours'))")
    assert page.get_by_text("nothing predicted").first.is_visible()

    assert page.locator("#details").get_by_text("3f2a").is_visible()
    assert page.locator("#details").get_by_text("nested: alpha").is_visible()
    assert page.get_by_text(NASTY, exact=True).first.is_visible()


def test_a_browser_has_nothing_to_complain_of(visit: Visit, page_file: Path) -> None:
    visit.page.wait_for_load_state("networkidle")
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [page_file.as_uri()]
    # nothing is wider than the window
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_light_and_dark_differ_and_can_be_read(browser: "Browser", page_file: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        visit = Visit(browser, page_file, 900, scheme)
        style = "element => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]"
        seen[scheme] = [
            sum(map(int, re.findall(r"\d+", text)[:3])) for text in visit.page.locator("body").evaluate(style)
        ]
        visit.close()
    assert seen["light"][0] < 200 < 600 < seen["light"][1]
    assert seen["dark"][1] < 200 < 600 < seen["dark"][0]
