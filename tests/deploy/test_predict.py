import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from segmi.datasets.bands import decode_image
from segmi.datasets.processing import Processing
from segmi.deploy import iter_predictions, load, predict, predict_files, predict_images, prediction, save_bundle
from segmi.deploy.predict_files import overlay_labels
from segmi.errors import DataError, UsageError
from segmi.models import InferenceConfig, SegmentationNetwork, build_network, forward_padded, predict_labels


@pytest.fixture
def bundle(tmp_path, network, dataset, preprocessing):
    return save_bundle(tmp_path / "bundle", network, dataset=dataset, preprocessing=preprocessing)


@pytest.mark.parametrize("size", [(50, 37), (32, 32), (7, 90), (1, 1), (200, 150)])
def test_masks_have_the_images_size_and_the_palette(bundle, image, dataset, tmp_path, size):
    path = image(size=size)
    (written,) = predict_files(bundle, [path], tmp_path / "out", device="cpu")
    assert written == tmp_path / "out" / "image.png"
    with Image.open(written) as mask:
        assert mask.mode == "P"
        assert mask.size == size
        assert np.array(mask).max() <= 2
        stored = mask.getpalette()
    colors = [channel for color in dataset["palette"] for channel in color]
    assert stored[:9] == colors[:9]


def test_predictions_equal_explicit_steps(bundle, image, network, tmp_path):
    path = image(size=(61, 45))
    (written,) = predict_files(bundle, [path], tmp_path / "out", device="cpu")
    pixels = decode_image(path)
    small = Processing(resize=40, crop=32).resized(pixels, np.zeros((45, 61), np.uint8)).image
    with torch.no_grad():
        images = F.pad(small.float()[None] / 255, (0, 8, 0, 8), mode="replicate")
        logits = network(images).logits[..., :40, :40]
        expected = F.interpolate(logits, size=(45, 61), mode="bilinear").argmax(1)[0]
    np.testing.assert_array_equal(np.array(Image.open(written)), expected.numpy())
    assert len(np.unique(expected)) > 1


def test_images_keep_their_scale_without_resizing(tmp_path, network, dataset, image):
    path = image(size=(48, 32))
    loaded = load(save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": None}))
    pixels = decode_image(path)
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255).logits.argmax(1)[0].numpy()
    np.testing.assert_array_equal(predict(loaded, pixels), expected)


def test_shorter_side_is_scaled(tmp_path, network, dataset, image):
    pixels = decode_image(image(size=(96, 64)))
    loaded = load(
        save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": 32, "resize_mode": "shorter"})
    )
    seen = []
    loaded.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    assert predict(loaded, pixels).shape == (64, 96)
    assert seen == [(1, 3, 32, 48)]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_images_of_other_modes_are_converted(bundle, image, tmp_path, mode):
    path = image(mode=mode)
    (written,) = predict_files(bundle, [path], tmp_path / "out", device="cpu")
    assert Image.open(written).size == (50, 37)


def test_one_logit_is_compared_with_the_threshold(tmp_path, dataset, image):
    network = build_network("unet", classes=2, one_logit=True, width=2).eval()
    with torch.no_grad():  # an untrained head gives nearly the same logit everywhere
        network.module.head.weight *= 1000
        network.module.head.bias -= network(torch.rand(1, 3, 64, 64)).logits.mean()
    dataset["classes"] = ["background", "thing"]
    loaded = load(save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": None}))
    pixels = decode_image(image(size=(32, 32)))
    with torch.no_grad():
        logits = loaded(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255).logits
    labels = predict(loaded, pixels)
    np.testing.assert_array_equal(labels, (logits.sigmoid() > 0.5)[0, 0].numpy())
    for options in ({}, {"window": 16}, {"window": 16, "probabilities": tmp_path / "p.npy"}):
        shares = [predict(loaded, pixels, threshold=t, **options).mean() for t in (0.01, 0.5, 0.99)]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > shares[2]
    limit = float(logits.sigmoid().quantile(0.8))
    np.testing.assert_array_equal(predict(loaded, pixels, threshold=limit), (logits.sigmoid() > limit)[0, 0].numpy())


def test_a_threshold_needs_one_logit(bundle, image, tmp_path):
    with pytest.raises(UsageError, match=r"a threshold of 0.4 needs a binary network with one logit, .* 3 logits"):
        predict_files(bundle, [image()], tmp_path / "out", InferenceConfig(threshold=0.4))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("channels", "size"), [(1, (9, 7)), (2, (9, 7)), (5, (31, 16)), (21, (8, 8)), (3, (4, 5))])
def test_labels_equal_those_of_resized_logits(channels, size):
    logits = torch.randn(2, channels, 8, 8)
    whole = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    expected = whole.argmax(1) if channels > 1 else (whole[:, 0] > 0).long()
    labels = predict_labels(logits, size)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), expected)
    assert torch.equal(predict_labels(logits.contiguous(memory_format=torch.channels_last), size), labels)


def test_the_first_of_equal_classes_is_predicted():
    assert predict_labels(torch.zeros(1, 4, 2, 2), (3, 3)).unique().tolist() == [0]


@pytest.fixture
def unresized(tmp_path, network, dataset):
    """Bundle without resizing of images."""
    return save_bundle(tmp_path / "unresized", network, dataset=dataset, preprocessing={"resize": None})


@pytest.mark.parametrize("size", [(64, 64), (49, 33), (20, 64)])
def test_images_within_the_window_are_predicted_whole(unresized, image, tmp_path, size):
    path = image(size=size)
    (whole,) = predict_files(unresized, [path], tmp_path / "whole", device="cpu")
    (found,) = predict_files(
        unresized, [path], tmp_path / "found", InferenceConfig(window=64), probabilities=True, device="cpu"
    )
    assert found.read_bytes() == whole.read_bytes()
    stored = np.load(tmp_path / "found" / "image.npy", mmap_mode="r")
    assert stored.shape == (3, *size[::-1])
    np.testing.assert_array_equal(
        stored.argmax(0)[stored.max(0) > 0.34], np.array(Image.open(found))[stored.max(0) > 0.34]
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_larger_images_are_predicted_in_windows(tmp_path, dataset, image, classes):
    """A network of 1×1 convolutions predicts the same in windows as in the whole image."""
    network = build_network("unet", classes=classes, one_logit=classes == 2, width=2).eval()
    network.module = torch.nn.Conv2d(3, network.channels, 1)
    network.stride = 16
    network.card = {"preprocessing": {"resize": 90, "resize_mode": "shorter"}}
    pixels = decode_image(image(size=(150, 60)))
    with torch.no_grad():  # no class wins everywhere
        network.module.bias -= network.module(torch.full((1, 3, 1, 1), 0.5)).flatten()
    seen = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    whole = predict(network, pixels, probabilities=tmp_path / "whole.npy")
    assert seen == [(96, 240)]
    found = predict(network, pixels, window=64, probabilities=tmp_path / "found.npy")
    assert set(seen[1:]) == {(64, 64)}
    expected, stored = np.load(tmp_path / "whole.npy"), np.load(tmp_path / "found.npy")
    assert expected.shape == (classes, 60, 150)
    assert expected.dtype == np.float16
    np.testing.assert_allclose(expected.astype(np.float32).sum(0), 1, atol=2e-3)
    np.testing.assert_allclose(stored.astype(np.float32), expected.astype(np.float32), atol=1e-3)
    assert (found == whole).mean() > 0.999, "rounding can change ties"
    assert len(np.unique(found)) > 1


def test_very_large_images_are_predicted_in_windows_by_default(network, monkeypatch):
    monkeypatch.setattr(prediction, "MAX_WHOLE_PIXELS", 48 * 64)
    monkeypatch.setattr(prediction, "DEFAULT_WINDOW", 32)
    network.card = {"preprocessing": {"resize": None}}
    seen = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    predict(network, pixels[:48])
    assert seen == [(48, 64)]
    found = predict(network, pixels)
    assert set(seen[1:]) == {(32, 32)}
    np.testing.assert_array_equal(found, predict(network, pixels, window=32, overlap=8))


def test_impossible_windows_are_refused(bundle, image, tmp_path):
    with pytest.raises(UsageError, match="overlap must be between 0 and the window's 8 pixels, got 8"):
        predict_files(bundle, [image()], tmp_path / "out", InferenceConfig(window=8, overlap=8))
    assert not (tmp_path / "out").exists()


def peak_of_a_prediction(size, *, window=None, architecture="unet", options="width=16"):
    """Return the peak memory in bytes of a new process before and after predicting an image of (height, width)."""
    code = f"""
from pathlib import Path
import numpy as np, torch
from segmi.deploy import predict
from segmi.models import build_network

def peak():  # ru_maxrss would start at the memory of the parent
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

torch.set_num_threads(1)
network = build_network({architecture!r}, classes=19, {options}).eval()
network.card = {{"preprocessing": {{"resize": None}}}}
predict(network, np.zeros((64, 64, 3), np.uint8))
pixels = np.random.default_rng(0).integers(0, 256, {(*size, 3)}, dtype=np.uint8)
before = peak()
labels = predict(network, pixels, window={window})
assert labels.shape == {size}
print(before, peak())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    return before, after


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
@pytest.mark.slow
def test_memory_is_bounded_by_the_window():
    """Logits of the whole image would need 76 bytes per pixel; a larger image adds only its own bytes."""
    (_, small), (_, large) = (peak_of_a_prediction((side, 640), window=128) for side in (320, 1280))
    assert large - small < 20 * 640 * (1280 - 320)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_an_image_of_4000_by_3000_takes_less_than_2_gigabytes():
    """The whole process; PyTorch's libraries alone need 0.7 GB."""
    assert peak_of_a_prediction((3000, 4000))[1] < 1.5 * 10**9


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
@pytest.mark.parametrize(("architecture", "options"), [("unet", "width=32"), ("deeplabv3_resnet50", "")])
def test_wide_networks_stay_within_the_memory(architecture, options):
    """In windows; an image of 4000 × 3000 needs 0.2 GB more, for itself and a row of overlaps."""
    assert peak_of_a_prediction((1300, 1700), architecture=architecture, options=options)[1] < 1.7 * 10**9


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts other units elsewhere")
def test_the_whole_command_on_such_an_image_takes_less_than_2_gigabytes(tmp_path, dataset, image):
    """Reading, windows, overlay and the probabilities of all classes, in a new process."""
    dataset["classes"] = [f"class {number}" for number in range(11)]
    network = build_network("unet", classes=11, width=16)
    bundle = save_bundle(tmp_path / "bundle", network, dataset=dataset, preprocessing={"resize": None})
    large = image("large.jpg", size=(4000, 3000), mode="RGB")
    wrapper = f"""
import resource, subprocess, sys
command = [sys.executable, "-m", "segmi.cli", "predict", {str(bundle)!r}, {str(large)!r}]
options = ["--output", {str(tmp_path / "out")!r}, "--overlay", "--probabilities", "--device", "cpu"]
subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
print(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", wrapper], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.6 * 10**9
    assert Image.open(tmp_path / "out" / "large.png").size == (4000, 3000)


def test_overlay_is_written_beside_the_mask(bundle, image, dataset, tmp_path):
    path = image()
    (written,) = predict_files(bundle, [path], tmp_path / "out", overlay=True, device="cpu")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["image.overlay.png", "image.png"]
    labels, mixed = np.array(Image.open(written)), np.array(Image.open(tmp_path / "out" / "image.overlay.png"))
    expected = (decode_image(path).astype(float) + np.array(dataset["palette"])[labels]) / 2
    assert np.abs(mixed - expected).max() <= 0.5
    np.testing.assert_array_equal(
        overlay_labels(decode_image(path), labels, dataset["palette"], strength=0), decode_image(path)
    )


def test_folders_stand_for_their_images(bundle, image, tmp_path):
    for name in ("b.png", "a.jpg"):
        image(name)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    done = []
    written = predict_files(
        bundle, [tmp_path / "images"], tmp_path / "out", device="cpu", progress=lambda *args: done.append(args)
    )
    assert [p.name for p in written] == ["a.png", "b.png"]
    assert done == [(1, 2), (2, 2)]


def test_unreadable_files_are_named_and_the_others_predicted(bundle, image, tmp_path):
    good, cut, text_file = image("good.png"), image("cut.png"), image("text.png")
    cut.write_bytes(cut.read_bytes()[:200])
    text_file.write_text("no image")
    with pytest.raises(DataError, match=r"2 of 3 images failed") as caught:
        predict_files(bundle, [cut, good, text_file], tmp_path / "out", device="cpu")
    text = str(caught.value)
    assert f"{cut}: expected a whole image" in text
    assert f"{text_file}: expected a" in text
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good.png"]


def test_a_missing_file_is_refused_before_prediction(bundle, image, tmp_path):
    with pytest.raises(UsageError, match=r"gone.png does not exist"):
        predict_files(bundle, [image("good.png"), tmp_path / "gone.png"], tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_images_too_small_for_the_network_are_named(tmp_path, dataset, image):
    network = build_network("smp_pan", classes=3, encoder="tu-mobilenetv3_small_050")
    bundle = save_bundle(tmp_path / "b", network, dataset=dataset, preprocessing={"resize": None})
    with pytest.raises(DataError, match=r"image.png: expected images large enough for the network's pooling"):
        predict_files(bundle, [image()], tmp_path / "out", device="cpu")


def test_results_that_would_overwrite_one_another_are_refused(bundle, image, tmp_path):
    first, second = image("a.png"), image("a.jpg")
    with pytest.raises(UsageError, match=r"same name would overwrite each other's label maps(.|\n)*a.png and .*a.jpg"):
        predict_files(bundle, [first, second], tmp_path / "out", device="cpu")
    overlay_like = image("a.overlay.jpg")
    with pytest.raises(UsageError, match="same name"):
        predict_files(bundle, [first, overlay_like], tmp_path / "out", overlay=True, device="cpu")
    assert not (tmp_path / "out").exists()


def test_images_are_never_overwritten(bundle, image):
    path = image()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="would overwrite the images"):
        predict_files(bundle, [path], path.parent, device="cpu")
    assert path.read_bytes() == before


def test_no_images_are_refused(bundle, tmp_path):
    with pytest.raises(UsageError, match="expected images to predict, got none"):
        predict_files(bundle, [], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty contains no images"):
        predict_files(bundle, [tmp_path / "empty"], tmp_path / "out")


def test_images_of_a_folder_keep_their_relative_paths(bundle, image, tmp_path):
    for folder in ("a", "b/deep"):
        image("same.png", folder=tmp_path / "frames" / folder)
    written = predict_files(bundle, [tmp_path / "frames"], tmp_path / "out", device="cpu")
    assert [str(p.relative_to(tmp_path / "out")) for p in written] == ["a/same.png", "b/deep/same.png"]


def test_folders_that_are_links_are_followed(bundle, image, tmp_path):
    image("one.png", folder=tmp_path / "elsewhere")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "linked").symlink_to(tmp_path / "elsewhere")
    written = predict_files(bundle, [tmp_path / "frames"], tmp_path / "out", device="cpu")
    assert [str(p.relative_to(tmp_path / "out")) for p in written] == ["linked/one.png"]


def test_patterns_are_read_as_a_shell_reads_them(bundle, image, tmp_path):
    for name in ("frame_2.png", "frame_1.png", "other.png"):
        image(name)
    (tmp_path / "images" / "frame_3.txt").write_text("no image")
    written = predict_files(bundle, [tmp_path / "images" / "frame_*"], tmp_path / "out", device="cpu")
    assert [p.name for p in written] == ["frame_1.png", "frame_2.png"]
    with pytest.raises(UsageError, match=r"no image matches .*frame_\?\?(.|\n)*correct the pattern"):
        predict_files(bundle, [tmp_path / "images" / "frame_??"], tmp_path / "out")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("https://example.org/a.jpg", r"https://example.org/a.jpg is a URL, not a file(.|\n)*download it first"),
        ("s3://bucket/a.jpg", r"s3://bucket/a.jpg is a URL, not a file"),
        (Path("http://example.org/a.jpg"), r"http:/example.org/a.jpg is a URL, not a file"),
        ("film.mp4", r"film.mp4 is a video, not an image(.|\n)*ffmpeg -i film.mp4 frames/%06d.png"),
    ],
)
def test_other_arguments_are_refused_by_name(bundle, tmp_path, argument, message):
    with pytest.raises(UsageError, match=message):
        predict_files(bundle, [argument], tmp_path / "out")
    with pytest.raises(UsageError, match=r"2 arguments name no images:(.|\n)*clip.avi is a video(.|\n)*is a"):
        predict_files(bundle, ["clip.avi", argument], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_batches_give_the_same_masks(bundle, image, tmp_path, network):
    paths = [image(f"{'x' * number}.png", size=(50, 37) if number % 3 else (20, 20)) for number in range(1, 8)]
    one = predict_files(bundle, paths, tmp_path / "one", device="cpu")
    loaded = load(bundle)
    seen = []
    loaded.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    several = predict_files(
        loaded, paths, tmp_path / "several", InferenceConfig(batch_size=4), probabilities=True, device="cpu"
    )
    assert seen == [3, 1, 2, 1]
    assert sorted(p.name for p in several) == sorted(p.name for p in one)
    for path in one:
        same = np.array(Image.open(path)) == np.array(Image.open(tmp_path / "several" / path.name))
        assert same.mean() > 0.999, "another order of summation can change ties"
    assert np.load(tmp_path / "several" / "xxx.npy").shape == (3, 20, 20)


def test_shares_are_those_of_the_mask(bundle, image, dataset, tmp_path):
    (one,) = iter_predictions(bundle, [image()], tmp_path / "out", device="cpu")
    labels = np.array(Image.open(one.mask))
    assert (one.image, one.size) == (tmp_path / "images" / "image.png", (50, 37))
    assert one.shares == {name: (labels == index).mean() for index, name in enumerate(dataset["classes"])}
    assert sum(one.shares.values()) == pytest.approx(1)


def test_images_of_several_sizes_are_refused(bundle):
    images = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"expected images of one size, got \[\(8, 8\), \(8, 9\)\]"):
        predict_images(load(bundle), images)


def test_networks_without_card_are_refused(network, image, tmp_path):
    with pytest.raises(UsageError, match="save it with save_bundle and load it again"):
        predict_files(network, [image()], tmp_path / "out")


def test_missing_devices_are_refused(bundle, image, tmp_path):
    with pytest.raises(UsageError, match="unknown device 'nonsense'"):
        predict_files(bundle, [image()], tmp_path / "out", device="nonsense")


def test_a_loaded_network_is_accepted(bundle, image, tmp_path):
    network = load(bundle)
    assert isinstance(network, SegmentationNetwork)
    network.train()
    (first,) = predict_files(network, [image()], tmp_path / "a", device="cpu")
    (second,) = predict_files(bundle, [image()], tmp_path / "b", device="cpu")
    assert first.read_bytes() == second.read_bytes()


def test_logits_of_any_size_agrees_on_whole_images(network):
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(forward_padded(network, images), network(images).logits)
