"""Sums of products over windows, and their gradients."""

import pytest
import torch
import torch.nn.functional as F

from segmi.losses.rmi import windows
from segmi.losses.rmi.windows import window_sums


@pytest.mark.parametrize("chunk", [1, 2**20])
@pytest.mark.parametrize("kind", ["all", "some", "one", "none"])
@pytest.mark.parametrize(
    ("radius", "height", "width"), [(1, 6, 7), (2, 5, 9), (3, 8, 8), (4, 11, 6), (5, 5, 5), (10, 14, 13)]
)
def test_equals_unfolding(
    monkeypatch: pytest.MonkeyPatch, kind: str, radius: int, height: int, width: int, chunk: int
) -> None:
    monkeypatch.setattr(windows, "_CHUNK_BYTES", chunk)
    generator = torch.Generator().manual_seed(0)
    p, y = torch.rand(2, 5, height, width, generator=generator, dtype=torch.float64)
    y, p = y > 0.5, p.requires_grad_()
    matrix = torch.cat([F.unfold(image.double().unsqueeze(1), radius) for image in (p, y)], 1)  # 5×2d×n
    whole = torch.rand(5, height - radius + 1, width - radius + 1, generator=generator) > 0.4
    match kind:
        case "all":
            whole = torch.ones_like(whole)
        case "one":
            whole = torch.zeros_like(whole)
            whole[:, 0, -1] = True
        case "none":
            whole[2] = False
    keep = whole.flatten(1).unsqueeze(1)
    mean = (matrix * keep).sum(-1, keepdim=True) / keep.sum(-1, keepdim=True).clamp(min=1)
    centered = (matrix - mean) * keep
    expected = centered @ centered.mT
    found = window_sums(p, y, None if kind == "all" else whole, radius)
    torch.testing.assert_close(found, expected)

    upstream = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    slope, exact = (torch.autograd.grad(one, p, upstream, retain_graph=True)[0] for one in (found, expected))
    torch.testing.assert_close(slope, exact)


def test_operators_pass_opcheck() -> None:
    p, y, upstream = torch.rand(3, 5, 6), torch.rand(3, 5, 6) > 0.5, torch.rand(3, 18, 18, dtype=torch.float64)
    for whole in (torch.ones(0, dtype=torch.bool), torch.rand(3, 3, 4) > 0.5):
        inputs = p, y, whole, torch.ones(0, dtype=torch.bool), 3, False
        torch.library.opcheck(torch.ops.segmi.window_sums, inputs)
        torch.library.opcheck(torch.ops.segmi.window_sums_gradient, (upstream, torch.rand(3, 18).double(), *inputs))
