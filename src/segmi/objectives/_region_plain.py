"""Region mutual information as one would write it down: the slow, readable twin of the fast routine.

It is the oracle of the tests, and the only one of the two that can be differentiated twice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segmi.arrays import VOID, Labels, Logits
from segmi.objectives.targets import read_targets


def region_mutual_information_plain(
    logits: Logits,
    labels: Labels,
    *,
    radius: int = 3,
    mode: str = "reference",
    alpha: float = 5e-4,
    relative_ridge: float = 1e-3,
    ignore_index: int = VOID,
) -> Tensor:
    """What `segmi.objectives.region_mutual_information` computes, in float64 throughout, by unfolding every window."""
    targets = read_targets(logits, labels, ignore_index)
    z = logits.double()
    classes = torch.arange(z.shape[1]) if z.shape[1] > 1 else torch.ones(1, dtype=torch.long)
    valid = targets.valid.unsqueeze(1)
    one_hot = (targets.classes.unsqueeze(1) == classes.to(z.device).view(1, -1, 1, 1)) & valid
    p = z.sigmoid() * valid + 1e-6
    if mode == "reference":
        windows = [(_windows(p_n, radius), _windows(y_n.double(), radius)) for p_n, y_n in zip(p, one_hot, strict=True)]
        terms = [_published(p_windows, y_windows, alpha) for p_windows, y_windows in windows]
        return torch.stack(terms).sum(1).mean() / radius**2 if terms else 0 * z.sum()
    inside = [_windows(v_n.double(), radius)[0].amin(0) == 1 for v_n in valid]
    terms = []
    for p_n, y_n, keep in zip(p, one_hot, inside, strict=True):
        y_windows, p_windows = _windows(y_n.double(), radius)[..., keep], _windows(p_n, radius)[..., keep]
        varying = (y_windows != y_windows[..., :1]).flatten(1).any(1)
        pairs = zip(p_windows[varying], y_windows[varying], strict=True)
        terms += [_sound(p_c, y_c, relative_ridge) for p_c, y_c in pairs]
    return torch.stack(terms).mean() / radius**2 if terms else 0 * z.sum()


def _windows(maps: Tensor, radius: int) -> Tensor:
    """C×H×W to C×d×n."""
    return F.unfold(maps.unsqueeze(1), radius)


def _published(p: Tensor, y: Tensor, alpha: float) -> Tensor:
    p, y = p - p.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    ridge = alpha * torch.eye(p.shape[-2], dtype=p.dtype, device=p.device)
    y_p = y @ p.mT
    conditional = y @ y.mT - y_p @ torch.linalg.inv(p @ p.mT + ridge) @ y_p.mT
    diagonal = torch.linalg.cholesky(conditional + ridge).diagonal(dim1=-2, dim2=-1)
    return 0.5 * 2 * torch.log(diagonal + 1e-8).sum(-1)


def _sound(p: Tensor, y: Tensor, relative_ridge: float) -> Tensor:
    p, y = p - p.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    n = p.shape[-1]
    s_pp, s_yy, s_yp = p @ p.mT / n, y @ y.mT / n, y @ p.mT / n
    ridge = relative_ridge * s_yy.diagonal().mean() * torch.eye(len(p), dtype=p.dtype, device=p.device)
    conditional = s_yy - s_yp @ torch.linalg.inv(s_pp + ridge) @ s_yp.mT
    return 0.5 * (torch.logdet(conditional + ridge) - torch.logdet(s_yy + ridge))
