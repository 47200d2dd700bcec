"""Train with a custom loss, a plain PyTorch module, with checkpoints, selection and scores.

Longer run: `python examples/own_loss.py --steps 200 --folder runs/own`.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from segmi.datasets import Processing, SegmentationDataset, open_dataset
from segmi.losses import CrossEntropy, PerNetwork, WeightedSum
from segmi.metrics import scores
from segmi.models import build_network
from segmi.training import Budget, Cohort, LoggingConfig, OptimizationConfig, evaluate, fit


class Dice(torch.nn.Module):
    """One minus the Dice coefficient, averaged over the classes in the labels."""

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        valid = (labels != 255).unsqueeze(1)
        truth = F.one_hot(labels.masked_fill(labels == 255, 0), logits.shape[1]).movedim(-1, 1) * valid
        p = logits.softmax(1) * valid
        overlap, size = (p * truth).sum((0, 2, 3)), (p + truth).sum((0, 2, 3))
        return 1 - (2 * overlap / size.clamp(min=1))[truth.amax((0, 2, 3)) > 0].mean()


def main(steps: int, folder: Path) -> None:
    scenes = open_dataset("street-scenes", train=16, val=4, height=64, width=128)
    processing = Processing(resize=64, crop=64)
    train, val = (SegmentationDataset(scenes, scenes.split(name), processing) for name in ("train", "val"))

    cohort = Cohort({"unet": build_network("unet", classes=len(scenes.info.classes), width=4)})
    # losses of segmi are averaged over valid pixels, any other callable over images
    objective = WeightedSum([PerNetwork(CrossEntropy(), "cross_entropy"), PerNetwork(Dice(), "dice", weight=0.5)])
    outcome = fit(
        cohort,
        objective,
        train,
        folder=folder,
        budget=Budget(steps=steps),
        optimization=OptimizationConfig(batch_size=4, learning_rate=1e-2),
        logging=LoggingConfig(select_by="train_loss"),
    )
    for row in outcome.history:
        print(", ".join(f"{name} {value:.3g}" for name, value in row.items()))
    matrix = evaluate(cohort, val)["unet"]
    print(f"val mIoU {scores(matrix.pooled().numpy())['mIoU']:.3f} after {outcome.steps} steps")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps")
    parser.add_argument("--folder", type=Path, help="folder of checkpoints and logs (default: temporary)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(arguments.steps, arguments.folder or Path(temporary))
