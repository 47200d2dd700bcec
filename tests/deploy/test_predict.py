import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from segmi.data.decode import decode_image
from segmi.data.processing import Processing
from segmi.deploy import load, predict_files, predict_picture, save_bundle
from segmi.deploy.predict import decided, overlaid
from segmi.errors import DataError, EnvironmentProblem, UsageError
from segmi.models import SegmentationNetwork, build_network, logits_of_any_size


@pytest.fixture
def bundle(tmp_path, network, dataset, preprocessing):
    return save_bundle(tmp_path / "bundle", network, dataset=dataset, preprocessing=preprocessing)


@pytest.mark.parametrize("size", [(50, 37), (32, 32), (7, 90), (1, 1), (200, 150)])
def test_masks_have_the_pictures_size_and_the_palette(bundle, picture, dataset, tmp_path, size):
    path = picture(size=size)
    (written,) = predict_files(bundle, [path], tmp_path / "out", device="cpu")
    assert written == tmp_path / "out" / "picture.png"
    with Image.open(written) as mask:
        assert mask.mode == "P"
        assert mask.size == size
        assert np.array(mask).max() <= 2
        stored = mask.getpalette()
    colours = [channel for colour in dataset["palette"] for channel in colour]
    assert stored[:9] == colours[:9]


def test_predictions_equal_the_steps_done_by_hand(bundle, picture, network, tmp_path):
    path = picture(size=(61, 45))
    (written,) = predict_files(bundle, [path], tmp_path / "out", device="cpu")
    pixels = decode_image(path)
    small = Processing(resize=40, crop=32).resized(pixels, np.zeros((45, 61), np.uint8)).image
    with torch.no_grad():
        images = F.pad(small.float()[None] / 255, (0, 8, 0, 8), mode="replicate")
        logits = network(images).logits[..., :40, :40]
        expected = F.interpolate(logits, size=(45, 61), mode="bilinear").argmax(1)[0]
    np.testing.assert_array_equal(np.array(Image.open(written)), expected.numpy())
    assert len(np.unique(expected)) > 1


def test_pictures_keep_their_scale_where_preprocessing_has_none(tmp_path, network, dataset, picture):
    path = picture(size=(48, 32))
    loaded = load(save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": None}))
    pixels = decode_image(path)
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255).logits.argmax(1)[0].numpy()
    np.testing.assert_array_equal(predict_picture(loaded, pixels), expected)


def test_shorter_side_is_scaled_where_preprocessing_says_so(tmp_path, network, dataset, picture):
    pixels = decode_image(picture(size=(96, 64)))
    loaded = load(
        save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": 32, "resize_mode": "shorter"})
    )
    seen = []
    loaded.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    assert predict_picture(loaded, pixels).shape == (64, 96)
    assert seen == [(1, 3, 32, 48)]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_pictures_of_other_modes_are_converted(bundle, picture, tmp_path, mode):
    path = picture(mode=mode)
    (written,) = predict_files(bundle, [path], tmp_path / "out", device="cpu")
    assert Image.open(written).size == (50, 37)


def test_one_logit_is_decided_at_zero(tmp_path, dataset, picture):
    network = build_network("unet", classes=2, one_logit=True, width=2).eval()
    dataset["classes"] = ["background", "thing"]
    loaded = load(save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": None}))
    pixels = decode_image(picture(size=(32, 32)))
    with torch.no_grad():
        logits = loaded(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255).logits
    labels = predict_picture(loaded, pixels)
    np.testing.assert_array_equal(labels, (logits.sigmoid() > 0.5)[0, 0].numpy())


@pytest.mark.parametrize(("channels", "size"), [(1, (9, 7)), (2, (9, 7)), (5, (31, 16)), (21, (8, 8)), (3, (4, 5))])
def test_decided_equals_resizing_whole(channels, size):
    logits = torch.randn(2, channels, 8, 8)
    whole = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    expected = whole.argmax(1) if channels > 1 else (whole[:, 0] > 0).long()
    labels = decided(logits, size)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), expected)
    assert torch.equal(decided(logits.contiguous(memory_format=torch.channels_last), size), labels)


def test_decided_takes_the_first_of_equal_classes():
    assert decided(torch.zeros(1, 4, 2, 2), (3, 3)).unique().tolist() == [0]


def test_overlay_lies_beside_the_mask(bundle, picture, dataset, tmp_path):
    path = picture()
    (written,) = predict_files(bundle, [path], tmp_path / "out", overlay=True, device="cpu")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["picture.overlay.png", "picture.png"]
    labels, mixed = np.array(Image.open(written)), np.array(Image.open(tmp_path / "out" / "picture.overlay.png"))
    expected = (decode_image(path).astype(float) + np.array(dataset["palette"])[labels]) / 2
    assert np.abs(mixed - expected).max() <= 0.5
    np.testing.assert_array_equal(
        overlaid(decode_image(path), labels, dataset["palette"], strength=0), decode_image(path)
    )


def test_folders_stand_for_their_pictures(bundle, picture, tmp_path):
    for name in ("b.png", "a.jpg"):
        picture(name)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    done = []
    written = predict_files(
        bundle, [tmp_path / "pictures"], tmp_path / "out", device="cpu", progress=lambda *args: done.append(args)
    )
    assert [p.name for p in written] == ["a.png", "b.png"]
    assert done == [(1, 2), (2, 2)]


def test_bad_files_are_named_and_the_others_predicted(bundle, picture, tmp_path):
    good, cut, gone = picture("good.png"), picture("cut.png"), tmp_path / "gone.png"
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(DataError, match=r"2 of 3 pictures were refused") as caught:
        predict_files(bundle, [cut, good, gone], tmp_path / "out", device="cpu")
    text = str(caught.value)
    assert f"{cut}: expected a whole picture" in text
    assert f"{gone}: expected a file, got none" in text
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]


def test_pictures_too_small_for_the_network_are_named(tmp_path, dataset, picture):
    network = build_network("smp_pan", classes=3, encoder="tu-mobilenetv3_small_050")
    bundle = save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": None})
    with pytest.raises(DataError, match=r"picture.png: expected pictures large enough for the network's pooling"):
        predict_files(bundle, [picture()], tmp_path / "out", device="cpu")


def test_results_that_would_overwrite_one_another_are_refused(bundle, picture, tmp_path):
    first, second = picture("a.png"), picture("a.jpg")
    with pytest.raises(UsageError, match=r"same name would overwrite each other's label maps(.|\n)*a.png and .*a.jpg"):
        predict_files(bundle, [first, second], tmp_path / "out", device="cpu")
    overlay_like = picture("a.overlay.jpg")
    with pytest.raises(UsageError, match="same name"):
        predict_files(bundle, [first, overlay_like], tmp_path / "out", overlay=True, device="cpu")
    assert not (tmp_path / "out").exists()


def test_pictures_are_never_overwritten(bundle, picture):
    path = picture()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="would overwrite the pictures"):
        predict_files(bundle, [path], path.parent, device="cpu")
    assert path.read_bytes() == before


def test_nothing_to_predict_is_refused(bundle, tmp_path):
    with pytest.raises(UsageError, match="no pictures to predict"):
        predict_files(bundle, [], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty holds no pictures"):
        predict_files(bundle, [tmp_path / "empty"], tmp_path / "out")


def test_networks_without_description_are_refused(network, picture, tmp_path):
    with pytest.raises(UsageError, match="save it with save_bundle and load it again"):
        predict_files(network, [picture()], tmp_path / "out")


def test_devices_that_are_not_there(bundle, picture, tmp_path):
    with pytest.raises(EnvironmentProblem, match="this machine has no device 'nonsense'"):
        predict_files(bundle, [picture()], tmp_path / "out", device="nonsense")


def test_a_loaded_network_may_be_given(bundle, picture, tmp_path):
    network = load(bundle)
    assert isinstance(network, SegmentationNetwork)
    network.train()
    (first,) = predict_files(network, [picture()], tmp_path / "a", device="cpu")
    (second,) = predict_files(bundle, [picture()], tmp_path / "b", device="cpu")
    assert first.read_bytes() == second.read_bytes()


def test_logits_of_any_size_agrees_on_whole_pictures(network):
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(logits_of_any_size(network, images), network(images).logits)
