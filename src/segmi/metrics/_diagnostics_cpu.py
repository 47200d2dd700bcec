"""The sums of `segmi.metrics.diagnostics`, compiled: every pixel is visited once, and no map is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

STRETCH: Final = 64
"""Pixels whose probabilities are held at a time, so that they stay in the first cache."""

_compiled: Final[Callable[..., Any]] = njit(nogil=True, cache=True)


@_compiled
def _probabilities(z: Any, start: int, p: Any, logs: Any) -> None:
    """The softmax of a stretch of pixels (pixel × class) and, by pixel, the largest logit and log Σ exp."""
    classes, size = z.shape[0], p.shape[0]
    for b in range(size):
        logs[b, 0] = z[0, start + b]
    for c in range(1, classes):
        for b in range(size):
            logs[b, 0] = max(logs[b, 0], z[c, start + b])
    for b in range(size):
        total = np.float32(0)
        for c in range(classes):
            e = math.exp(z[c, start + b] - logs[b, 0])
            p[b, c] = e
            total += e
        logs[b, 1] = logs[b, 0] + math.log(total)
        share = np.float32(1) / total
        for c in range(classes):
            p[b, c] *= share


@_compiled
def add_pixels(
    z: NDArray[np.float32], labels: NDArray[np.integer], ignore_index: int
) -> tuple[NDArray[np.float64], float]:
    """Per network the hard counts, the mass, the log mass and the surprise, and of all the Jensen–Shannon sum.

    Shapes: K×C×n logits and n labels to K×(3C² + C), in the order of `PredictionDiagnostics`, and a number.
    """
    networks, classes, pixels = z.shape
    square = classes * classes
    out = np.zeros((networks, 3 * square + classes))
    divergence = 0.0
    p, mixture = np.empty((STRETCH, classes), np.float32), np.empty((STRETCH, classes), np.float32)
    logs, surprises = np.empty((STRETCH, 2), np.float32), np.empty(STRETCH)
    for start in range(0, pixels, STRETCH):
        size = min(STRETCH, pixels - start)
        mixture[:] = 0
        surprises[:] = 0
        for k in range(networks):
            _probabilities(z[k], start, p[:size], logs)
            for b in range(size):
                label = np.int64(labels[start + b])
                if label == ignore_index or not 0 <= label < classes:
                    continue
                row, best, mean = square + label * classes, 0, 0.0
                for c in range(classes):
                    log_p = z[k, c, start + b] - logs[b, 1]
                    out[k, row + c] += p[b, c]
                    out[k, row + square + c] += log_p
                    mean -= p[b, c] * log_p
                    if p[b, c] > p[b, best]:
                        best = c
                    mixture[b, c] += p[b, c]
                out[k, 3 * square + label] += mean
                out[k, label * classes + best] += 1
                surprises[b] += mean
        if networks > 1:
            for b in range(size):
                whole = 0.0
                for c in range(classes):
                    share = np.float64(mixture[b, c]) / networks
                    if share > 0:
                        whole -= share * math.log(share)
                divergence += whole - surprises[b] / networks
    return out, divergence
