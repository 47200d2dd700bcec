import pytest
import torch
import torch.nn.functional as F

from segmi.losses.rmi.windows import ListedWindows, OtherWindows, RowWindows, Windows, Workspace

SIZES = [(1, 6, 7), (2, 5, 9), (3, 8, 8), (4, 11, 6), (5, 5, 5), (10, 14, 13)]


@pytest.mark.parametrize(
    ("kind", "radius", "height", "width"),
    [
        (kind, *size)
        for kind in ("rows", "picked", "others")
        for size in SIZES
        if kind != "others" or size != (5, 5, 5)  # its only window cannot be excluded
    ],
)
def test_equals_unfolding(kind: str, radius: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    p, y = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)
    y = y > 0.5
    matrix = torch.cat([F.unfold(image.double().unsqueeze(1), radius) for image in (p, y)], 1)
    keep = torch.arange(matrix.shape[-1])
    columns = width - radius + 1
    workspace = Workspace(4, height, width, radius, p.device)
    RowWindows(y, p, workspace).fold(torch.ones(3, radius**2, 2 * radius**2, dtype=torch.float64))  # fills it
    match kind:
        case "rows":
            windows: Windows = RowWindows(p, y, workspace)
        case "picked":
            keep = keep[::2]
            windows = ListedWindows(p, y, radius, keep // columns * width + keep % columns)
        case "others":
            out, keep = keep[::3], keep[keep % 3 > 0]
            windows = OtherWindows(p, y, workspace, out // columns * width + out % columns)
    centered = matrix[..., keep] - matrix[..., keep].mean(-1, keepdim=True)
    assert windows.count == len(keep)
    torch.testing.assert_close(windows.sums, centered @ centered.mT)

    coefficients = torch.randn(3, radius**2, 2 * radius**2, generator=generator, dtype=torch.float64)
    spread = torch.zeros(3, radius**2, matrix.shape[-1], dtype=torch.float64)
    spread[..., keep] = coefficients @ centered
    expected = F.fold(spread, (height, width), radius).squeeze(1)
    torch.testing.assert_close(windows.fold(coefficients), expected)
