"""The models UAMP knows by name: their configuration, weights, size and licence.

Addresses are those of SAM 2's own download script. Sizes and digests of the official files agree across several
independent public projects that pin them; a download is checked against both.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral
from typing import Final

from uamp_model.errors import InputError


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the catalog.

    Attributes:
        name: the name to ask for it by.
        config: path of its YAML inside the sam2 package, or inside uamp_model for a bundled model.
        checkpoint: file name of its weights; for a bundled model their path inside uamp_model.
        url: where the weights are published; None for a bundled model.
        size_bytes: size of the published file, None if unknown.
        sha256: digest of the published file in lower-case hexadecimal, None if unknown.
        parameters: number of learned values.
        image_size: side S of the square input, pixels.
        trunk_width: channels of the image encoder's first stage.
        trunk_blocks: number of the image encoder's blocks.
        licence: SPDX identifier of the weights' licence.
        bundled: whether the weights ship with uamp_model.
        note: one line for a list of models.
        rehearsal: path inside uamp_model of the layers that a rehearsal begins at, None where it begins at nothing.
    """

    name: str
    config: str
    checkpoint: str
    url: str | None
    size_bytes: int | None
    sha256: str | None
    parameters: int
    image_size: int
    trunk_width: int
    trunk_blocks: int
    licence: str
    bundled: bool
    note: str
    rehearsal: str | None = None


SIDE_STEP: Final = 32
"""Pixels: an input's side is a multiple, since the image encoder's coarsest cells are so large."""
LARGEST_SIDE: Final = 2048

_DOWNLOADS: Final = "https://dl.fbaipublicfiles.com/segment_anything_2"

# the file of each size is published under its long name, its configuration under the letter
_LETTERS: Final = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}
_PUBLISHED: Final = {"sam2": "072824", "sam2.1": "092824"}
_TRUNKS: Final = {"tiny": (96, 12), "small": (96, 16), "base-plus": (112, 24), "large": (144, 48)}


def _official(family: str, size: str, *, parameters: int, size_bytes: int, sha256: str, note: str) -> ModelSpec:
    file = f"{family}_hiera_{size.replace('-', '_')}.pt"
    width, blocks = _TRUNKS[size]
    return ModelSpec(
        name=f"{family}-hiera-{size}",
        config=f"configs/{family}/{family}_hiera_{_LETTERS[size]}.yaml",
        checkpoint=file,
        url=f"{_DOWNLOADS}/{_PUBLISHED[family]}/{file}",
        size_bytes=size_bytes,
        sha256=sha256,
        parameters=parameters,
        image_size=1024,
        trunk_width=width,
        trunk_blocks=blocks,
        licence="Apache-2.0",
        bundled=False,
        note=note,
    )


_ALL: Final = (
    ModelSpec(
        name="nano",
        config="configs/nano.yaml",
        checkpoint="weights/nano.safetensors",
        url=None,
        size_bytes=None,
        sha256=None,
        parameters=3_625_890,
        image_size=448,
        trunk_width=32,
        trunk_blocks=7,
        licence="Apache-2.0",
        bundled=True,
        note="small SAM 2 of our own; works offline and on a laptop's CPU",
        rehearsal="weights/nano_rehearsal.safetensors",
    ),
    _official(
        "sam2.1",
        "tiny",
        parameters=38_962_498,
        size_bytes=156_008_466,
        sha256="7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        note="SAM 2.1, fastest of the official models",
    ),
    _official(
        "sam2.1",
        "small",
        parameters=46_060_354,
        size_bytes=184_416_285,
        sha256="6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        note="SAM 2.1, a little better than tiny at nearly its speed",
    ),
    _official(
        "sam2.1",
        "base-plus",
        parameters=80_850_178,
        size_bytes=323_606_802,
        sha256="a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        note="SAM 2.1, between small and large",
    ),
    _official(
        "sam2.1",
        "large",
        parameters=224_446_642,
        size_bytes=898_083_611,
        sha256="2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        note="SAM 2.1, best masks; wants a GPU",
    ),
    _official(
        "sam2",
        "tiny",
        parameters=38_945_986,
        size_bytes=155_906_050,
        sha256="65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        note="first SAM 2, tiny; prefer SAM 2.1",
    ),
    _official(
        "sam2",
        "small",
        parameters=46_043_842,
        size_bytes=184_309_650,
        sha256="95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
        note="first SAM 2, small; prefer SAM 2.1",
    ),
    _official(
        "sam2",
        "base-plus",
        parameters=80_833_666,
        size_bytes=323_493_298,
        sha256="d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
        note="first SAM 2, base-plus; prefer SAM 2.1",
    ),
    _official(
        "sam2",
        "large",
        parameters=224_430_130,
        size_bytes=897_952_466,
        sha256="7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
        note="first SAM 2, large; prefer SAM 2.1",
    ),
)

MODELS: Final[dict[str, ModelSpec]] = {spec.name: spec for spec in _ALL}
"""Every known model by its name, the bundled one first."""

_SUFFIXES: Final = (".yaml", ".yml", ".pt", ".pth", ".safetensors")


def _aliases() -> dict[str, str]:
    """Spelling, as `_plain` gives it → name: the catalog's names and the letters of SAM 2's configuration files."""
    found = {name: name for name in MODELS}
    for family in ("sam2", "sam2.1"):
        for size, letter in _LETTERS.items():
            found[f"{family}-hiera-{letter}"] = f"{family}-hiera-{size}"
    return found


def _plain(name: str) -> str:
    """The part of a name that counts: no folder or owner, no file suffix, lower case, dashes."""
    key = name.strip().replace("\\", "/").rsplit("/", 1)[-1].lower()
    for suffix in _SUFFIXES:
        key = key.removesuffix(suffix)
    return key.replace("_", "-")


def find_model(name: str) -> ModelSpec:
    """The model of that name, in any of the spellings people use.

    `sam2.1-hiera-large`, `sam2.1_hiera_l`, `sam2.1_hiera_large.pt`, `configs/sam2.1/sam2.1_hiera_l.yaml` and
    `facebook/sam2.1-hiera-large` are one model; case does not matter.

    Raises:
        InputError: if there is no such model; the message names those that are, the nearest first.
    """
    aliases = _aliases()
    key = _plain(str(name))
    if key in aliases:
        return MODELS[aliases[key]]
    near = dict.fromkeys(aliases[match] for match in get_close_matches(key, aliases, n=4, cutoff=0.5))
    known = ", ".join(near | dict.fromkeys(MODELS))
    raise InputError(f"There is no model called {name!r}: choose one of {known}.")


def check_image_size(side: int | None) -> None:
    """Whether a model can read squares of this side, in pixels; None is its own.

    Raises:
        InputError: if it cannot.
    """
    if side is None:
        return
    if not isinstance(side, Integral) or side % SIDE_STEP or not SIDE_STEP <= side <= LARGEST_SIDE:
        raise InputError(f"The image size {side} must be a multiple of {SIDE_STEP}, {LARGEST_SIDE} at most.")
