"""Region mutual information as one would write it down: slow, short, and the reference of the tests.

Unlike the other routines it can be differentiated twice.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.rmi.maps import region_maps
from segmi.losses.rmi.rmi_config import RMIOptions, expand_options, read_options
from segmi.losses.targets import read_targets
from segmi.types import IGNORE_INDEX, Labels, Logits

__all__ = ["region_mutual_information_plain"]


@expand_options
def region_mutual_information_plain(
    logits: Logits, labels: Labels, *, ignore_index: int | None = IGNORE_INDEX, **options: Unpack[RMIOptions]
) -> Tensor:
    """Compute `region_mutual_information` in float64 by unfolding every window."""
    config = read_options(options)
    radius = config.radius
    maps = region_maps(logits.double(), read_targets(logits, labels, ignore_index), config)
    terms, varying = [], []
    for p, y, valid in zip(*maps, strict=True):  # C×h×w, C×h×w, h×w
        keep = _windows(valid.double()[None], radius)[0].amin(0) == 1
        if config.ignored == "zero":
            keep = torch.ones_like(keep)
        p_windows, y_windows = _windows(p + 1e-6, radius)[..., keep], _windows(y, radius)[..., keep]
        varies = _varies(y_windows) if keep.any() else torch.zeros(len(y), dtype=torch.bool, device=y.device)
        if config.variant == "published":
            terms.append(_published(p_windows, y_windows, config.alpha))
        else:
            pairs, ridge = zip(p_windows, y_windows, varies, strict=True), config.relative_ridge
            by_class = [_corrected(p_c, y_c, ridge) if some else 0 * p.sum() for p_c, y_c, some in pairs]
            terms.append(torch.stack(by_class))
        varying.append(varies)
    if not terms:
        return 0 * logits.double().sum()
    every = torch.stack(terms) / radius**2  # N×C
    if config.class_reduction == "present":
        return every[torch.stack(varying)].sum() / torch.stack(varying).sum().clamp(min=1) + 0 * every.sum()
    return every.sum(1).mean() if config.class_reduction == "sum" else every.mean()


def _windows(maps: Tensor, radius: int) -> Tensor:
    """Unfold C×H×W maps to C×d×n windows."""
    return F.unfold(maps.unsqueeze(1), radius)


def _varies(y: Tensor) -> Tensor:
    """Return whether any position in the window takes different values, beyond the rounding of interpolation."""
    return (y.amax(-1) - y.amin(-1) > 1e-10).any(1)


def _published(p: Tensor, y: Tensor, alpha: float) -> Tensor:
    """½ log det(M + αI), M = S_yy - S_yp (S_pp + αI)⁻¹ S_ypᵀ (eq. 14-16); S are sums, not means."""
    p, y = _centered(p), _centered(y)
    ridge = alpha * torch.eye(p.shape[-2], dtype=p.dtype, device=p.device)  # αI
    y_p = y @ p.mT  # S_yp
    conditional = y @ y.mT - y_p @ torch.linalg.inv(p @ p.mT + ridge) @ y_p.mT
    diagonal = torch.linalg.cholesky(conditional + ridge).diagonal(dim1=-2, dim2=-1)
    return 0.5 * 2 * torch.log(diagonal + 1e-8).sum(-1)


def _corrected(p: Tensor, y: Tensor, relative_ridge: float) -> Tensor:
    """-I_G = ½ log det(M + εI) - ½ log det(S_yy + εI), ε relative to the mean variance of the label window."""
    p, y = _centered(p), _centered(y)
    n = p.shape[-1]
    s_pp, s_yy, s_yp = p @ p.mT / n, y @ y.mT / n, y @ p.mT / n
    ridge = relative_ridge * s_yy.diagonal().mean() * torch.eye(len(p), dtype=p.dtype, device=p.device)
    conditional = s_yy - s_yp @ torch.linalg.inv(s_pp + ridge) @ s_yp.mT  # M
    return 0.5 * (torch.logdet(conditional + ridge) - torch.logdet(s_yy + ridge))


def _centered(windows: Tensor) -> Tensor:
    return windows - windows.mean(-1, keepdim=True) if windows.shape[-1] else windows
