"""Several bundles predict together: the mean of their probabilities, each with its own preprocessing."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import segmi
from segmi.cli import main
from segmi.deploy import iter_predictions, predict_files, save_bundle
from segmi.deploy.ensemble import Ensemble
from segmi.errors import DataError, UsageError
from segmi.models import InferenceConfig, build_network
from segmi.records import write_ensemble


@pytest.fixture
def make(tmp_path, dataset):
    """Writes a bundle with random weights."""

    def bundle(name, seed=0, resize=40, changes=(), **options):
        torch.manual_seed(seed)
        network = build_network("unet", **{"classes": 3, "width": 2, **options}).eval()
        with torch.no_grad():
            network.module.head.weight *= 1000
            bands = network.in_channels
            network.module.head.bias -= network(torch.rand(1, bands, 64, 64)).logits.mean((0, 2, 3))
        facts = {**dataset, "values": [7, 8, 11][: network.classes], **dict(changes)}
        return save_bundle(tmp_path / name, network, dataset=facts, preprocessing={"resize": resize})

    return bundle


@pytest.fixture
def three(make):
    return [make("a"), make("b", 1, resize=None), make("c", 2, resize=24)]


def probabilities(network, image, tmp_path, **options):
    segmi.predict(network, image, probabilities=tmp_path / "p.npy", **options)
    return np.load(tmp_path / "p.npy").astype(np.float32)


def test_an_ensemble_averages_the_probabilities_of_its_bundles(three, image, tmp_path):
    path = image(size=(61, 45))
    each = np.stack([probabilities(bundle, path, tmp_path) for bundle in three])
    assert np.abs(each[0] - each[1]).max() > 0.1
    together = probabilities(three, path, tmp_path)
    np.testing.assert_allclose(together, each.mean(0), atol=2e-3)
    labels = segmi.predict(segmi.load(three), path)
    certain = np.sort(each.mean(0), axis=0)
    certain = certain[-1] - certain[-2] > 0.01
    assert certain.mean() > 0.5
    np.testing.assert_array_equal(labels[certain], each.mean(0).argmax(0)[certain])
    np.testing.assert_array_equal(labels, segmi.predict([segmi.load(one) for one in three], path))


def test_an_ensemble_of_one_and_of_equal_bundles_changes_nothing(three, image, tmp_path):
    path = image(size=(61, 45))
    np.testing.assert_array_equal(segmi.predict([three[0]], path), segmi.predict(three[0], path))
    same = probabilities([three[0], three[0]], path, tmp_path)
    np.testing.assert_allclose(same, probabilities(three[0], path, tmp_path), atol=1e-3)


def test_augmentation_of_an_ensemble(three, image, tmp_path):
    path = image(size=(60, 45))
    mirrored = tmp_path / "mirrored.png"
    Image.fromarray(np.array(Image.open(path))[:, ::-1]).save(mirrored)
    single = [probabilities(one, file, tmp_path) for file in (path, mirrored) for one in three[:2]]
    expected = (single[0] + single[1] + single[2][:, :, ::-1] + single[3][:, :, ::-1]) / 4
    found = probabilities(three[:2], path, tmp_path, tta="flips")
    np.testing.assert_allclose(found, expected, atol=4e-3)
    assert np.abs(found - probabilities(three[:2], path, tmp_path)).max() > 0.05
    both = probabilities(three[:2], path, tmp_path, tta=["flips", "scales"])
    assert np.abs(both - found).max() > 0.05


def test_windows_bound_every_network(three, image, tmp_path):
    seen = []
    ensemble = segmi.load(three[1:])
    for network in ensemble.networks:
        network.register_forward_pre_hook(lambda module, inputs: seen.append(max(inputs[0].shape[-2:])))
    whole = probabilities(ensemble, image(size=(90, 70)), tmp_path)
    del seen[:]
    found = probabilities(ensemble, image(size=(90, 70)), tmp_path, window=64, overlap=48)
    assert max(seen) == 64
    np.testing.assert_allclose(found, whole, atol=0.05)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"classes": ["sky", "street", "car"]}, {}, "class 1 is 'road' in the first and 'street' in the second"),
        ({"classes": ["sky", "road"]}, {"classes": 2}, "the number of classes is 3 in the first and 2 in the second"),
        (
            {"palette": [[1, 2, 3]] * 256},
            {},
            r"the color of class 0 \(sky\) is \[0, 0, 0\] in the first and \[1, 2, 3\]",
        ),
        ({"values": [7, 8, 12]}, {}, r"the mask value of class 2 \(car\) is 11 in the first and 12 in the second"),
    ],
)
def test_bundles_of_other_classes_are_refused(make, changes, options, message, image, tmp_path, capsys):
    bundles = [make("a"), make("b", 1), make("other", 1, changes=changes, **options)]
    expected = f"{bundles[0]} and {bundles[2]} cannot predict together: {message}"
    with pytest.raises(DataError, match=expected):
        segmi.load(bundles)
    with pytest.raises(DataError, match=rf"network 1 and network 2 cannot predict together: {message}"):
        segmi.predict([segmi.load(bundles[0]), segmi.load(bundles[2])], image())
    assert main(["predict", *map(str, bundles), "--output", str(tmp_path / "out"), "--", str(image())]) == 3
    assert "combine bundles that were trained on the same dataset" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bundles_of_other_bands_read_the_same_file(make, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    format = {"image_format": {"bands": [2], "value_range": "type"}}
    torch.manual_seed(1)
    network = build_network("unet", classes=3, width=2, in_channels=1).eval()
    facts = json.loads((make("rgb") / "model.json").read_text())
    gray = save_bundle(
        tmp_path / "gray", network, dataset={**facts, "name": "toy", "title": "Toy"},
        preprocessing={"resize": None, **format},
    )  # fmt: skip
    each = [probabilities(one, tmp_path / "x.png", tmp_path) for one in (tmp_path / "rgb", gray)]
    together = probabilities([tmp_path / "rgb", gray], tmp_path / "x.png", tmp_path)
    np.testing.assert_allclose(together, np.mean(each, axis=0), atol=2e-3)


def test_binary_ensembles_have_a_threshold(make, image, tmp_path):
    classes = {"classes": ["no", "yes"]}
    bundles = [make(str(n), n, changes=classes, classes=2, one_logit=True) for n in range(2)]
    mean = np.mean([probabilities(one, image(), tmp_path) for one in bundles], axis=0)
    for threshold in (0.3, 0.5, 0.7):
        labels = segmi.predict(bundles, image(), threshold=threshold)
        clear = np.abs(mean[1] - threshold) > 2e-3
        np.testing.assert_array_equal(labels[clear], (mean[1] > threshold)[clear])
    mixed = [bundles[0], make("two", 2, changes=classes, classes=2)]
    assert segmi.predict(mixed, image()).max() <= 1
    with pytest.raises(UsageError, match=r"a threshold of 0\.3 needs a binary network with one logit"):
        segmi.predict(mixed, image(), threshold=0.3)


def test_the_command_predicts_with_several_bundles(three, image, tmp_path, capsys):
    image(size=(50, 37))
    out, photos = tmp_path / "out", str(tmp_path / "images")
    a, b, c = map(str, three)
    assert main(["predict", a, b, c, "--output", str(out), "--tta", "flips,scales", "--", photos]) == 0
    mask = np.array(Image.open(capsys.readouterr().out.strip()))
    expected = segmi.predict(three, tmp_path / "images" / "image.png", tta="flips,scales")
    np.testing.assert_array_equal(mask, expected)
    write_ensemble(tmp_path, [*three])  # the folds of a cross-validation
    assert main(["predict", str(tmp_path), photos, "--output", str(out), "--tta", "flips,scales"]) == 0
    np.testing.assert_array_equal(np.array(Image.open(out / "image.png")), expected)
    np.testing.assert_array_equal(segmi.predict(tmp_path, tmp_path / "images" / "image.png", tta="flips,scales"), mask)
    assert len(segmi.load([tmp_path]).networks) == 3
    assert len(segmi.load(tmp_path).networks) == 3
    assert main(["probe", str(tmp_path)]) == 2
    assert "is an ensemble of 3 bundles, expected one bundle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}", "{b}", "photo.png"], "is a bundle, expected images after the first bundle(.|\n)*write -- between"),
        (["{a}", "{b}", "--", "photo.png", "--overlay"], "--overlay after -- is not an existing image(.|\n)*before --"),
        (["--", "photo.png"], "expected a bundle before --, got none"),
        (["{a}", "{b}", "--"], "expected images after the bundle, got none"),
        (["{a}"], "expected images after the bundle, got none"),
        (["{a}", "--tta", "rotations", "{photo}"], "unknown test-time augmentation 'rotations'"),
        (["{a}", "--values", "names", "{photo}"], "unknown kind of mask values 'names'"),
    ],
)
def test_mistakes_on_the_command_line_are_explained(three, image, arguments, message, capsys):
    names = {"a": three[0], "b": three[1], "photo": image()}
    assert main(["predict", *(argument.format(**names) for argument in arguments)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_original_values_are_those_of_the_masks(make, image, tmp_path):
    path = image()
    bundle = make("a")
    labels = segmi.predict(bundle, path)
    assert len(np.unique(labels)) > 1
    expected = np.array([7, 8, 11], np.uint8)[labels]
    found = segmi.predict(bundle, path, values="original")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    (one,) = iter_predictions(bundle, [path], tmp_path / "out", values="original", overlay=True)
    assert (Image.open(one.mask).mode, sum(one.shares.values())) == ("L", pytest.approx(1))
    np.testing.assert_array_equal(np.array(Image.open(one.mask)), expected)
    (again,) = predict_files([bundle, bundle], [path], tmp_path / "two", values="original")
    np.testing.assert_array_equal(np.array(Image.open(again)), expected)


def test_original_colors_and_large_values(make, image, tmp_path):
    colors = [[0, 0, 0], [255, 0, 0], [0, 0, 9]]
    bundle = make("colors", changes={"values": colors})
    (path,) = predict_files(bundle, [image()], tmp_path / "out", values="original")
    expected = np.array(colors)[segmi.predict(bundle, image())]
    np.testing.assert_array_equal(np.array(Image.open(path).convert("RGB")), expected)
    assert Image.open(path).mode == "RGB"
    bundle = make("ids", changes={"values": [1, 300, 65535]})
    (path,) = predict_files(bundle, [image()], tmp_path / "out", values="original")
    np.testing.assert_array_equal(np.array(Image.open(path)), np.array([1, 300, 65535])[segmi.predict(bundle, image())])


def test_bundles_without_values_say_so(make, image, dataset, network, tmp_path):
    bundle = save_bundle(tmp_path / "old", network, dataset=dataset, preprocessing={"resize": 40})
    with pytest.raises(UsageError, match=r"does not contain the values of the masks(.|\n)*--values index"):
        segmi.predict(bundle, image(), values="original")
    for values in ([1, 2], [1, 2, "3"], [1, [2, 3], 4], [1, 2, True]):
        with pytest.raises(UsageError, match="the mask values should be"):
            save_bundle(tmp_path / "x", network, dataset={**dataset, "values": values}, preprocessing={})


def test_an_ensemble_needs_networks_from_bundles(network):
    with pytest.raises(UsageError, match="expected networks for an ensemble, got none"):
        Ensemble([])
    with pytest.raises(UsageError, match="save it with save_bundle"):
        segmi.predict([network], np.zeros((8, 8, 3), np.uint8))


def test_config_of_batches_is_kept(three, image, tmp_path):
    paths = [image(f"{'x' * n}.png", size=(50, 37) if n % 2 else (20, 20)) for n in range(1, 6)]
    one = predict_files(three, paths, tmp_path / "one", device="cpu")
    several = predict_files(three, paths, tmp_path / "several", InferenceConfig(batch_size=4), device="cpu")
    for first, second in zip(sorted(one), sorted(several), strict=True):
        assert (np.array(Image.open(first)) == np.array(Image.open(second))).mean() > 0.999
