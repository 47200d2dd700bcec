"""Region mutual information as one would write it down: the slow, readable twin of the fast routine.

It is the oracle of the tests, and the only one of the two that can be differentiated twice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.losses.rmi.config import ClassReduction, IgnoredHandling, Pooling, Probability, RMIConfig, Variant
from segmi.losses.rmi.maps import region_maps
from segmi.losses.targets import read_targets
from segmi.types import IGNORE_INDEX, Labels, Logits


def region_mutual_information_plain(
    logits: Logits,
    labels: Labels,
    *,
    radius: int = 3,
    variant: Variant = "published",
    probability: Probability = "sigmoid",
    pooling: Pooling = "none",
    stride: int = 1,
    legacy_interpolation: bool = False,
    ignored: IgnoredHandling | None = None,
    class_reduction: ClassReduction | None = None,
    alpha: float = 5e-4,
    relative_ridge: float = 1e-3,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """What `segmi.losses.rmi.region_mutual_information` computes, in float64 throughout, by unfolding every window."""
    config = RMIConfig(
        radius=radius,
        variant=variant,
        alpha=alpha,
        relative_ridge=relative_ridge,
        probability=probability,
        pooling=pooling,
        stride=stride,
        legacy_interpolation=legacy_interpolation,
        ignored=ignored,
        class_reduction=class_reduction,
    )
    maps = region_maps(logits.double(), read_targets(logits, labels, ignore_index), config)
    terms, varying = [], []
    for p, y, valid in zip(*maps, strict=True):
        keep = _windows(valid.double()[None], radius)[0].amin(0) == 1
        if config.ignored == "zero":
            keep = torch.ones_like(keep)
        p_windows, y_windows = _windows(p + 1e-6, radius)[..., keep], _windows(y, radius)[..., keep]
        varies = _varies(y_windows) if keep.any() else torch.zeros(len(y), dtype=torch.bool, device=y.device)
        if variant == "published":
            terms.append(_published(p_windows, y_windows, alpha))
        else:
            pairs = zip(p_windows, y_windows, varies, strict=True)
            terms.append(
                torch.stack([_sound(p_c, y_c, relative_ridge) if some else 0 * p.sum() for p_c, y_c, some in pairs])
            )
        varying.append(varies)
    if not terms:
        return 0 * logits.double().sum()
    every = torch.stack(terms) / radius**2
    if config.class_reduction == "present":
        return every[torch.stack(varying)].sum() / torch.stack(varying).sum().clamp(min=1) + 0 * every.sum()
    return every.sum(1).mean() if config.class_reduction == "sum" else every.mean()


def _windows(maps: Tensor, radius: int) -> Tensor:
    """C×H×W to C×d×n."""
    return F.unfold(maps.unsqueeze(1), radius)


def _varies(y: Tensor) -> Tensor:
    """Whether any position in the window takes different values, beyond the rounding of interpolation."""
    return (y.amax(-1) - y.amin(-1) > 1e-10).any(1)


def _published(p: Tensor, y: Tensor, alpha: float) -> Tensor:
    p, y = _centered(p), _centered(y)
    ridge = alpha * torch.eye(p.shape[-2], dtype=p.dtype, device=p.device)
    y_p = y @ p.mT
    conditional = y @ y.mT - y_p @ torch.linalg.inv(p @ p.mT + ridge) @ y_p.mT
    diagonal = torch.linalg.cholesky(conditional + ridge).diagonal(dim1=-2, dim2=-1)
    return 0.5 * 2 * torch.log(diagonal + 1e-8).sum(-1)


def _sound(p: Tensor, y: Tensor, relative_ridge: float) -> Tensor:
    p, y = _centered(p), _centered(y)
    n = p.shape[-1]
    s_pp, s_yy, s_yp = p @ p.mT / n, y @ y.mT / n, y @ p.mT / n
    ridge = relative_ridge * s_yy.diagonal().mean() * torch.eye(len(p), dtype=p.dtype, device=p.device)
    conditional = s_yy - s_yp @ torch.linalg.inv(s_pp + ridge) @ s_yp.mT
    return 0.5 * (torch.logdet(conditional + ridge) - torch.logdet(s_yy + ridge))


def _centered(windows: Tensor) -> Tensor:
    return windows - windows.mean(-1, keepdim=True) if windows.shape[-1] else windows
