"""Train a network with RMILoss in a plain PyTorch loop.

Longer run: `python examples/bare_loop.py --steps 200`.
"""

import argparse

import torch

from segmi.datasets import Processing, SegmentationDataset, open_dataset, training_batches
from segmi.losses import RMILoss
from segmi.models import build_network


def main(steps: int) -> None:
    torch.manual_seed(0)
    scenes = open_dataset("street-scenes", train=16, val=1, height=64, width=128)  # generated images
    images = SegmentationDataset(scenes, scenes.split("train"), Processing(resize=64, crop=64))

    network = build_network("unet", classes=len(scenes.info.classes), width=8)
    criterion = RMILoss(variant="corrected")  # half binary cross-entropy, half region mutual information
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)

    for step, batch in enumerate(training_batches(images, batch_size=4, first=0, last=steps), 1):
        logits = network(batch.images).logits  # N×C×H×W; labels are N×H×W, 255 at ignored pixels
        parts = criterion.terms(logits, batch.labels)
        loss = criterion(logits, batch.labels)  # the weighted sum of the parts
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values = ", ".join(f"{name} {term.value.item():.3f}" for name, term in parts.items())
        print(f"step {step}/{steps}: loss {loss.item():.3f} ({values})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="optimizer steps")
    main(parser.parse_args().steps)
