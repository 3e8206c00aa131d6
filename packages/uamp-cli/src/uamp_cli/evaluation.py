"""`uamp eval`: its commands; `evaluation_run.py` and `evaluation_score.py` do the work."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from uamp_model.errors import InputError

from uamp_cli.evaluation_options import RESULTS, Json, ResultOptions, TrackerOptions, Workers, with_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uamp_data.youtube_vos import YoutubeVosDataset
    from uamp_eval.sequences import VideoSequence

    _Dataset = Sequence[VideoSequence]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Measure trackers on benchmarks.")

_DATA = "Data"

DatasetRoot = Annotated[
    Path,
    typer.Option("--dataset-root", metavar="DIR", help="Folder of the data set.", rich_help_panel=_DATA),
]
Sequences = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME", help="Take these sequences alone, whatever the split says.", rich_help_panel=_DATA
    ),
]
Year = Annotated[int, typer.Option(metavar="2017|2016", help="Edition of DAVIS.", rich_help_panel=_DATA)]
Split = Annotated[str, typer.Option(help="train, val, test-dev ...", rich_help_panel=_DATA)]
Resolution = Annotated[
    str, typer.Option(metavar="480p|Full-Resolution", rich_help_panel=_DATA, help="Which of DAVIS's pictures.")
]


@app.callback()
def _eval() -> None:
    """Measure trackers on benchmarks."""


@app.command()
@with_options
def davis(
    dataset_root: DatasetRoot,
    year: Year = 2017,
    split: Split = "val",
    resolution: Resolution = "480p",
    sequences: Sequences = None,
    *,
    tracker: TrackerOptions,
    results: ResultOptions,
) -> None:
    """DAVIS, semi-supervised: the objects of the first mask are followed and scored by J and F.

    Splits without truth (test-dev) are only tracked; --submission then writes the zip for the server.

    Example: uamp eval davis --dataset-root DAVIS --model nano --memory sam2
    """
    from uamp_data.davis import DavisDataset
    from uamp_eval.scoring import ScoringRule

    data = DavisDataset(dataset_root, year=year, split=split, resolution=resolution, sequences=_names(sequences))
    from uamp_cli.evaluation_run import Benchmark, evaluate

    benchmark = Benchmark(
        folders=(dataset_root,),
        title=f"DAVIS {year} {split}",
        protocol=f"DAVIS {year} {split} {resolution}",
        slug=f"davis-{year}-{split}",
        rule=ScoringRule.DAVIS,
    )
    evaluate(data, benchmark, tracker, results)


@app.command("youtube-vos")
@with_options
def youtube_vos(
    dataset_root: DatasetRoot,
    year: Annotated[int, typer.Option(metavar="2019|2018", help="Edition.", rich_help_panel=_DATA)] = 2019,
    split: Annotated[str, typer.Option(help="train or valid.", rich_help_panel=_DATA)] = "valid",
    sequences: Sequences = None,
    *,
    tracker: TrackerOptions,
    results: ResultOptions,
) -> None:
    """YouTube-VOS: objects are followed from the frame in which each is first annotated.

    Every frame is processed (those of the all-frames download if it is there), the listed ones are written at their
    own size. Scores are given where the truth is at hand, G where the categories are too.

    Example: uamp eval youtube-vos --dataset-root YouTubeVOS --model nano --submission nano.zip
    """
    from uamp_data.youtube_vos import YoutubeVosDataset
    from uamp_eval.scoring import ScoringRule

    data = YoutubeVosDataset(dataset_root, year=year, split=split, sequences=_names(sequences))
    from uamp_cli.evaluation_run import Benchmark, evaluate

    benchmark = Benchmark(
        folders=(dataset_root,),
        title=f"YouTube-VOS {year} {split}",
        protocol=f"YouTube-VOS {year} {split}",
        slug=f"youtube-vos-{year}-{split}",
        rule=ScoringRule.YOUTUBE_VOS,
        submission_top="Annotations",
        seen=_seen(data),
    )
    evaluate(data, benchmark, tracker, results)


@app.command()
@with_options
def folder(
    frames: Annotated[Path, typer.Option(metavar="DIR", help="DIR/<sequence>/<frame>.jpg", rich_help_panel=_DATA)],
    annotations: Annotated[Path, typer.Option(metavar="DIR", help="DIR/<sequence>/<frame>.png", rich_help_panel=_DATA)],
    sequences: Sequences = None,
    late_objects: Annotated[
        bool,
        typer.Option(
            help="Follow each object from the first annotation that shows it, and score as YouTube-VOS does; "
            "otherwise the first annotation names all objects, and DAVIS's rules hold.",
            rich_help_panel=_DATA,
        ),
    ] = False,
    *,
    tracker: TrackerOptions,
    results: ResultOptions,
) -> None:
    """Any tree in DAVIS's layout, such as MOSE and LVOS.

    Example: uamp eval folder --frames MOSE/valid/JPEGImages --annotations MOSE/valid/Annotations
    """
    from uamp_data.folders import FolderDataset
    from uamp_eval.scoring import ScoringRule

    data = FolderDataset(frames, annotations, sequences=_names(sequences), late_objects=late_objects)
    from uamp_cli.evaluation_run import Benchmark, evaluate

    benchmark = Benchmark(
        folders=(frames, annotations),
        title=f"{frames}",
        protocol="folder, late objects" if late_objects else "folder",
        slug=f"folder-{frames.resolve().name}",
        rule=ScoringRule.YOUTUBE_VOS if late_objects else ScoringRule.DAVIS,
    )
    evaluate(data, benchmark, tracker, results)


@app.command()
def score(
    results: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="DIR/<sequence>/<frame>.png, or a folder that `uamp eval` wrote.",
            rich_help_panel=RESULTS,
        ),
    ],
    dataset_root: DatasetRoot,
    dataset: Annotated[
        str, typer.Option(metavar="davis|youtube-vos", help="Whose rules hold.", rich_help_panel=_DATA)
    ] = "davis",
    year: Annotated[
        int | None, typer.Option(metavar="YEAR", help="Edition; by default the latest.", rich_help_panel=_DATA)
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="By default val or valid.", rich_help_panel=_DATA, show_default=False)
    ] = None,
    resolution: Resolution = "480p",
    sequences: Sequences = None,
    ignore_extra_ids: Annotated[
        bool, typer.Option(help="Take ids that no object has as background.", rich_help_panel=RESULTS)
    ] = False,
    json: Json = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the report page.", rich_help_panel=RESULTS)
    ] = None,
    workers: Workers = None,
) -> None:
    """Score masks that lie on disk already, whoever made them, by the official rules.

    Example: uamp eval score --results masks --dataset-root DAVIS --json scores.json
    """
    from uamp_eval.scoring import ScoringRule

    from uamp_cli.evaluation_score import ScoreOptions, score_command

    rules = {"davis": ScoringRule.DAVIS, "youtube-vos": ScoringRule.YOUTUBE_VOS}
    if dataset not in rules:
        raise InputError(f"--dataset is {dataset!r}: use davis or youtube-vos.")
    data: _Dataset
    seen: dict[str, bool | None] = {}
    if dataset == "davis":
        from uamp_data.davis import DavisDataset

        year, split = 2017 if year is None else year, "val" if split is None else split
        data = DavisDataset(dataset_root, year=year, split=split, resolution=resolution, sequences=_names(sequences))
    else:
        from uamp_data.youtube_vos import YoutubeVosDataset

        if resolution != "480p":
            raise InputError("--resolution chooses among DAVIS's pictures: leave it out for youtube-vos.")
        year, split = 2019 if year is None else year, "valid" if split is None else split
        videos = YoutubeVosDataset(dataset_root, year=year, split=split, sequences=_names(sequences))
        data, seen = videos, _seen(videos)
    title = f"{'DAVIS' if dataset == 'davis' else 'YouTube-VOS'} {year} {split}"
    score_command(
        data,
        ScoreOptions(
            results=results,
            data=dataset_root,
            title=title,
            rule=rules[dataset],
            json=json,
            report=report,
            workers=workers,
            ignore_extra_ids=ignore_extra_ids,
            seen=seen,
        ),
    )


def _seen(videos: "YoutubeVosDataset") -> dict[str, bool | None]:
    """By object name, whether its category is in the training set; None where no training set is at hand."""
    known = videos.seen_categories
    return {
        f"{video.name}_{number}": category in known if known else None
        for video in videos
        for number, category in video.categories.items()
    }


def _names(text: str | None) -> list[str] | None:
    """The names of `--sequences`."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError("--sequences names no sequence: give their folders' names, with commas between.")
    return names
