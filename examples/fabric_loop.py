"""Two networks in a loop on Lightning Fabric, and what their predictions tell about the labels and about each other.

Longer: `python examples/fabric_loop.py --epochs 20`.
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
    scenes = open_dataset("street-scenes", train=16, val=4, height=64, width=128)  # generated, nothing is downloaded
    crops = Processing(resize=64, crop=64)
    train, held_out = (SegmentationDataset(scenes, scenes.split(split), crops) for split in ("train", "val"))
    classes = len(scenes.info.classes)

    loss_function = CrossEntropy()
    cohort = Cohort({name: build_network("unet", classes=classes, width=8) for name in ("one", "other")})
    module, optimizer = fabric.setup(cohort, torch.optim.Adam(cohort.parameters(), lr=3e-3))
    diagnostics = FabricDiagnostics(fabric, classes)

    for epoch in range(1, epochs + 1):
        for batch in training_batches(train, batch_size=4, first=4 * (epoch - 1), last=4 * epoch):
            batch = batch.to(fabric.device)
            outputs = module(batch.images)  # by name
            optimizer.zero_grad()
            fabric.backward(sum(loss_function(output.logits, batch.labels) for output in outputs.values()))
            optimizer.step()
        with torch.inference_mode():
            for batch in training_batches(held_out, batch_size=2, first=0, last=2):
                batch = batch.to(fabric.device)
                outputs = module(batch.images)
                diagnostics.update({name: output.logits for name, output in outputs.items()}, batch.labels)
        values = diagnostics.log(step=epoch)
        bound, apart = values["val/barber_agakov_bound/one"], values["val/jensen_shannon_divergence"]
        print(f"epoch {epoch}/{epochs}: at least {bound:.3f} nats about the labels, {apart:.4f} apart")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2, help="of four steps")
    main(parser.parse_args().epochs)
