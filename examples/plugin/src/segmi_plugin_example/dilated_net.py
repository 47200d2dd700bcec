"""A network of dilated convolutions at the resolution of the image."""

from torch import nn


def dilated_net(outputs: int, in_channels: int = 3, *, width: int = 32, depth: int = 5) -> nn.Module:
    """Build a network of ``depth`` convolutions with dilations 1, 2, 4 …, of ``width`` channels each.

    Source: Yu and Koltun, *Multi-Scale Context Aggregation by Dilated Convolutions*, ICLR 2016.
    """
    layers: list[nn.Module] = []
    for step in range(depth):
        convolution = nn.Conv2d(width if step else in_channels, width, 3, padding=2**step, dilation=2**step, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, outputs, 1))
