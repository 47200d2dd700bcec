"""Windows equal the whole image if the receptive field fits the overlap."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segmi.errors import UsageError
from segmi.models import SegmentationNetwork, build_network, forward_padded
from segmi.models.sliding_window import _axis, blended_tiles


def joined(tiles, image):
    """Join tiles to one map; shared rows and columns must be bit-identical."""
    height, width = image.shape[-2:]
    result = None
    for top, left, logits in tiles:
        if result is None:
            result = torch.full((len(logits), height, width), torch.nan)
        here = result[:, top : top + logits.shape[1], left : left + logits.shape[2]]
        assert here.shape == logits.shape
        known = ~here.isnan()
        assert torch.equal(here[known], logits[known])
        here.copy_(logits)
    assert not result.isnan().any(), "the tiles cover the image"
    return result


@pytest.fixture
def near():
    """Convolutions with a receptive field of 4 pixels on each side."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, padding=1),
    )


SIZES = [(40, 40), (41, 67), (23, 100), (100, 17), (24, 25), (97, 96)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("window", "overlap"), [(24, 16), (24, 20), (37, 17), (64, 16)])
@torch.no_grad()
def test_windows_equal_the_whole_image_if_the_receptive_field_fits_the_overlap(near, size, window, overlap):
    image = torch.rand(3, *size)
    found = joined(blended_tiles(near, image, window=window, overlap=overlap), image)
    torch.testing.assert_close(found, near(image[None])[0], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_windows_differ_if_the_overlap_is_too_small(near):
    """Without overlap, the padding of the convolutions is visible, so the test above can fail."""
    image = torch.rand(3, 40, 40)
    found = joined(blended_tiles(near, image, window=24, overlap=0), image)
    assert (found - near(image[None])[0]).abs().max() > 1e-3


class Pooled(nn.Module):
    """Sees 4 + 3 pixels at most, through a pooling that falls on other pixels wherever a window begins off its grid."""

    stride = 4

    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)

    def forward(self, images):
        assert images.shape[-1] % 4 == images.shape[-2] % 4 == 0
        return F.interpolate(self.after(F.max_pool2d(self.before(images), 4)), scale_factor=4)


@pytest.mark.parametrize("size", [(40, 48), (41, 47), (62, 35)])
@pytest.mark.parametrize(("window", "overlap"), [(32, 20), (30, 18)])
@torch.no_grad()
def test_windows_start_at_multiples_of_the_stride(size, window, overlap):
    network = Pooled()
    image = torch.rand(3, *size)
    padded = F.pad(image[None], (0, -size[1] % 4, 0, -size[0] % 4), mode="replicate")
    expected = network(padded)[0, :, : size[0], : size[1]]
    found = joined(blended_tiles(network, image, window=window, overlap=overlap, stride=4), image)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (31, 20), (1, 1), (7, 32)])
@torch.no_grad()
def test_one_window_covers_a_small_image(size):
    network = build_network("unet", classes=3, width=2).eval()
    image = torch.rand(3, *size)
    (tile,) = blended_tiles(lambda images: network(images).logits, image, window=32, stride=16)
    assert (tile.top, tile.left) == (0, 0)
    assert torch.equal(tile.logits, forward_padded(network, image[None])[0])


@torch.no_grad()
def test_uint8_images_are_accepted(near):
    image = torch.randint(0, 256, (3, 50, 41), dtype=torch.uint8)
    found, expected = (joined(blended_tiles(near, p, window=24), image) for p in (image, image.float() / 255))
    assert torch.equal(found, expected)


@torch.no_grad()
def test_windows_in_batches_are_deterministic(near):
    image = torch.rand(3, 50, 61)
    sizes = []

    def network(images):
        sizes.append(len(images))
        return near(images)

    found = {size: joined(blended_tiles(network, image, window=24, batch_size=size), image) for size in (1, 5)}
    windows = sizes.count(1)
    assert sizes[windows:] == [5] * (windows // 5) + [windows % 5] * bool(windows % 5)
    torch.testing.assert_close(found[5], found[1], rtol=1e-5, atol=1e-6)
    assert torch.equal(joined(blended_tiles(near, image, window=24), image), found[1])


@torch.no_grad()
def test_mirrored_images_have_mirrored_predictions():
    """The windows of this image are symmetric, and so is this network's response."""

    def network(images):
        ramp = torch.linspace(-1, 1, images.shape[-1]).abs()  # darker at the edge, unlike the whole image
        return images.mean(1, keepdim=True) * (1 - ramp)

    image = torch.rand(3, 30, 64)
    found = joined(blended_tiles(network, image, window=32, overlap=16), image)
    mirrored = joined(blended_tiles(network, image.flip(-1), window=32, overlap=16), image)
    torch.testing.assert_close(mirrored.flip(-1), found, rtol=1e-6, atol=1e-7)


@torch.no_grad()
def test_different_windows_fade_into_each_other():
    """Every window predicts another constant: no step exceeds the steepest step of a fade."""
    numbers = itertools.count()

    def network(images):
        return torch.full((1, 1, *images.shape[-2:]), float(next(numbers) % 2))

    image = torch.rand(3, 30, 200)
    found = joined(blended_tiles(network, image, window=64, overlap=32), image)
    assert found.min() == 0
    assert found.max() == 1
    assert found.diff(dim=-1).abs().max() < torch.pi / 2 / 16 + 1e-3


@pytest.mark.parametrize("length", [1, 5, 63, 64, 65, 100, 257, 1000])
@pytest.mark.parametrize(
    ("window", "overlap", "stride"), [(64, 16, 1), (64, 0, 1), (60, 59, 1), (64, 33, 16), (1, 0, 1)]
)
def test_weights_sum_to_one_and_windows_cover(length, window, overlap, stride):
    axis = _axis(length, window, overlap, stride)
    total = torch.zeros(length)
    for cut, after in itertools.pairwise([*axis.cuts, None]):
        assert cut.start % stride == 0
        assert cut.stop <= length
        assert cut.done == (length if after is None else after.start)
        assert cut.weights.min() >= 0
        total[cut.start : cut.stop] += cut.weights
        if after is not None:
            assert min(cut.start + axis.side, length) - after.start >= min(overlap, axis.side - 1)
    assert axis.cuts[0].start == 0
    assert axis.cuts[-1].stop == length
    torch.testing.assert_close(total, torch.ones(length))


@torch.no_grad()
def test_memory_does_not_grow_with_the_image_height():
    """Tiles of an image five times as high are not larger; logits of the whole image are never allocated."""
    sizes = []
    for height in (100, 500):
        tiles = blended_tiles(lambda images: images, torch.rand(3, height, 90), window=32, overlap=8)
        sizes.append(max(tile.logits.numel() for tile in tiles))
    assert sizes[1] <= sizes[0] <= 3 * 33 * 33


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"window": 0}, "window must be at least 1 pixel, got 0"),
        ({"window": 8, "overlap": 8}, "between 0 and the window's 8 pixels, got 8\n.*leave it out for 2, or give less"),
        ({"window": 8, "overlap": -1}, "got -1"),
        ({"window": None, "overlap": 4}, "an overlap of 4 pixels needs a window"),
    ],
)
def test_impossible_windows_are_refused(options, text):
    with pytest.raises(UsageError, match=text):
        next(blended_tiles(lambda images: images, torch.rand(3, 9, 9), **options))


def test_nan_logits_are_refused():
    with pytest.raises(ValueError, match="got NaN; the network has diverged"):
        next(blended_tiles(lambda images: images * torch.nan, torch.rand(3, 9, 9), window=4))


@torch.no_grad()
def test_a_real_network_has_no_seams():
    """The U-Net's receptive field exceeds a quarter of the overlap, but few pixels change."""
    network = SegmentationNetwork(build_network("unet", classes=4, width=4).module, classes=4, stride=16).eval()
    image = F.interpolate(torch.rand(1, 3, 12, 16), size=(180, 250), mode="bilinear")[0]
    found = joined(
        blended_tiles(lambda images: network(images).logits, image, window=128, overlap=64, stride=16), image
    )
    whole = forward_padded(network, image[None])[0]
    assert (found.argmax(0) == whole.argmax(0)).float().mean() > 0.97
    assert (found - whole).abs().max() < 0.2 * whole.std()
