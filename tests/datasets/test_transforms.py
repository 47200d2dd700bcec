"""Transforms as plain data: names, arguments, seeds, and the same geometry for image and mask."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from segmi.datasets.custom.config_file import format_config, read_config
from segmi.datasets.processing import Processing
from segmi.datasets.transforms import transform_specs
from segmi.errors import EnvironmentProblem, UsageError

ROTATION = {"name": "RandomRotation", "degrees": [80, 100]}


def augmented(*transforms, seed=0, **options):
    processing = Processing(resize=None, crop=32, transforms=transforms, **options)
    mask = np.zeros((32, 32), np.uint8)
    mask[4:12, 6:24] = 1
    image = np.repeat(100 * mask[..., None], 3, 2)
    return processing.augmented(processing.resized(image, mask), seed)


def test_image_and_mask_are_rotated_alike_and_the_outside_is_ignored() -> None:
    plain, pair = augmented(), augmented(ROTATION)
    assert not torch.equal(pair.mask, plain.mask)
    inside = pair.mask != 255
    assert (~inside).any()
    assert torch.equal(pair.image[0][inside], 100 * pair.mask[inside])


def test_transforms_are_a_function_of_the_seed_and_keep_the_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = (augmented(ROTATION, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert torch.rand(1) == expected


@pytest.mark.parametrize(
    "transform", [v2.RandomRotation(10), v2.GaussianBlur(3), v2.ColorJitter(0.2), v2.RandomAffine(5, (0.1, 0.1))]
)
def test_objects_become_plain_data(transform: v2.Transform) -> None:
    (spec,) = transform_specs([transform])
    assert spec["name"] == type(transform).__name__
    augmented(spec)
    assert transform_specs([spec]) == [spec]


def test_other_objects_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be stored as plain data"):
        transform_specs([v2.Lambda(lambda image: image)])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"degrees": 3}, "expected mappings with a name"),
        ({"name": "RandomRotations", "degrees": 3}, "did you mean 'RandomRotation'"),
        ({"name": "RandomRotation", "angle": 3}, "RandomRotation refuses its arguments"),
    ],
)
def test_invalid_transforms(spec, message) -> None:
    with pytest.raises(UsageError, match=message):
        Processing(transforms=(spec,))


@pytest.mark.parametrize(
    "spec",
    [{"name": "CenterCrop", "size": 20}, {"name": "Grayscale"}, {"name": "RandomResize", "min_size": 8, "max_size": 9}],
)
def test_crops_keep_their_size_and_channels(spec) -> None:
    with pytest.raises(UsageError, match="expected crops of 3×32×32 uint8 with masks of 32×32 as before"):
        augmented(spec)


def test_albumentations_get_the_seed_and_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    if "albumentations" not in sys.modules:
        monkeypatch.setitem(sys.modules, "albumentations", None)
        with pytest.raises(EnvironmentProblem, match="needs albumentations, which is not installed"):
            augmented({"name": "albumentations.Noise"})

    class Noise:
        def __init__(self, strength: int = 1) -> None:
            self.strength = strength

    class Compose:
        def __init__(self, transforms: list[Noise]) -> None:
            self.strength = transforms[0].strength

        def set_random_seed(self, seed: int) -> None:
            self.rng = np.random.default_rng(seed)

        def __call__(self, image: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
            noise = self.rng.integers(0, self.strength + 1, image.shape)
            return {"image": (image + noise).astype(np.uint8), "mask": mask}

    library = ModuleType("albumentations")
    library.__dict__.update(Noise=Noise, Compose=Compose)
    monkeypatch.setitem(sys.modules, "albumentations", library)
    spec = {"name": "albumentations.Noise", "strength": 9}
    first, again, other = (augmented(spec, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert first.image.max() > 100


def test_vertical_flips_mirror_image_mask_and_padding() -> None:
    options = {"resize": None, "crop": 32, "vertical_flip": 1.0}
    mask = np.arange(20, dtype=np.uint8)[:, None].repeat(32, 1)
    image = np.repeat(mask[..., None], 3, 2)
    pair = Processing(**options).augmented(Processing(**options).resized(image, mask), 5)
    inside = pair.mask != 255
    assert torch.equal(pair.image[0][inside], pair.mask[inside])
    rows = pair.mask[:, 0][pair.mask[:, 0] != 255]
    assert rows.tolist() == list(range(19, -1, -1))


def test_large_images_are_scaled_only_where_the_crop_is() -> None:
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 5, (20, 30)), np.ones((16, 16))).astype(np.uint8)
    image = np.repeat(40 * mask[..., None], 3, 2).astype(np.uint8)
    processing = Processing(resize=None, crop=32, scale=(0.6, 1.7))
    for seed in range(5):
        pair = processing.augmented(processing.resized(image, mask), seed)
        window = processing.window(mask.shape, seed)
        whole = v2.functional.resize(torch.from_numpy(image).permute(2, 0, 1), [window.height, window.width])
        expected = whole[:, window.top : window.top + 32, window.left : window.left + 32].int()
        # Equal except near the borders of classes, which move by less than a pixel.
        assert ((pair.image.int() - expected).abs() <= 2).float().mean() > 0.7
        assert (pair.image[0].int() - 40 * pair.mask.int()).abs().le(2).float().mean() > 0.75


def test_segmi_toml_lists_transforms(tmp_path) -> None:
    text = (
        'format = 1\ntitle = "t"\nmasks = "index"\nclasses = [{ name = "a", value = 0 }, { name = "b", value = 1 }]\n'
        '[splits.train]\nimages = "i"\nmasks = "m"\n'
        '[[transforms]]\nname = "RandomRotation"\ndegrees = [80, 100]\n'
    )
    path = tmp_path / "segmi.toml"
    path.write_text(text)
    config = read_config(path)
    assert config.transforms == (ROTATION,)
    path.write_text(format_config(config))
    assert read_config(path) == config
    path.write_text(text.replace("RandomRotation", "Spin"))
    with pytest.raises(Exception, match="unknown transform 'Spin'"):
        read_config(path)
