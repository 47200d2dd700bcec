"""The documented conversions, against arrays that are known."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from PIL import Image

from segmi.datasets.bands import decode_image
from segmi.datasets.decode import decode_mask, indices_of, printable

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (6, 8), dtype=np.uint8)


def ids(path) -> np.ndarray:
    return indices_of(decode_mask(path), path)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_rgb_round_trip(tmp_path, suffix):
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}")
    image = decode_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(image, RGB)
    assert image.flags.writeable
    assert image.flags.c_contiguous


def test_gray_becomes_three_equal_channels(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), np.stack([GRAY] * 3, axis=-1))


def test_alpha_is_dropped_not_blended(tmp_path):
    Image.fromarray(np.dstack([RGB, np.zeros((6, 8), np.uint8)])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), RGB)
    Image.fromarray(np.dstack([GRAY, np.zeros((6, 8), np.uint8)])).save(tmp_path / "b.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "b.png"), np.stack([GRAY] * 3, axis=-1))


def test_palette_and_black_and_white_images(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "p.png", transparency=0)
    np.testing.assert_array_equal(decode_image(tmp_path / "p.png")[0], [[10, 20, 30], [40, 50, 60]])
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "1.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "1.png")[0], [[255] * 3, [0] * 3])


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")  # no cyan, all magenta and yellow: red
    image = decode_image(tmp_path / "a.jpg")
    assert image.shape == (8, 8, 3)
    assert np.abs(image.astype(int) - (255, 0, 0)).max() < 12


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (8, lambda a: np.rot90(a))],
)
def test_exif_orientation_is_applied_to_both(tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), upright(RGB))
    Image.fromarray(GRAY).save(tmp_path / "m.png", exif=exif)
    np.testing.assert_array_equal(ids(tmp_path / "m.png"), upright(GRAY))


def test_a_photograph_with_previews_is_one_image(tmp_path):
    first = Image.fromarray(np.full((16, 16, 3), 200, dtype=np.uint8))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[first.resize((8, 8))])
    assert decode_image(tmp_path / "a.jpg").shape == (16, 16, 3)


@pytest.mark.parametrize(("bits", "largest"), [(1, 1), (2, 3), (4, 15), (8, 255)])
@pytest.mark.parametrize("palette", [False, True])
def test_masks_of_few_bits_keep_their_values(tmp_path, bits, largest, palette):
    values = np.resize(np.arange(largest + 1, dtype=np.uint8), (4, 64))
    path = tmp_path / "m.png"
    write_png(path, values, bits, palette)
    np.testing.assert_array_equal(ids(path), values)


def write_png(path, values, bits, palette) -> None:
    """A grayscale or palette PNG of a bit depth, written by hand: Pillow does not write gray of 2 and 4 bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    height, width = values.shape
    every_bit = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(every_bit.reshape(height, -1).astype(np.uint8), axis=1)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, 3 if palette else 0, 0, 0, 0])
    colors = chunk(b"PLTE", bytes(RNG.integers(0, 256, 3 << bits, dtype=np.uint8))) if palette else b""
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colors + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint16, ".png"), (np.uint16, ".tif"), (np.int32, ".tif")])
def test_small_values_of_more_bits_are_kept(tmp_path, dtype, suffix):
    Image.fromarray(GRAY.astype(dtype)).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(ids(tmp_path / f"a{suffix}"), GRAY)


def test_the_alpha_of_a_mask_is_dropped(tmp_path):
    Image.fromarray(np.dstack([GRAY, np.zeros((6, 8), np.uint8)])).save(tmp_path / "m.png")
    np.testing.assert_array_equal(ids(tmp_path / "m.png"), GRAY)
    Image.fromarray(np.dstack([RGB, np.zeros((6, 8), np.uint8)])).save(tmp_path / "c.png")
    np.testing.assert_array_equal(np.array(decode_mask(tmp_path / "c.png")), RGB)


def test_one_pixel(tmp_path):
    Image.fromarray(RGB[:1, :1]).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png").shape == (1, 1, 3)


@pytest.mark.parametrize(
    "name", ["with space.png", "Straße 🚗 é.png", "caf\udce9.png", "quote'\".png", "-dash.png", "two\nlines.png"]
)
def test_any_file_name(tmp_path, name):
    path = tmp_path / name
    try:
        Image.fromarray(RGB).save(path)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    np.testing.assert_array_equal(decode_image(path), RGB)
    text = printable(path)
    text.encode("utf-8")
    assert "\n" not in text
