"""The PyTorch routine: region mutual information of every (image, class) pair.

The value depends on the maps only through the covariances of their windows, which `windows` computes with a closed-form
gradient; PyTorch differentiates the rest. On the CPU, pairs whose label does not vary are skipped: their value is a
constant, their gradient zero. Elsewhere the number of pairs would have to be read, so that all are computed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segmi.losses.rmi.covariances import moves_absent_classes, skipped_value, terms_of
from segmi.losses.rmi.maps import (
    counted_pairs,
    included_windows,
    label_cells,
    pooled_probability,
    put_pairs,
    selected_pairs,
    shuffled,
    shuffled_order,
)
from segmi.losses.rmi.rmi_config import RMIConfig
from segmi.losses.rmi.windows import window_sums
from segmi.losses.targets import Targets, is_readable, upcast


class RegionTerms(NamedTuple):
    """Results for the N×C (image, class) pairs.

    Args:
        terms: N×C, the loss times d; 0 for the variant ``corrected`` where the label does not vary.
        information: N×C, I_G in nats, without gradient.
        counted: N×C bool, `counted_pairs`.
        jittered: () number of covariances that needed more than their ridge to be factored.
    """

    terms: Tensor
    information: Tensor
    counted: Tensor
    jittered: Tensor


def region_terms(logits: Tensor, targets: Targets, config: RMIConfig, *, triton: bool = False) -> RegionTerms:
    """Return the terms of all pairs; differentiable once with respect to ``logits``.

    With ``triton``, windows are summed by `segmi.losses.rmi.cuda`, only for pairs whose label varies.
    """
    with torch.autocast(logits.device.type, enabled=False):
        z = upcast(logits)
        if logits.device.type == "mps":  # without float64
            z, targets = z.cpu(), Targets(*(tensor.cpu() for tensor in targets))
        result = _terms(z, targets, config, triton)
        dtype = upcast(logits).dtype
        terms, information = (values.to(dtype).to(logits.device) for values in result[:2])
        return RegionTerms(terms, information, *(values.to(logits.device) for values in result[2:]))


def _terms(z: Tensor, targets: Targets, config: RMIConfig, triton: bool) -> RegionTerms:
    channels, dropped = z.shape[1], config.ignored == "drop"
    counted = counted_pairs(targets, channels, config)
    computed, whole = counted, None
    if dropped and not (is_readable(targets.valid) and targets.valid.all() and config.pooling == "none"):
        whole = included_windows(targets, config)
    if moves_absent_classes(config):
        computed = counted | (included_windows(targets, config) if whole is None else whole).flatten(1).any(1)[:, None]
    pairs = selected_pairs(computed)
    image, order = pairs // channels, shuffled_order(targets, config)
    p = pooled_probability(_probability(z, targets.valid, pairs, config), config)
    if order is not None and config.shuffle == "pixels":
        p = shuffled(p, order[image])
    # without a copy of the labels in float64, twice as large as the logits, where all pairs are computed at once
    y = label_cells(targets, pairs, channels, config, order, torch.float32 if triton else torch.float64)
    known = computed.flatten()[pairs]  # all True on the CPU
    sums = window_sums(p, y, None if whole is None else whole[image], config.radius, known if triton else None)
    known = known[:, None, None]
    # a regular matrix, with the value of a skipped pair in the variant `published`
    blank = torch.zeros_like(sums)
    if config.variant == "corrected":
        blank.diagonal(dim1=-2, dim2=-1).fill_(1)
    margin = config.radius - 1
    counts = torch.full_like(pairs, (p.shape[1] - margin) * (p.shape[2] - margin))  # of windows
    if whole is not None:
        counts = whole.flatten(1).sum(1)[image].clamp(min=1)
    terms, nats, jittered = terms_of(torch.where(known, sums, blank), counts, config)
    every = torch.zeros_like(counted, dtype=sums.dtype)
    if config.variant == "corrected":
        terms = torch.where(known[:, 0, 0], terms, 0)
    return RegionTerms(
        put_pairs(every + skipped_value(config), pairs, terms),
        put_pairs(every, pairs, torch.where(known[:, 0, 0], nats, 0)),
        counted,
        (jittered & known[:, 0, 0]).sum(),
    )


def _probability(z: Tensor, valid: Tensor, pairs: Tensor, config: RMIConfig) -> Tensor:
    """Return m×H×W, 0 in ignored pixels."""
    p = (z.softmax(1) if config.probability == "softmax" else z).flatten(0, 1)
    p = p if len(pairs) == len(p) else p.index_select(0, pairs)
    return (p.sigmoid() if config.probability == "sigmoid" else p) * valid[pairs // z.shape[1]]
