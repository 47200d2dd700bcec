"""An objective that looks inside the networks is made acquainted with them before anything is optimized."""

from __future__ import annotations

import torch

from segmi.errors import UsageError
from segmi.losses.base import Objective
from segmi.randomness import key
from segmi.training.cohort import Cohort


def look_inside(cohort: Cohort, objective: Objective, *, device: torch.device, side: int, seed: int) -> None:
    """Let the cohort return the layers that the objective names, and let it make what depends on their sizes.

    One gray image goes through the networks in evaluation mode, which changes nothing of them.

    Args:
        cohort: moved to the device if the objective names a layer, otherwise left alone.
        objective: its heads are made on the device.
        device: where the run computes.
        side: of the crops.
        seed: of the run.

    Raises:
        UsageError: a network or a layer that is not there, that puts out no tensor, or that no forward pass comes by.
    """
    layers = objective.layers()
    cohort.watch(layers, objective.transform_features if objective.transforms_features else None)
    if not layers:
        return
    was_training = cohort.training
    cohort.to(device).eval()
    try:
        with torch.no_grad():
            outputs = cohort(torch.full((1, 3, side, side), 0.5, device=device))
    finally:
        cohort.train(was_training)
    for network, names in layers.items():
        for name in names:
            if name not in outputs[network].features:
                raise UsageError(
                    f"layer {name!r} of {network} is not run in a forward pass, so it has no output",
                    "name one of the layers around it",
                )
    objective.prepare(outputs, key(seed, "objective"))
    objective.to(device)
