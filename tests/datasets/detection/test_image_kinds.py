"""Bands, value ranges and orientation that `segmi data init` proposes."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from segmi.cli import main
from segmi.datasets import CustomDataset
from segmi.datasets.detection import propose
from segmi.datasets.image_format import ImageFormat
from segmi.errors import DataError

SIZE = (40, 48)
FIVE = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"] * 4}


def mask(number: int, size=SIZE) -> np.ndarray:
    labels = np.zeros(size, np.uint8)
    labels[4 + number : 20 + number, 6 : 22 + number] = 1
    return labels


def bands(number: int, count: int, high: int = 3000) -> np.ndarray:
    values = np.random.default_rng(number).integers(0, high, (*SIZE, count)).astype(np.uint16)
    values[0, 0] = number  # no two images are the same
    return values


def folder(root: Path, save, names: str = "{}.tif", count: int = 6) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(count):
        save(root / "images" / names.format(number), number)
        Image.fromarray(mask(number)).save(root / "masks" / f"{number}.png")
    return root


def note_of(proposal, text: str) -> str:
    (note,) = (note for note in proposal.notes if text in note)
    return note


def test_five_bands_of_16_bits(tmp_path, capsys):
    root = folder(tmp_path / "tiles", lambda path, n: tifffile.imwrite(path, bands(n, 5), **FIVE))
    assert main(["-q", "data", "init", str(root)]) == 0
    out = capsys.readouterr().out
    assert "images have 5 bands of 16-bit integers, and the network sees all; figures show bands 1, 2, 3 as red" in out
    dataset = CustomDataset(root)
    format = dataset.image_format
    assert (format.bands, format.shown) == ((1, 2, 3, 4, 5), (1, 2, 3))
    for low, high in format.value_range:  # percentiles 1 and 99 of uniform values from 0 to 2999
        assert low == pytest.approx(30, abs=8)
        assert high == pytest.approx(2970, abs=8)
    sample = dataset.split("train")[0]
    low, high = np.array(format.value_range, np.float64).T
    expected = (bands(int(sample.name), 5) - low) / (high - low)
    np.testing.assert_allclose(dataset.read_image(sample), expected, atol=1e-6)
    assert main(["-q", "data", "check", str(root)]) == 0


def test_the_contact_sheet_shows_the_chosen_bands(tmp_path):
    pixels = np.zeros((*SIZE, 5), np.uint16)
    pixels[..., 4] = 1000

    def save(path, number):
        pixels[0, 0, 1] = number
        tifffile.imwrite(path, pixels, **FIVE)

    root = folder(tmp_path, save)
    proposal = propose(root)
    format = ImageFormat((1, 2, 3, 4, 5), ((0, 1000),), (5, 1, 2))
    proposal.dataset.image_format = format
    red = np.asarray(proposal.sheet())
    assert (red == (255, 0, 0)).all(axis=-1).sum() > 1000


@pytest.mark.parametrize("count", [3, 4])
def test_16_bit_color_png(tmp_path, count):
    def save(path, number):
        pixels = bands(number, count)
        if count == 4:
            pixels[..., 3] = 65535  # an opaque alpha channel
        path.write_bytes(imagecodecs.png_encode(pixels))

    proposal = propose(folder(tmp_path, save, "{}.png"))
    assert proposal.dataset.config.images.bands == (1, 2, 3)
    sample = proposal.dataset.split("train")[0]
    assert len(np.unique(proposal.dataset.read_image(sample))) > 2000


def test_a_fourth_band_of_tiff_is_kept_if_it_varies(tmp_path):
    root = folder(tmp_path, lambda path, n: tifffile.imwrite(path, bands(n, 4), photometric="rgb"))
    proposal = propose(root)
    assert proposal.dataset.config.images.bands == (1, 2, 3, 4)
    assert (
        note_of(proposal, "alpha")
        == "the last band is marked as alpha, but varies, so it is read as a band; see `bands` in segmi.toml"
    )


def test_alpha_of_8_bits_is_left_out_and_reported(tmp_path):
    root = folder(tmp_path, lambda path, n: Image.fromarray(bands(n, 4, 255).astype(np.uint8)).save(path), "{}.png")
    proposal = propose(root)
    assert proposal.dataset.config.images == ImageFormat()
    assert note_of(proposal, "alpha").endswith("it varies; bands = [1, 2, 3, 4] keeps it")


@pytest.mark.parametrize(
    ("save", "expected"),
    [
        (lambda path, n: Image.fromarray(bands(n, 1)[..., 0]).save(path.with_suffix(".png")), (1,)),
        (lambda path, n: tifffile.imwrite(path, bands(n, 3).astype(np.float32), photometric="rgb"), (1, 2, 3)),
    ],
)
def test_one_band_and_floats(tmp_path, save, expected):
    images = propose(folder(tmp_path, save)).dataset.config.images
    assert images.bands == expected
    assert images.value_range[0][1] == pytest.approx(2970, abs=8)


@pytest.mark.parametrize(
    ("pixels", "limits"),
    [
        (lambda n: bands(n, 3, 65536), "[0, 65535]"),
        (lambda n: (bands(n, 3, 65536) / 65535).astype(np.float32), "[0, 1]"),
    ],
)
def test_values_that_use_the_range_of_their_type(tmp_path, pixels, limits):
    proposal = propose(folder(tmp_path, lambda path, n: tifffile.imwrite(path, pixels(n), photometric="rgb")))
    assert proposal.dataset.config.images.value_range == "type"
    assert limits in note_of(proposal, "value_range")


def test_images_of_several_kinds_are_refused(tmp_path):
    def save(path, number):
        tifffile.imwrite(path, bands(number, 3 if number else 5), **(FIVE if not number else {"photometric": "rgb"}))

    message = r"of one type and number of bands, got 1 image with 5 bands of 16-bit integers \(such as .*0.tif\)"
    with pytest.raises(DataError, match=message):
        propose(folder(tmp_path, save))


def test_percentiles_are_computed_when_the_file_says_so(tmp_path):
    root = folder(tmp_path, lambda path, n: tifffile.imwrite(path, bands(n, 5), **FIVE))
    text = propose(root).text()
    (line,) = (line for line in text.splitlines() if line.startswith("value_range"))
    (root / "segmi.toml").write_text(text.replace(line, 'value_range = "percentiles"'))
    dataset = CustomDataset(root)
    written = propose(root).dataset.config.images.value_range
    assert dataset.image_format.value_range == tuple(written)
    (root / "segmi.toml").write_text(text.replace(line, "value_range = [0, 10000]"))
    assert CustomDataset(root).image_format.value_range == ((0, 10000),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('bands = "all"', "bands: expected a list of band numbers"),
        ("value_range = [1, 2, 3]", "value_range: expected"),
        ('exif_orientation = "no"', 'exif_orientation: expected "apply" or "ignore"'),
        ("bands = [1]\nshown_bands = [2]", "shown_bands: expected one or three of the bands"),
    ],
)
def test_invalid_entries_are_named(tmp_path, line, message):
    root = folder(tmp_path, lambda path, n: Image.fromarray(bands(n, 3, 255).astype(np.uint8)).save(path))
    (root / "segmi.toml").write_text(propose(root).text().replace("ignored = ", f"{line}\nignored = "))
    with pytest.raises(DataError, match=message):
        CustomDataset(root)


@pytest.mark.parametrize(("tag", "upright"), [(6, False), (3, False), (3, True)])
def test_masks_without_the_exif_tag_of_their_images(tmp_path, tag, upright):
    """Square images and half turns: both orientations have the size of the mask, and the edges decide."""
    exif = Image.Exif()
    exif[0x0112] = tag

    def save(path, number):
        labels = mask(number, SIZE if tag == 3 else (40, 40))
        stored = np.rot90(labels, 2) if upright else labels
        pixels = np.full((*labels.shape, 3), 40, np.uint8)
        pixels[stored == 1] = 220 - number
        Image.fromarray(pixels).save(path, exif=exif, quality=95)

    root = folder(tmp_path, save, "{}.jpg")
    if tag == 6:
        for number in range(6):
            Image.fromarray(mask(number, (40, 40))).save(root / "masks" / f"{number}.png")
    proposal = propose(root)
    setting = "apply" if upright else "ignore"
    assert proposal.dataset.image_format.orientation == setting
    assert note_of(proposal, "EXIF") == (
        f"6 images are turned by an EXIF tag that the mask lacks: masks are on "
        f"{'the turned images' if upright else 'the stored pixels'}, by the edges of the images; "
        f'exif_orientation = "{setting}" in segmi.toml decides'
    )
    image, labels = proposal.dataset.read(proposal.dataset.split("train")[0])
    assert image[labels == 1].mean() > 200
    assert image[labels == 0].mean() < 60


def test_the_size_of_the_mask_decides_on_quarter_turns(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    root = folder(
        tmp_path,
        lambda path, n: Image.fromarray(bands(n, 3, 255).astype(np.uint8)).save(path, exif=exif),
        "{}.jpg",
    )
    proposal = propose(root)
    assert proposal.dataset.image_format.orientation == "ignore"
    assert "the stored pixels, by their sizes" in note_of(proposal, "EXIF")
    assert proposal.report.splits[0].largest == (48, 40)


def test_large_images_are_trained_at_full_resolution(tmp_path):
    def save(path, number):
        Image.fromarray(np.full((300, 500 + number, 3), number, np.uint8)).save(path)
        labels = np.zeros((300, 500 + number), np.uint8)
        labels[:8, :8] = 1
        Image.fromarray(labels).save(path.parent.parent / "masks" / f"{number}.png")

    root = folder(tmp_path, save, "{}.png")
    for number in range(6):
        save(root / "images" / f"{number}.png", number)  # the masks of `folder` have another size
    note = note_of(propose(root), "full resolution")
    assert note.startswith("images of 500 × 300 to 505 × 300 are larger than crops: `segmi train` takes random crops")
