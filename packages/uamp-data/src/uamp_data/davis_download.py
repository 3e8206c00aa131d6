"""Fetching DAVIS from where its authors keep it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from uamp_data.davis import DavisDataset, split_lists
from uamp_data.download import Progress, check_url, download_file
from uamp_data.errors import DataError
from uamp_data.layout import LISTS_FOLDER, MASKS_FOLDER, Layout, find_layout
from uamp_data.numbering import list_folders
from uamp_data.unpack import merge_tree, unpacked

_SITE_2016: Final = "https://graphics.ethz.ch/Downloads/Data/Davis"
_SITE_2017: Final = "https://data.vision.ee.ethz.ch/csergi/share/davis"
_TOP_FOLDER: Final = "DAVIS"
_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """A file to download.

    Attributes:
        url: Where it is.
        algorithm: Of the digest: md5 or sha256.
        digest: Hexadecimal; None if nobody published one.
    """

    url: str
    algorithm: str = "sha256"
    digest: str | None = None

    @property
    def file_name(self) -> str:
        """The last part of the address, as a name that any disk takes."""
        name = PurePosixPath(unquote(urlsplit(self.url).path)).name
        return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "davis.zip"


# The digest of 2016 stands in the authors' own download script, those of trainval 2017 in TensorFlow Datasets.
DAVIS_ARCHIVES: Final = {
    (2016, "trainval", "480p"): Archive(f"{_SITE_2016}/DAVIS-data.zip", "md5", "0cb3cf9c5617209fa3cc4794e52a2ffa"),
    (2016, "trainval", "1080p"): Archive(f"{_SITE_2016}/DAVIS-data.zip", "md5", "0cb3cf9c5617209fa3cc4794e52a2ffa"),
    (2017, "trainval", "480p"): Archive(
        f"{_SITE_2017}/DAVIS-2017-trainval-480p.zip",
        digest="e3d0b5b77c3d031b000a19e0e25e3e2cac65d183755601bc2cf066df1a2aa492",
    ),
    (2017, "trainval", "Full-Resolution"): Archive(
        f"{_SITE_2017}/DAVIS-2017-trainval-Full-Resolution.zip",
        digest="519494b320e7a333b98188e0f44e028f379c3312a1fc1a3e8bddd64b2c9ecfaf",
    ),
    (2017, "test-dev", "480p"): Archive(f"{_SITE_2017}/DAVIS-2017-test-dev-480p.zip"),
    (2017, "test-dev", "Full-Resolution"): Archive(f"{_SITE_2017}/DAVIS-2017-test-dev-Full-Resolution.zip"),
    (2017, "test-challenge", "480p"): Archive(f"{_SITE_2017}/DAVIS-2017-test-challenge-480p.zip"),
    (2017, "test-challenge", "Full-Resolution"): Archive(f"{_SITE_2017}/DAVIS-2017-test-challenge-Full-Resolution.zip"),
}
"""By year, split and resolution; the archive of 2016 has both resolutions."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A data set that is here now.

    Attributes:
        root: Its tree.
        archive: The archive, if it was kept.
        sha256: Digest of the archive; None if the tree was there before.
        verified: Whether a published digest was compared.
    """

    root: Path
    archive: Path | None = None
    sha256: str | None = None
    verified: bool = False


def find_archive(year: int, split: str, resolution: str) -> Archive:
    """The published archive of a split; train and val come together.

    Raises:
        DataError: There is none.
    """
    split = "trainval" if split in ("train", "val") else split
    found = DAVIS_ARCHIVES.get((year, split, resolution))
    if found is None:
        there = ", ".join(f"{one} {two} {three}" for one, two, three in DAVIS_ARCHIVES)
        raise DataError(f"There is no archive of DAVIS {year} {split} {resolution}: choose from {there}.")
    return found


def is_complete(root: Path, year: int, split: str, resolution: str) -> bool:
    """Whether a tree already has every frame and mask of a split; no picture is read."""
    splits = ("train", "val") if split in ("train", "val", "trainval") else (split,)
    try:
        return all(len(DavisDataset(root, year, one, resolution)) > 0 for one in splits)
    except DataError:
        return False


def fetch_davis(
    folder: Path,
    archive: Archive,
    *,
    year: int = 2017,
    keep_archive: bool = False,
    on_phase: Callable[[str], Progress | None] | None = None,
) -> Fetched:
    """Downloads an archive of DAVIS and unpacks it into `folder`; a tree that is there is completed.

    The archive lies in `folder` until it is unpacked. If anything fails it stays there, so that the next call goes on
    from it; what differs from its published digest is deleted.

    Args:
        folder: Where the tree DAVIS is put, or that tree.
        archive: What to fetch; an archive that lies in the folder under its name is not fetched again.
        year: The release it belongs to.
        keep_archive: Whether to leave the archive where it is.
        on_phase: Told what begins (the archive's name, then "Unpacking"); gives the function to report bytes to.

    Raises:
        DataError: The file cannot be had, is not the published one or holds no DAVIS tree; or the tree in the folder is
            of another release, whose masks would be overwritten.
    """
    check_url(archive.url)
    root = tree_in(folder)
    _require_same_release(root, year)
    path = folder / archive.file_name
    was_there = path.is_file()
    if not was_there:
        download_file(archive.url, path, progress=on_phase(archive.file_name) if on_phase else None)
    sha256 = _verify(path, archive, was_there=was_there)
    with unpacked(path, folder, progress=on_phase("Unpacking") if on_phase else None) as temporary:
        trees = [inside for inside in (temporary, *list_folders(temporary)) if find_layout(inside) is Layout.DAVIS]
        if not trees:
            raise DataError(f"The archive {path} holds no DAVIS tree: delete it and use the published one.")
        merge_tree(trees[0], root)
    if not keep_archive:
        path.unlink(missing_ok=True)
    return Fetched(root, path if keep_archive else None, sha256, archive.digest is not None)


def tree_in(folder: Path) -> Path:
    """Where the tree goes: into the folder's DAVIS, unless it is that already."""
    is_tree = folder.resolve().name == _TOP_FOLDER or find_layout(folder) is Layout.DAVIS
    return folder if is_tree else folder / _TOP_FOLDER


def _require_same_release(root: Path, year: int) -> None:
    """The releases share file names, but their masks differ."""
    if not (root / MASKS_FOLDER).is_dir() or not (root / LISTS_FOLDER).is_dir():
        return
    there = next((one for one in (2017, 2016) if split_lists(root, one)), year)
    if there != year:
        raise DataError(
            f"{root} holds DAVIS {there}, whose masks those of {year} would overwrite: name another folder."
        )


def _verify(path: Path, archive: Archive, *, was_there: bool) -> str:
    """Compares the digest, if there is one to compare with, and returns the SHA-256."""
    sha256, own = hashlib.sha256(), hashlib.new(archive.algorithm)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                sha256.update(block)
                if archive.algorithm != "sha256":
                    own.update(block)
    except OSError as error:
        raise DataError(f"The archive {path} cannot be read ({error.strerror}): check the disk.") from error
    found = sha256.hexdigest() if archive.algorithm == "sha256" else own.hexdigest()
    if archive.digest is None or found == archive.digest.lower():
        return sha256.hexdigest()
    if was_there:
        raise DataError(f"{path} is not the file that is expected (its {archive.algorithm} is {found}): move it away.")
    path.unlink(missing_ok=True)
    raise DataError(
        f"What came from {archive.url} is not the file that is expected (its {archive.algorithm} is {found}) and was "
        "deleted: try again or use another address."
    )
