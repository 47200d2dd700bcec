"""Prediction, export and the app for networks of other images than 8-bit RGB."""

from __future__ import annotations

import io
import json

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import segmi
from segmi.datasets.image_format import ImageFormat
from segmi.deploy import iter_predictions, save_bundle
from segmi.deploy.export import export
from segmi.deploy.image_input import read_channels
from segmi.deploy.predict_files import find_images
from segmi.errors import DataError, UsageError
from segmi.models import build_network

FIVE = ImageFormat((1, 2, 3, 4, 5), ((0.0, 3000.0),), (4, 1, 2))
PIXELS = np.random.default_rng(0).integers(0, 3000, (40, 48, 5)).astype(np.uint16)


@pytest.fixture
def bundle(tmp_path, dataset):
    def write(format=FIVE, **options):
        network = build_network("unet", classes=3, width=2, in_channels=format.channels, **options)
        network(torch.rand(4, format.channels, 32, 32))
        network.eval()
        with torch.no_grad():
            network.module.head.bias -= network(torch.rand(4, format.channels, 32, 32)).logits.mean((0, 2, 3))
        preprocessing = {"resize": None, "image_format": format.plain()}
        return save_bundle(tmp_path / "bundle", network, dataset=dataset, preprocessing=preprocessing)

    return write


@pytest.fixture
def tiff(tmp_path):
    path = tmp_path / "images" / "a.tif"
    path.parent.mkdir()
    options = {"planarconfig": "contig", "extrasamples": ["unspecified"] * 4}
    tifffile.imwrite(path, PIXELS, photometric="minisblack", **options)
    return path


def expected_labels(network, pixels) -> np.ndarray:
    images = torch.from_numpy(pixels.astype(np.float32) / 3000).permute(2, 0, 1)[None]
    padded = torch.nn.functional.pad(images, (0, 0, 0, 8), mode="replicate")
    with torch.inference_mode():
        return network(padded).logits[0, :, :40].argmax(0).numpy()


def test_files_arrays_and_tensors_agree(bundle, tiff):
    network = segmi.load(bundle())
    expected = expected_labels(network, PIXELS)
    assert len(np.unique(expected)) > 1
    for image in (tiff, PIXELS, PIXELS.astype(np.float32), torch.from_numpy(PIXELS).permute(2, 0, 1)):
        np.testing.assert_array_equal(segmi.predict(network, image), expected)


def test_the_bands_of_the_network_are_taken_from_all_bands_of_a_file(bundle, tiff):
    network = segmi.load(bundle(ImageFormat((4, 2), ((0, 3000),))))
    expected = segmi.predict(network, tiff)
    np.testing.assert_array_equal(segmi.predict(network, PIXELS), expected)
    np.testing.assert_array_equal(segmi.predict(network, PIXELS[..., [3, 1]]), expected)


def test_a_16_bit_pillow_image_has_all_of_its_bits(bundle, tmp_path):
    gray = PIXELS[..., 0] + 60000
    format = ImageFormat((1,), ((60000, 63000),))
    network = segmi.load(bundle(format))
    Image.fromarray(gray).save(tmp_path / "gray.png")
    image = Image.open(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_channels(image, format)[..., 0], (gray.astype(np.float32) - 60000) / 3000)
    expected = segmi.predict(network, tmp_path / "gray.png")
    for given in (image, Image.fromarray(gray), gray):
        np.testing.assert_array_equal(segmi.predict(network, given), expected)


def test_16_bit_color_that_pillow_reduces_is_read_from_its_file(tmp_path):
    format = ImageFormat((1, 2, 3), "type")
    pixels = np.ascontiguousarray(PIXELS[..., :3])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    image = Image.open(tmp_path / "a.png")
    np.testing.assert_array_equal(read_channels(image, format), pixels.astype(np.float32) / 65535)
    image.load()
    np.testing.assert_array_equal(read_channels(image, format), pixels.astype(np.float32) / 65535)
    with pytest.raises(UsageError, match="a 16-bit color PNG, which Pillow reduces to 8 bits"):
        read_channels(Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())), format)


def test_a_network_of_8_bit_images_refuses_16_bits(bundle, tmp_path):
    network = segmi.load(bundle(ImageFormat()))
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "gray.png")
    for image in (tmp_path / "gray.png", Image.open(tmp_path / "gray.png")):
        with pytest.raises(DataError, match="expected 8 bits per channel, got 16-bit integers"):
            segmi.predict(network, image)
    with pytest.raises(UsageError, match=r"H×W×3 uint8, or floats in \[0, 1\], got uint16 of 40×48×3"):
        segmi.predict(network, PIXELS[..., :3])
    with pytest.raises(UsageError, match=r"got float32 of 40×48×3"):
        segmi.predict(network, PIXELS[..., :3].astype(np.float32))


def test_floats_from_0_to_1_for_a_network_of_8_bit_images(bundle):
    network = segmi.load(bundle(ImageFormat()))
    pixels = (PIXELS[..., :3] % 256).astype(np.uint8)
    expected = segmi.predict(network, pixels)
    unit = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    np.testing.assert_array_equal(segmi.predict(network, unit), expected)
    np.testing.assert_array_equal(segmi.predict(network, pixels / np.float32(255)), expected)


@pytest.mark.parametrize("shape", [(40, 48), (40, 48, 4), (1, 5, 40, 48), (5, 40, 48)])
def test_arrays_of_other_bands_are_refused(bundle, shape):
    network = segmi.load(bundle())
    with pytest.raises(UsageError, match=r"expected an image of H×W×5 8-bit or 16-bit integers or floats, got uint16"):
        segmi.predict(network, np.zeros(shape, np.uint16))


def test_several_images_in_one_call_are_refused(bundle, tmp_path):
    network = segmi.load(bundle(ImageFormat()))
    for images in (["a.png", "b.png"], (np.zeros((40, 48, 3), np.uint8),)):
        with pytest.raises(UsageError, match=rf"expected one image, got a {type(images).__name__} of {len(images)}"):
            segmi.predict(network, images)


def test_pillow_images_of_16_bits_with_a_sign(bundle, tmp_path):
    network = segmi.load(bundle(ImageFormat((1,), ((-1000.0, 2000.0),))))
    signed = PIXELS[..., 0].astype(np.int16) - 1000
    tifffile.imwrite(tmp_path / "signed.tif", signed)
    expected = segmi.predict(network, tmp_path / "signed.tif")
    np.testing.assert_array_equal(segmi.predict(network, Image.open(tmp_path / "signed.tif")), expected)
    large = Image.fromarray(np.where(signed < 0, signed, np.int32(40000)))
    with pytest.raises(DataError, match="expected 8- or 16-bit integers or 32-bit floats, got 32-bit integers from -"):
        segmi.predict(network, large)


def test_files_have_masks_and_overlays_of_the_shown_bands(bundle, tiff, tmp_path):
    (prediction,) = iter_predictions(bundle(), [tiff.parent], tmp_path / "out", overlay=True)
    network = segmi.load(tmp_path / "bundle")
    labels = np.array(Image.open(prediction.mask))
    np.testing.assert_array_equal(labels, expected_labels(network, PIXELS))
    overlay = np.array(Image.open(tmp_path / "out" / "a.overlay.png")).astype(int)
    shown = np.rint(PIXELS[..., [3, 0, 1]] / 3000 * 255)
    palette = np.array(network.card["palette"])[labels]
    assert np.abs(overlay - (shown + palette) / 2).max() <= 1


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("a.nii.gz", r"NIfTI(.|\n)*nibabel.load\(PATH\).get_fdata"), ("a.dcm", r"DICOM(.|\n)*pydicom.dcmread\(PATH\)")],
)
def test_volumes_are_named_with_how_to_convert_slices(tmp_path, name, remedy):
    (tmp_path / name).write_bytes(b"volume")
    with pytest.raises(UsageError, match=rf"{name} is a \.(nii|dcm) file, which is not read\n  Fix: .*{remedy}"):
        find_images([tmp_path / name])


@pytest.mark.parametrize("format", ["onnx", "torch-export"])
def test_exported_programs_take_the_bands(bundle, tiff, tmp_path, format):
    path = tmp_path / ("a.onnx" if format == "onnx" else "a.pt2")
    given = export(bundle(), path, format=format, images=[tiff])
    assert given.parity.difference < 1e-4
    assert export(bundle(), path, format=format).parity.sizes == 2
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        stored = session.get_modelmeta().custom_metadata_map
        preprocessing = json.loads(stored["segmi.preprocessing"])
        assert preprocessing["image_format"]["bands"] == [1, 2, 3, 4, 5]
        assert "[low, high] = [0.0, 3000.0]" in preprocessing["input"]
        images = (PIXELS.astype(np.float32) / 3000).transpose(2, 0, 1)[None, :, :32]
        network = segmi.load(tmp_path / "bundle")
        logits = session.run(None, {"images": images})[0]
        with torch.inference_mode():
            np.testing.assert_allclose(logits, network(torch.from_numpy(images)).logits, atol=1e-5)


def test_the_app_decodes_uploads_for_each_network(bundle, tiff):
    pytest.importorskip("streamlit")
    from segmi.deploy.app_page import decode_upload, format_of_bundle

    format = format_of_bundle(bundle())
    assert format == FIVE
    pixels = decode_upload("a.tif", tiff.read_bytes(), format)
    np.testing.assert_array_equal(pixels, PIXELS.astype(np.float32) / 3000)
    with pytest.raises(DataError, match=r"^expected an RGB or gray image, got 5 bands"):
        decode_upload("a.tif", tiff.read_bytes())


def test_a_format_that_does_not_fit_the_network_is_refused(bundle, dataset, tmp_path):
    network = build_network("unet", classes=3, width=2)
    preprocessing = {"resize": None, "image_format": FIVE.plain()}
    with pytest.raises(UsageError, match="image_format has 5 channels, the network 3"):
        save_bundle(tmp_path / "other", network, dataset=dataset, preprocessing=preprocessing)
    card = json.loads((bundle() / "model.json").read_text())
    card["preprocessing"]["image_format"]["value_range"] = [[5, 1]]
    (tmp_path / "bundle" / "model.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match="invalid image_format"):
        segmi.load(tmp_path / "bundle")
