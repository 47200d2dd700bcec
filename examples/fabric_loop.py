"""Train two networks with Lightning Fabric and log the information in their predictions.

Longer run: `python examples/fabric_loop.py --epochs 20`.
"""

import argparse

import torch
from lightning.fabric import Fabric

from segmi.datasets import Processing, SegmentationDataset, open_dataset, training_batches
from segmi.losses import CrossEntropy
from segmi.models import build_network
from segmi.training import Cohort
from segmi.training.callbacks import FabricDiagnostics


def main(epochs: int) -> None:
    torch.manual_seed(0)
    fabric = Fabric(accelerator="auto", devices=1)
    scenes = open_dataset("street-scenes", train=16, val=4, height=64, width=128)  # generated images
    processing = Processing(resize=64, crop=64)
    train, val = (SegmentationDataset(scenes, scenes.split(split), processing) for split in ("train", "val"))
    classes = len(scenes.info.classes)

    criterion = CrossEntropy()
    cohort = Cohort({name: build_network("unet", classes=classes, width=8) for name in ("first", "second")})
    module, optimizer = fabric.setup(cohort, torch.optim.Adam(cohort.parameters(), lr=3e-3))
    diagnostics = FabricDiagnostics(fabric, classes)

    for epoch in range(1, epochs + 1):
        for batch in training_batches(train, batch_size=4, first=4 * (epoch - 1), last=4 * epoch):
            batch = batch.to(fabric.device)
            outputs = module(batch.images)  # outputs by network name
            optimizer.zero_grad()
            fabric.backward(sum(criterion(output.logits, batch.labels) for output in outputs.values()))
            optimizer.step()
        with torch.inference_mode():
            for batch in training_batches(val, batch_size=2, first=0, last=2):
                batch = batch.to(fabric.device)
                outputs = module(batch.images)
                diagnostics.update({name: output.logits for name, output in outputs.items()}, batch.labels)
        values = diagnostics.log(step=epoch)
        bound, divergence = values["val/barber_agakov_bound/first"], values["val/jensen_shannon_divergence"]
        print(f"epoch {epoch}/{epochs}: lower bound {bound:.3f} nats, divergence of the networks {divergence:.4f} nats")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2, help="epochs of four steps")
    main(parser.parse_args().epochs)
