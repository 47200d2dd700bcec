"""Compiled CPU loops of `confusion_matrix` and `diagnostics`: one pass over the pixels, without temporary maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

# neighboring pixels often increment the same counter; separate tables avoid waiting for the previous increment
TABLES: Final = 4

# pixels whose probabilities are computed at a time, few enough for the L1 cache
BLOCK: Final = 64

_compiled: Final[Callable[..., Any]] = njit(nogil=True, cache=True)


@_compiled
def count_pixels(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], classes: int, ignore_index: int
) -> tuple[NDArray[np.int64], bool]:
    """Return the confusion counts of two flat maps, and whether all ids are known; otherwise the counts are invalid.

    Shapes: N and N, integer, to C×C int64, rows the truth.
    """
    tables = np.zeros((TABLES, classes * classes), np.int64)
    known = True
    for i in range(labels.size):
        label = np.int64(labels[i])
        if label != ignore_index:
            prediction = np.int64(predictions[i])
            if 0 <= label < classes and 0 <= prediction < classes:
                tables[i % TABLES, label * classes + prediction] += 1
            else:
                known = False
    return tables.sum(0).reshape(classes, classes), known


@_compiled
def _probabilities(z: Any, start: int, p: Any, logs: Any) -> None:
    # Write the softmax of a block of pixels (pixel × class) and, per pixel, the largest logit and log Σ exp
    classes, size = z.shape[0], p.shape[0]
    for b in range(size):
        logs[b, 0] = z[0, start + b]
    for c in range(1, classes):
        for b in range(size):
            # largest logit first, so that exponentials do not overflow
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
    """Return hard counts, mass, log mass and surprise per network, and the Jensen–Shannon sum of all.

    Shapes: K×C×n logits and n labels to K×(3C² + C), in the order of `PredictionDiagnostics`, and a number.
    """
    networks, classes, pixels = z.shape
    square = classes * classes
    out = np.zeros((networks, 3 * square + classes))
    divergence = 0.0
    p, mixture = np.empty((BLOCK, classes), np.float32), np.empty((BLOCK, classes), np.float32)
    logs, surprises = np.empty((BLOCK, 2), np.float32), np.empty(BLOCK)
    for start in range(0, pixels, BLOCK):
        size = min(BLOCK, pixels - start)
        mixture[:] = 0
        surprises[:] = 0
        for k in range(networks):
            _probabilities(z[k], start, p[:size], logs)
            for b in range(size):
                label = np.int64(labels[start + b])
                if label == ignore_index or not 0 <= label < classes:
                    continue
                # offsets of the pixel's label in the C×C parts
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
                # entropy of the mixture minus the mean entropy
                divergence += whole - surprises[b] / networks
    return out, divergence
