"""Train a Lightning module with RMILoss and log the information in its predictions after every epoch.

Longer run: `python examples/lightning_module.py --steps 200`.
"""

import argparse
import logging
import warnings

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from segmi.datasets import Processing, SegmentationDataset, open_dataset, training_batches
from segmi.losses import RMILoss
from segmi.training.callbacks import DiagnosticsCallback


class Crops(Dataset):
    """Dataset of pairs of a crop and its labels."""

    def __init__(self, images: SegmentationDataset, number: int) -> None:
        batches = training_batches(images, batch_size=1, first=0, last=number)
        self.pairs = [(batch.images[0], batch.labels[0]) for batch in batches]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.pairs[index]


class Segmenter(lightning.LightningModule):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, classes, 3, padding=1)
        )
        self.criterion = RMILoss(variant="corrected")

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)  # any precision: the loss computes in float32
        for name, term in self.criterion.terms(logits, labels).items():
            self.log(f"train/{name}", term.value, prog_bar=True)
        return self.criterion(logits, labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> dict[str, Tensor]:
        images, labels = batch
        return {"logits": self.network(images), "labels": labels}  # read by DiagnosticsCallback

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def main(steps: int) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    lightning.seed_everything(0, verbose=False)
    scenes = open_dataset("street-scenes", train=16, val=1, height=64, width=128)
    images = SegmentationDataset(scenes, scenes.split("train"), Processing(resize=64, crop=64))
    loader = DataLoader(Crops(images, 16), batch_size=4, shuffle=True)
    classes = len(scenes.info.classes)
    trainer = lightning.Trainer(
        max_steps=steps, accelerator="auto", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[DiagnosticsCallback(classes)],
    )  # fmt: skip
    val = SegmentationDataset(scenes, scenes.split("val"), Processing(resize=64, crop=64))
    trainer.fit(Segmenter(classes), loader, DataLoader(Crops(val, 1)))
    values = ", ".join(f"{name} {value:.3f}" for name, value in trainer.callback_metrics.items())
    print(f"after {trainer.global_step} steps: {values}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="optimizer steps")
    main(parser.parse_args().steps)
