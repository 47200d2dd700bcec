"""Images of 8 to 32 bits and 1 to 16 bands, against the arrays that were written."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from segmi.datasets.bands import decode_image, image_header, read_bands
from segmi.datasets.decode import decode_mask
from segmi.datasets.image_format import Bands, ImageFormat
from segmi.errors import DataError

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (6, 8, 5)).astype(np.uint16)
TYPE = {"value_range": "type"}
EXTRA = {"photometric": "minisblack", "extrasamples": ["unspecified"] * 4}


def stored(path) -> np.ndarray:
    return read_bands(path)[0].pixels


def first(count: int, **options) -> ImageFormat:
    return ImageFormat(bands=tuple(range(1, count + 1)), **options)


@pytest.mark.parametrize("bands", [3, 4])
def test_16_bit_color_png_keeps_all_bits(tmp_path, bands):
    pixels = np.ascontiguousarray(DEEP[..., :bands])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(stored(tmp_path / "a.png"), pixels)
    assert image_header(tmp_path / "a.png")[:4] == (8, 6, bands, "uint16")
    image = decode_image(tmp_path / "a.png", ImageFormat(value_range="type"))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, pixels[..., :3].astype(np.float32) / 65535)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw", "predictor": True},
        {"compression": "deflate", "tile": (16, 16)},
        {"compression": "zstd"},
        {"bigtiff": True, "byteorder": ">"},
    ],
)
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.uint8])
def test_tiff_of_five_bands(tmp_path, options, dtype):
    pixels = DEEP.view(np.int16).astype(dtype)
    planar = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "chunky.tif", pixels, planarconfig="contig", **EXTRA, **options)
    tifffile.imwrite(tmp_path / "planar.tif", planar, planarconfig="separate", **EXTRA, **options)
    for name in ("chunky.tif", "planar.tif"):
        np.testing.assert_array_equal(stored(tmp_path / name), pixels)
        assert stored(tmp_path / name).dtype == dtype
        assert image_header(tmp_path / name)[:4] == (8, 6, 5, np.dtype(dtype).name)


def test_tiff_arrays_that_tifffile_writes_as_pages(tmp_path):
    pixels = RNG.integers(0, 3000, (20, 24, 5)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "rows.tif", pixels)  # 20 pages of 24×5
    tifffile.imwrite(tmp_path / "bands.tif", pixels.transpose(2, 0, 1))  # 5 pages
    tifffile.imwrite(tmp_path / "imagej.tif", pixels.transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "two.tif", pixels[..., :2])
    for name, expected in (("rows", pixels), ("bands", pixels), ("imagej", pixels), ("two", pixels[..., :2])):
        np.testing.assert_array_equal(stored(tmp_path / f"{name}.tif"), expected)
        assert image_header(tmp_path / f"{name}.tif")[:3] == (24, 20, expected.shape[-1])


def test_overviews_and_masks_of_a_geotiff_are_not_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(DEEP, planarconfig="contig", **EXTRA, metadata=None)
        file.write(DEEP[::2, ::2], planarconfig="contig", **EXTRA, subfiletype=1, metadata=None)
        file.write(np.zeros((6, 8), bool), subfiletype=4, metadata=None)
    np.testing.assert_array_equal(stored(tmp_path / "a.tif"), DEEP)
    labels = DEEP[..., 0].astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(labels, metadata=None)
        file.write(labels[::2, ::2], subfiletype=1, metadata=None)
    np.testing.assert_array_equal(stored(tmp_path / "m.tif")[..., 0], labels)
    np.testing.assert_array_equal(np.array(decode_mask(tmp_path / "m.tif")), labels)


def test_separate_pages_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in range(3):
            file.write(DEEP[..., page], metadata=None)
    with pytest.raises(DataError, match=r"a.tif: expected one image, got 3 pages"):
        read_bands(tmp_path / "a.tif")


def test_pixels_without_data_become_zero(tmp_path):
    pixels = np.full((4, 4, 2), 50, np.float32)
    pixels[0, 0] = -3.4e38
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"]}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options, extratags=[(42113, "s", 0, "-3.4e+38", True)])
    image = decode_image(tmp_path / "a.tif", first(2, value_range=((0, 100),)))
    assert image[0, 0].tolist() == [0, 0]
    assert image[1, 1].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("dtype", "suffix"), [(np.uint16, ".png"), (np.uint16, ".tif"), (np.float32, ".tif"), (np.uint16, ".pgm")]
)
def test_one_band(tmp_path, dtype, suffix):
    gray = DEEP[..., 0].astype(dtype)
    image = Image.fromarray(gray.astype(np.int32)).convert("I") if suffix == ".pgm" else Image.fromarray(gray)
    image.save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(stored(tmp_path / f"a{suffix}")[..., 0], gray)
    half = decode_image(tmp_path / f"a{suffix}", first(1, value_range=((0, 2 * 65535),)))
    np.testing.assert_allclose(half[..., 0], gray.astype(np.float64) / (2 * 65535), rtol=1e-6)


def test_a_range_per_band_is_not_clipped():
    pixels = np.array([[[100, 40], [300, 80]]], np.uint16)
    format = first(2, value_range=((100, 200), (0, 80)))
    assert format.read(Bands(pixels), "a").tolist() == [[[0, 0.5], [2, 1]]]


@pytest.mark.parametrize(
    ("dtype", "value", "scaled"),
    [("uint8", 51, 0.2), ("int8", 127, 1), ("int16", -32768, 0), ("uint16", 65535, 1), ("float32", 0.25, 0.25)],
)
def test_the_range_of_a_type(dtype, value, scaled):
    image = first(1, **TYPE).read(Bands(np.full((1, 1, 1), value, dtype)), "a")
    assert image.dtype == np.float32
    assert image.item() == pytest.approx(scaled, abs=1e-7)


def test_bands_are_chosen_and_ordered():
    pixels = DEEP[..., :4].astype(np.uint8)
    image = ImageFormat(bands=(4, 3, 1)).read(Bands(pixels, alpha=3), "a")
    np.testing.assert_array_equal(image, pixels[..., [3, 2, 0]])
    np.testing.assert_array_equal(ImageFormat().read(Bands(pixels, alpha=3), "a"), pixels[..., :3])


def test_bands_in_figures():
    image = np.array([[[0.0, 0.5, 1.0, 2.0]]], np.float32)
    assert ImageFormat((1, 2, 3, 4), "type").to_rgb(image).tolist() == [[[0, 128, 255]]]
    assert ImageFormat((1, 2, 3, 4), "type", shown=(4, 2, 1)).to_rgb(image).tolist() == [[[255, 128, 0]]]
    assert ImageFormat((1, 2), "type").to_rgb(image[..., 1:3]).tolist() == [[[128] * 3]]


def tiff(array, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


FIVE = DEEP.transpose(2, 0, 1)
SEPARATE = {"planarconfig": "separate", "photometric": "minisblack"}


@pytest.mark.parametrize(
    ("content", "format", "message"),
    [
        (tiff(DEEP[..., 0]), ImageFormat(), r"expected 8 bits per channel, got 16-bit integers"),
        (imagecodecs.png_encode(DEEP[..., :3].copy()), ImageFormat(), r"expected 8 bits per channel, got 16-bit"),
        (tiff(FIVE.astype(np.uint8), **SEPARATE), ImageFormat(), r"expected an RGB or gray image, got 5 bands"),
        (tiff(FIVE[:2], **SEPARATE), first(3, **TYPE), r"expected at least 3 bands, got 2"),
        (tiff(FIVE.astype(np.uint32), **SEPARATE), first(5, **TYPE), r"16-bit integers or 32-bit floats, got uint32"),
        (tiff(FIVE.astype(np.float64), **SEPARATE), first(5, **TYPE), r"32-bit floats, got float64"),
        (tiff(np.zeros((17, 6, 8), np.uint16), **SEPARATE), first(5, **TYPE), r"at most 16 bands, got 17"),
        (tiff(np.full((6, 8), np.nan, np.float32)), first(1, **TYPE), r"got NaN or infinity in 48 pixels"),
        (b"P6\n1 1\n65535\n" + bytes(6), ImageFormat(), r"expected a PPM or PGM of 8 bits"),
        (b"P5\n1 1\n4095\n" + bytes(2), ImageFormat(), r"expected a PPM or PGM of 8 bits"),
        (imagecodecs.png_encode(DEEP[..., :3].copy())[:-60], first(3, **TYPE), r"a truncated or damaged one"),
        (tiff(FIVE, **SEPARATE)[:200], first(5, **TYPE), r"a truncated or damaged one"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused_by_name(tmp_path, content, format, message):
    path = tmp_path / f"a{'.png' if content[:4] == bytes.fromhex('89504e47') else '.tif'}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path}: .*{message}") as caught:
        decode_image(path, format)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": (0, 1)}, "bands: expected 1 to 16 numbers from 1"),
        ({"bands": tuple(range(1, 18))}, "bands: expected 1 to 16"),
        ({"bands": (1, 2, 3), "shown": (1, 4, 2)}, "shown_bands: expected one or three of the bands"),
        ({"bands": (1, 2), "value_range": ((0.0, 1.0),) * 3}, r"or 2 such pairs, one for each band, got"),
        ({"value_range": ((5.0, 5.0),)}, r"value_range: expected \[low, high\] with low < high"),
    ],
)
def test_invalid_formats(options, message):
    with pytest.raises(DataError, match=message):
        ImageFormat(**options)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_turns_as_pillow_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgb = DEEP[..., :3].astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    from PIL import ImageOps

    expected = np.array(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), expected)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png", ImageFormat(orientation="ignore")), rgb)
    tifffile.imwrite(tmp_path / "a.tif", DEEP[..., :3], extratags=[(274, "H", 1, orientation, True)])
    turned = decode_image(tmp_path / "a.tif", ImageFormat(**TYPE))
    np.testing.assert_array_equal((turned * 65535).round().astype(np.uint16).astype(np.uint8), expected)


@pytest.mark.parametrize(
    ("mode", "count", "alpha"),
    [("1", 1, None), ("L", 1, None), ("LA", 2, 1), ("P", 3, None), ("PA", 4, 3), ("RGBA", 4, 3), ("CMYK", 3, None)],
)
def test_modes_of_pillow(tmp_path, mode, count, alpha):
    suffix = ".tif" if mode in ("PA", "CMYK") else ".png"
    rgba = Image.fromarray(RNG.integers(0, 256, (6, 8, 4), dtype=np.uint8))
    image = rgba.convert("RGB").convert("P").convert("PA") if mode == "PA" else rgba.convert("RGB").convert(mode)
    image.save(tmp_path / f"a{suffix}")
    bands, _ = read_bands(tmp_path / f"a{suffix}")
    assert (bands.pixels.shape, bands.alpha) == ((6, 8, count), alpha)
    header = image_header(tmp_path / f"a{suffix}")
    assert header[:5] == (8, 6, count, "uint8", alpha)
    np.testing.assert_array_equal(decode_image(tmp_path / f"a{suffix}"), np.array(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_masks_of_16_bit_colors_are_refused(tmp_path, suffix):
    pixels = np.ascontiguousarray(DEEP[..., :3])
    path = tmp_path / f"m{suffix}"
    path.write_bytes(imagecodecs.png_encode(pixels) if suffix == ".png" else tiff(pixels, photometric="rgb"))
    with pytest.raises(DataError, match="expected a mask of 8-bit values or colors, got 16-bit colors"):
        decode_mask(path)
