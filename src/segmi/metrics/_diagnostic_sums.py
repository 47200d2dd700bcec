"""Sums over the pixels of an image that `segmi.metrics.diagnostics` is made of, by whichever routine is faster."""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.information import jensen_shannon_divergence_of_logs, prediction_sums


def sums_of(logits: list[Tensor], labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """K×(3C² + C) sums and the Jensen–Shannon sum of one image, from C×n logits of K networks and n labels."""
    if labels.device.type != "cpu":
        return sums_by_maps(logits, labels, ignore_index)
    from segmi.metrics._diagnostics_cpu import add_pixels

    together = logits[0][None] if len(logits) == 1 else torch.stack(logits)
    # two dtypes of labels are compiled for, see `segmi.metrics.confusion`
    flat = labels if labels.dtype == torch.uint8 else labels.long()
    sums, divergence = add_pixels(together.contiguous().numpy(), flat.numpy(), ignore_index)
    return torch.from_numpy(sums), torch.tensor(divergence, dtype=torch.float64)


def sums_by_maps(logits: list[Tensor], labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The sums by PyTorch alone, on any device: what the compiled routine is tested against."""
    wide = torch.float32 if labels.device.type == "mps" else torch.float64
    classes = logits[0].shape[0]
    index = labels.long()
    valid = (index != ignore_index) & (index >= 0) & (index < classes)
    index = index.masked_fill(~valid, 0)
    # whatever stands at ignored pixels, NaN included
    logs = [z.masked_fill(~valid, 0).log_softmax(0) for z in logits]
    rows = []
    for log_p in logs:
        sums = prediction_sums(log_p, index, weights=valid, dim=0, check=False)
        cells = torch.where(valid, index * classes + log_p.argmax(0), classes**2)
        hard = torch.zeros(classes**2 + 1, dtype=wide, device=labels.device)
        hard = hard.scatter_add(0, cells, torch.ones_like(cells, dtype=wide))[:-1]
        rows.append(torch.cat([hard, *(part.to(wide).flatten() for part in sums)]))
    apart = jensen_shannon_divergence_of_logs(*logs, dim=0) if len(logs) > 1 else torch.zeros_like(valid, dtype=wide)
    return torch.stack(rows), torch.where(valid, apart, 0.0).sum(dtype=wide)
