"""`uamp data download`: fetching a data set from where its authors keep it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from uamp_model.errors import InputError

from uamp_cli.terminal import err_console, out_console

if TYPE_CHECKING:
    from uamp_data.davis_download import Archive

_DATA_SETS = ("davis",)


def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="davis.")],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the folder DAVIS is put; or that folder itself.")
    ] = Path(),
    year: Annotated[int, typer.Option(metavar="2016|2017", help="The release.")] = 2017,
    split: Annotated[str, typer.Option(help="trainval (train and val), test-dev or test-challenge.")] = "trainval",
    resolution: Annotated[str, typer.Option(help="480p or Full-Resolution.")] = "480p",
    url: Annotated[str | None, typer.Option(help="Fetch the archive from here instead of its authors' server.")] = None,
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="Digest that the archive must have.")] = None,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Leave the ZIP file in DIR.")] = False,
) -> None:
    """Download DAVIS and unpack it.

    An interrupted download goes on where it stopped. The data belongs to its authors, who allow its use under
    CC BY-NC 4.0: see davischallenge.org.
    """
    from uamp_data.davis_download import fetch_davis, is_complete, tree_in

    from uamp_cli.byte_progress import ByteProgress

    if name.lower() not in _DATA_SETS:
        raise InputError(f"There is no data set {name!r} to download: choose from {', '.join(_DATA_SETS)}.")
    archive = _choose_archive(year, split, resolution, url, sha256)
    root = tree_in(folder)
    if is_complete(root, year, split, resolution):
        _say(f"DAVIS {year} {split} {resolution} is already here: {root}")
        return
    err = err_console()
    with ByteProgress(err) as progress:

        def begin(what: str) -> Callable[[int, int | None], None]:
            progress.begin(what)
            return progress.update

        try:
            fetched = fetch_davis(folder, archive, year=year, keep_archive=keep_archive, on_phase=begin)
        except KeyboardInterrupt:
            if any(folder.glob(f"{archive.file_name}*")):  # whole, or a part
                text = f"What has arrived is kept in {folder}: run the same command to go on."
                err.print(text, highlight=False, markup=False, soft_wrap=True)
            raise
    if not fetched.verified:
        _say(f"No digest of {archive.file_name} is known; its SHA-256 is {fetched.sha256}.")
    if fetched.archive is not None:
        _say(f"The archive: {fetched.archive}")
    _say(f"DAVIS {year} {split} {resolution}: {fetched.root}")


def _choose_archive(year: int, split: str, resolution: str, url: str | None, sha256: str | None) -> "Archive":
    from uamp_data.davis_download import Archive, find_archive

    if sha256 is not None and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
        raise InputError("--sha256 must be 64 hexadecimal digits, as sha256sum prints them.")
    if url is not None:
        return Archive(url, digest=sha256)
    published = find_archive(year, split, resolution)
    return published if sha256 is None else Archive(published.url, digest=sha256)


def _say(text: str) -> None:
    out_console().print(text, highlight=False, markup=False, soft_wrap=True)
