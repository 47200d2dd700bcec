"""The U-Net of the paper, in the layout of Buda et al. (2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmi.errors import UsageError

LEVELS = 4  # the number of times that the channels double and the resolution halves


class UNet(nn.Module):
    """U-Net with batch normalization and transposed convolutions.

    Four encoder blocks, a bottleneck and four decoder blocks, each with two 3×3 convolutions (no bias, batch norm,
    ReLU). After every encoder block, 2×2 max pooling halves the resolution and the number of channels doubles. 2×2
    transposed convolutions upsample, and the encoder's map of the same size is concatenated. A 1×1 convolution returns
    the logits.

    Shapes: N×in_channels×H×W images to N×outputs×H×W logits, H and W multiples of 16.

    Args:
        outputs: number of logit channels.
        in_channels: number of channels of the images.
        width: channels of the first block; 32 in the paper (7.76 M parameters with 21 classes).

    Raises:
        UsageError: if an argument is below 1.

    Source: Buda, Saha, Mazurowski: Association of genomic subtypes of lower-grade gliomas with shape features
        automatically extracted by a deep learning algorithm. Computers in Biology and Medicine 109, 2019.

    Example:
        >>> network = UNet(outputs=21)
        >>> sum(parameter.numel() for parameter in network.parameters())
        7763701
        >>> UNet(outputs=2, width=4)(torch.zeros(1, 3, 32, 48)).shape
        torch.Size([1, 2, 32, 48])
    """

    stride = 2**LEVELS

    def __init__(self, outputs: int, in_channels: int = 3, width: int = 32) -> None:
        super().__init__()
        for name, value in (("outputs", outputs), ("in_channels", in_channels), ("width", width)):
            if value < 1:
                raise UsageError(f"{name} of the U-Net must be at least 1, got {value}")
        features = [width * 2**level for level in range(LEVELS + 1)]
        self.encoders = nn.ModuleList(
            convolutions(before, after)
            for before, after in zip([in_channels, *features], features[:LEVELS], strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = convolutions(features[-2], features[-1])
        # Both lists run from the bottleneck to the full resolution.
        self.upsamplings = nn.ModuleList(Upsampling(2 * f, f) for f in reversed(features[:LEVELS]))
        self.decoders = nn.ModuleList(convolutions(2 * f, f) for f in reversed(features[:LEVELS]))
        self.head = nn.Conv2d(width, outputs, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits at the size of the images."""
        skips = []  # maps of the encoder, from full to 1/8 resolution
        x = images
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for upsampling, decoder in zip(self.upsamplings, self.decoders, strict=True):
            x = decoder(torch.cat((upsampling(x), skips.pop()), dim=1))
        return self.head(x)


class Upsampling(nn.ConvTranspose2d):
    """2×2 transposed convolution with stride 2, ``before`` to ``after`` channels: every pixel becomes four."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, kernel_size=2, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample N×before×H×W to N×after×2H×2W."""
        cpu_bf16 = x.device.type == "cpu" and x.dtype == torch.bfloat16
        training = torch.is_grad_enabled() and output_size is None
        if cpu_bf16 and training and x.is_contiguous(memory_format=torch.channels_last):
            return self._as_product(x)
        return super().forward(x, output_size)

    def _as_product(self, x: Tensor) -> Tensor:
        """Compute the convolution as a matrix product, which halves the time of its gradient on CPUs in bfloat16."""
        images, _, height, width = x.shape
        # The weight has the layout before×after×2×2; rows of the product are the four output pixels.
        kernel = self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        bias = None if self.bias is None else self.bias.repeat(4)
        four = F.linear(x.permute(0, 2, 3, 1), kernel, bias).view(images, height, width, 2, 2, self.out_channels)
        rows = four.transpose(2, 3).reshape(images, 2 * height, 2 * width, self.out_channels)
        return rows.permute(0, 3, 1, 2)


def convolutions(before: int, after: int) -> nn.Sequential:
    """Return one block: two 3×3 convolutions without bias, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        convolution = nn.Conv2d(channels, after, kernel_size=3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
