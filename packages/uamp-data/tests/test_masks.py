from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from uamp_data import DataError, davis_palette, read_annotation, read_mask, write_mask


def saved(tmp_path: Path, picture: Image.Image, name: str = "mask.png") -> Path:
    path = tmp_path / name
    picture.save(path)
    return path


def grey(*rows: list[int], dtype: type[np.generic] = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype=dtype))


def with_palette(indices: list[list[int]], palette: bytes) -> Image.Image:
    picture = grey(*indices)
    picture.putpalette(palette)
    return picture


@settings(max_examples=50, deadline=None)
@given(ids=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_what_is_written_is_read(ids: npt.NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("masks") / "00000.png"
    write_mask(path, ids)
    again = read_mask(path)
    assert again.dtype == np.uint8
    assert np.array_equal(again, ids)
    assert [file.name for file in path.parent.iterdir()] == ["00000.png"]


@settings(max_examples=50, deadline=None)
@given(ids=arrays(np.uint8, (4, 5), elements=st.integers(0, 255)))
def test_a_mask_drawn_in_the_colours_of_davis_is_read_back(
    ids: npt.NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("masks") / "drawn.png"
    ids[0, 0] = 1  # a colour that is not grey
    Image.fromarray(davis_palette()[ids]).save(path)
    assert np.array_equal(read_mask(path), ids)


def test_the_palette_of_davis() -> None:
    palette = davis_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == 256
    # as the data set's own page shows its first objects
    assert palette[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette[[7, 8, 64, 255]].tolist() == [[128, 128, 128], [64, 0, 0], [32, 0, 0], [224, 224, 192]]


def test_the_file_is_a_palette_picture(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "00007.png"
    write_mask(path, np.array([[0, 1], [2, 255]]))
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert picture.convert("RGB").getpixel((1, 0)) == (128, 0, 0)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.uint8, np.uint16])
def test_any_whole_numbers_can_be_written(tmp_path: Path, dtype: type[np.generic]) -> None:
    path = tmp_path / "mask.png"
    write_mask(path, np.array([[0, 1, 1]]).astype(dtype)[:, ::-1])
    assert read_mask(path).tolist() == [[1, 1, 0]]


GREYS = bytes(np.repeat(np.arange(256, dtype=np.uint8), 3))
DAVIS = davis_palette().tobytes()

CASES = {
    "palette": (with_palette([[0, 3, 255]], DAVIS), [[0, 3, 255]]),
    "palette, void beside nothing": (with_palette([[0, 255, 255]], DAVIS), [[0, 255, 255]]),
    "palette of other colours": (with_palette([[0, 2, 1]], bytes([9, 8, 7, 200, 0, 0, 0, 200, 0])), [[0, 2, 1]]),
    "palette of greys": (with_palette([[0, 255, 255]], GREYS), [[0, 1, 1]]),
    "palette of black and white": (with_palette([[0, 1, 1]], bytes([0, 0, 0, 255, 255, 255])), [[0, 1, 1]]),
    "palette all black": (with_palette([[0, 1, 2]], bytes(9)), [[0, 1, 2]]),
    "1 bit": (grey([0, 255, 255]).convert("1"), [[0, 1, 1]]),
    "0 and 255": (grey([0, 255, 255]), [[0, 1, 1]]),
    "all 255": (grey([255, 255]), [[1, 1]]),
    "all 0": (grey([0, 0]), [[0, 0]]),
    "0 and 1": (grey([0, 1, 1]), [[0, 1, 1]]),
    "ids": (grey([0, 5, 127]), [[0, 5, 127]]),
    "ids and void": (grey([0, 1, 2, 255]), [[0, 1, 2, 255]]),
    "soft edges": (grey([0, 40, 127, 128, 200, 255]), [[0, 0, 0, 1, 1, 1]]),
    "16 bit, 0 and 65535": (grey([0, 65535], dtype=np.uint16), [[0, 1]]),
    "16 bit ids": (grey([0, 3, 2], dtype=np.uint16), [[0, 3, 2]]),
    "16 bit, 0 and 255": (grey([0, 255], dtype=np.uint16), [[0, 1]]),
    "LA": (Image.merge("LA", [grey([0, 255, 255]), grey([0, 255, 128])]), [[0, 1, 1]]),
    "LA of one grey": (Image.merge("LA", [grey([255, 255]), grey([0, 255])]), [[0, 1]]),
    "RGB grey": (grey([0, 255, 0]).convert("RGB"), [[0, 1, 0]]),
    "RGB grey ids": (grey([0, 2, 1]).convert("RGB"), [[0, 2, 1]]),
    "RGBA grey": (grey([0, 255, 0]).convert("RGBA"), [[0, 1, 0]]),
    "RGBA of one colour": (Image.merge("RGBA", [grey([9, 9]), grey([80, 80]), grey([7, 7]), grey([0, 255])]), [[0, 1]]),
    "RGB in DAVIS colours": (with_palette([[0, 1, 200, 255]], DAVIS).convert("RGB"), [[0, 1, 200, 255]]),
    "RGBA in DAVIS colours": (with_palette([[0, 1, 200]], DAVIS).convert("RGBA"), [[0, 1, 200]]),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_mask(tmp_path: Path, name: str) -> None:
    picture, expected = CASES[name]
    ids = read_mask(saved(tmp_path, picture))
    assert ids.dtype == np.uint8
    assert ids.tolist() == expected
    ids[0, 0] = 1  # the caller may change it


def test_jpeg_is_a_mask_with_soft_edges(tmp_path: Path) -> None:
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[8:24, 8:24] = 255
    path = saved(tmp_path, Image.fromarray(mask), "mask.jpg")
    assert np.array_equal(read_mask(path), mask > 0)


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_mask(path)
    message = str(caught.value)
    assert message.count("\n") == 0
    assert message.endswith(".")
    return message


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "missing.png")
    assert "is a folder" in refused(tmp_path)
    text = tmp_path / "text.png"
    text.write_text("no picture")
    assert "damaged or not a picture" in refused(text)
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 2, (64, 64), dtype=np.uint8)
    Image.fromarray(noise * 255).save(whole, format="PNG")
    text.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    assert "damaged or not a picture" in refused(text)
    assert "grey value 200" in refused(saved(tmp_path, grey([0, 200])))
    assert "(1, 2, 3), which is not in the DAVIS palette" in refused(
        saved(tmp_path, Image.new("RGB", (2, 2), (1, 2, 3)))
    )
    assert "from 0 to 900" in refused(saved(tmp_path, grey([0, 900], dtype=np.uint16)))
    assert "colour mode CMYK" in refused(saved(tmp_path, Image.new("CMYK", (2, 2)), "mask.tif"))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_text("older")
    with pytest.raises(DataError, match="ids from 0 to 256"):
        write_mask(path, np.array([[0, 256]]))
    with pytest.raises(DataError, match="ids from -1"):
        write_mask(path, np.array([[0, -1]]))
    with pytest.raises(DataError, match="must be H×W whole numbers"):
        write_mask(path, np.zeros((2, 2, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="must be H×W whole numbers"):
        write_mask(path, np.zeros((2, 2)))  # type: ignore[arg-type]
    assert path.read_text() == "older"
    with pytest.raises(DataError, match="is not a folder"):
        write_mask(path / "0.png", np.zeros((2, 2), dtype=np.uint8))
    assert [file.name for file in tmp_path.iterdir()] == ["mask.png"]


WHITE = grey([0, 255, 255])

STRICT = {
    "palette": (with_palette([[0, 3, 255]], DAVIS), [[0, 3, 255]]),
    "palette, one grey colour": (with_palette([[0, 7, 7]], DAVIS), [[0, 7, 7]]),
    "palette of greys, black and white": (with_palette([[0, 255, 255]], GREYS), [[0, 1, 1]]),
    "palette of greys, ids": (with_palette([[0, 2, 255]], GREYS), [[0, 2, 255]]),
    "palette of white and black": (with_palette([[0, 1, 1]], bytes([255, 255, 255, 0, 0, 0])), [[1, 0, 0]]),
    "grey, black and white": (WHITE, [[0, 1, 1]]),
    "grey, white alone": (grey([255, 255]), [[1, 1]]),
    "grey, black alone": (grey([0, 0]), [[0, 0]]),
    "grey, ids as stored": (grey([0, 1, 130]), [[0, 1, 130]]),
    "grey, ids and void": (grey([0, 1, 255]), [[0, 1, 255]]),
    "1 bit": (WHITE.convert("1"), [[0, 1, 1]]),
    "LA, black and white": (WHITE.convert("LA"), [[0, 1, 1]]),
    "LA, ids and void": (grey([0, 1, 130, 255]).convert("LA"), [[0, 1, 130, 255]]),
    "LA, half transparent everywhere": (Image.merge("LA", [grey([0, 1, 1]), grey([128, 128, 128])]), [[0, 1, 1]]),
}


@pytest.mark.parametrize("name", STRICT)
def test_a_benchmark_s_mask_is_read_as_stored(tmp_path: Path, name: str) -> None:
    picture, expected = STRICT[name]
    ids = read_annotation(saved(tmp_path, picture))
    assert ids.dtype == np.uint8
    assert ids.tolist() == expected


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_not_spread(tmp_path: Path, bits: int) -> None:
    samples = {2: 0b00_01_10_11, 4: 0x03}[bits]
    width = 8 // bits
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes([0, samples]))),
        (b"IEND", b""),
    ]
    path = tmp_path / "few.png"
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    assert read_annotation(path).tolist() == [{2: [0, 1, 2, 3], 4: [0, 3]}[bits]]


@pytest.mark.parametrize(
    ("picture", "name", "words"),
    [
        (grey([0, 1], dtype=np.uint16), "mask.png", "16 bits"),
        (WHITE.convert("RGB"), "mask.png", "RGB colours"),
        (WHITE.convert("RGBA"), "mask.png", "transparency"),
        (Image.merge("LA", [WHITE, WHITE]), "mask.png", "transparency that varies"),
        (WHITE, "mask.jpg", "not a PNG"),
        (WHITE, "mask.tif", "not a PNG"),
    ],
)
def test_what_could_be_misread_is_refused(tmp_path: Path, picture: Image.Image, name: str, words: str) -> None:
    path = saved(tmp_path, picture, name)
    with pytest.raises(DataError, match=words) as caught:
        read_annotation(path)
    assert str(path) in str(caught.value)


def test_every_cut_and_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    whole = saved(tmp_path, with_palette([[0, 1, 2, 3]] * 3, DAVIS[:12])).read_bytes()
    path = tmp_path / "damaged.png"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"damaged.png .*replace|damaged.png is not a PNG"):
            read_annotation(path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"damaged.png"):
            read_annotation(path)


def test_a_missing_mask_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_annotation(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder"):
        read_annotation(tmp_path)
