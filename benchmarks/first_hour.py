"""`segmi train FOLDER` without options against a common recipe, on the same images in the same time.

The recipe is written as users of segmentation_models_pytorch write it: a U-Net with a pretrained encoder, Dice loss and
cross-entropy, Adam, flips, images resized to a square, the best epoch by validation. Both sides have the same encoder
weights, threads and wall time of training with validation, and both are scored on ``val`` at its original size.

Finished cells are kept in ``--output`` and not measured again, since all of them take seven hours. Run nothing else
meanwhile.

Example: ``python benchmarks/results.py --only first_hour --data DATA --minutes 5 --seeds 0``
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from segmi.datasets import open_dataset
from segmi.datasets.reader import DatasetReader
from segmi.metrics.confusion_matrix import ConfusionMatrix
from segmi.metrics.scores import scores

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "answer"))
sys.path.insert(0, str(Path(__file__).parent))
from prepare_data import DATASETS, describe
from surroundings import machine

SIDE = 256
CELL = ("minutes", "seed", "dataset", "side", "empty_cache")


class Squares(Dataset[tuple[Tensor, Tensor]]):
    """Images resized to squares and kept in memory, flipped at random in training."""

    def __init__(self, reader: DatasetReader, split: str, side: int, *, flip: bool) -> None:
        self.flip, self.items = flip, []
        for sample in reader.split(split):
            image, mask = (torch.from_numpy(part.copy()) for part in reader.read(sample))
            image = F.interpolate(image.permute(2, 0, 1)[None].float(), (side, side), mode="bilinear", antialias=True)
            small = F.interpolate(mask[None, None].float(), (side, side), mode="nearest")[0, 0]
            self.items.append((image[0].round().byte(), small.byte(), mask))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask, _ = self.items[index]
        if self.flip and torch.rand(()) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        return image.float() / 127.5 - 1, mask.long()


@torch.inference_mode()
def score(network: nn.Module, images: Squares, classes: int) -> dict[str, Any]:
    """Return the scores of the predictions, resized to the original size."""
    matrix = ConfusionMatrix(classes)
    network.eval()
    for index, (_, _, mask) in enumerate(images.items):
        logits = F.interpolate(network(images[index][0][None]), mask.shape, mode="bilinear")
        matrix.update(logits.argmax(1), mask[None].long(), names=(str(index),), groups=(str(index),))
    return scores(matrix.pooled().numpy())


def common_recipe(folder: Path, minutes: float, seed: int, *, side: int = SIDE, rate: float = 1e-3) -> dict[str, Any]:
    """Train a U-Net of segmentation_models_pytorch as its users do, and return its scores."""
    import segmentation_models_pytorch as smp

    from segmi.models.pretrained import load_bundled

    torch.manual_seed(seed)
    reader = open_dataset("custom", folder)
    classes = len(reader.info.classes)
    train, val = Squares(reader, "train", side, flip=True), Squares(reader, "val", side, flip=False)
    loader = DataLoader(train, batch_size=8, shuffle=True, drop_last=True)
    network = smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, classes=classes)
    load_bundled(network.encoder, 3)  # ImageNet weights that need no download
    dice, cross_entropy = smp.losses.DiceLoss("multiclass", ignore_index=255), nn.CrossEntropyLoss(ignore_index=255)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    began, steps, best = time.perf_counter(), 0, {"mIoU": -1.0}
    while time.perf_counter() - began < 60 * minutes:
        network.train()
        for images, labels in loader:
            logits = network(images)
            loss = dice(logits, labels) + cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if time.perf_counter() - began >= 60 * minutes:
                break
        best = max(best, score(network, val, classes), key=lambda one: one["mIoU"])  # of the epochs
    return {"mIoU": best["mIoU"], "steps": steps, "seconds": time.perf_counter() - began}


def segmi_recipe(folder: Path, minutes: float, seed: int, output: Path, cache: Path | None = None) -> dict[str, Any]:
    """Run ``segmi train FOLDER`` with a budget and a seed, and return its scores; ``cache`` is an empty folder."""
    command = [
        sys.executable, "-m", "segmi.cli", "-q", "train", str(folder), "--minutes", str(minutes), "--seed", str(seed),
        "--output", str(output), "--overwrite", "--json",
    ]  # fmt: skip
    began = time.perf_counter()
    environment = dict(os.environ) | ({"XDG_CACHE_HOME": str(cache), "SEGMI_CACHE": ""} if cache else {})
    environment.pop("SEGMI_KERNELS", None)  # set by `surroundings`, but not by users
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    printed = json.loads(done.stdout)
    record = json.loads((Path(printed["run"]) / "result.json").read_text())
    training = {"steps": record["training"]["steps"], "seconds": record["training"]["wall_seconds"]}
    return {"mIoU": printed["scores"]["mIoU"], **training, "command_seconds": time.perf_counter() - began}


def table(rows: list[dict[str, Any]]) -> str:
    """Return mean mIoU per dataset and time on both sides, and the mean differences; pairs only."""
    cells: dict[tuple[float, str], dict[str, dict[int, float]]] = {}
    for row in rows:
        cell = cells.setdefault((row["minutes"], row["dataset"]), {"common": {}, "segmi": {}})
        cell[row["side"]][row["seed"]] = row["mIoU"]
    head = "| minutes | dataset | seeds | common recipe | segmi train | difference, points |"
    lines, differences = [head, "|---|---|---|---|---|---|"], dict[float, list[float]]()
    for (minutes, dataset), cell in sorted(cells.items()):
        seeds = sorted(cell["common"].keys() & cell["segmi"].keys())
        if not seeds:
            continue
        sides = [statistics.mean(cell[side][seed] for seed in seeds) for side in ("common", "segmi")]
        differences.setdefault(minutes, []).append(100 * (sides[1] - sides[0]))
        numbers = f"{sides[0]:.3f} | {sides[1]:.3f} | {differences[minutes][-1]:+.1f}"
        lines.append(f"| {minutes:g} | {dataset} | {len(seeds)} | {numbers} |")
    means = [f"| {minutes:g} | mean | | | | {statistics.mean(some):+.1f} |" for minutes, some in differences.items()]
    return "\n".join(lines + means)


def comparable(text: str) -> list[dict[str, Any]]:
    """Return the finished cells: of this machine, and those whose two sides are of one other machine."""
    rows = [json.loads(line) for line in text.splitlines()]
    pairs = [tuple(row[key] for key in ("machine", *CELL) if key != "side") for row in rows]
    return [row for row, pair in zip(rows, pairs, strict=True) if row["machine"] == machine() or pairs.count(pair) == 2]


def report(rows: list[dict[str, Any]]) -> str:
    """Return the chapter of RESULTS.md."""
    machines = "; ".join(sorted({f"{row['machine']}, {row['date']}" for row in rows}))
    caches = " segmi found no compiled kernels and no decoded images." if rows and rows[0]["empty_cache"] else ""
    return f"""# First hour, mIoU after the same time

Measured on {machines}. Written by `python benchmarks/first_hour.py`.

`segmi train FOLDER` without options, and a U-Net of segmentation_models_pytorch as its users train it: Dice loss and
cross-entropy, Adam, flips, images resized to a square of {SIDE}, the best epoch. Both have the same pretrained encoder
(EfficientNet-Lite0), the same time for training and validation, and are scored on `val` at its original size; each
mIoU is that of the weights chosen on `val`.{caches}

{table(rows)}"""


def main() -> None:
    """Run both sides for each dataset, time and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, help="folders with segmi.toml")
    parser.add_argument("--data", type=Path, help="folder of the datasets in --names, instead")
    parser.add_argument("--names", nargs="+", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--minutes", nargs="+", type=float, default=[5.0, 20.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".jsonl"), help="the finished cells")
    parser.add_argument(
        "--empty-cache", action="store_true", help="segmi finds no compiled kernels and no decoded images"
    )
    options = parser.parse_args()
    empty = options.empty_cache or None
    rows = comparable(options.output.read_text() if options.output.exists() else "")
    finished = {tuple(row[key] for key in CELL) for row in rows}
    with tempfile.TemporaryDirectory() as temporary:
        folders = {folder.name: folder for folder in options.folders}
        if options.data is not None:
            folders |= {DATASETS[name]: describe(name, options.data, Path(temporary, name)) for name in options.names}
        cells = product(options.minutes, options.seeds, folders, ("common", "segmi"))
        for cell in cells:
            if (*cell, bool(empty)) in finished:
                continue
            minutes, seed, name, side = cell
            if side == "common":
                result = common_recipe(folders[name], minutes, seed)
            else:
                output = Path(temporary, "runs", f"{name}-{seed}-{minutes:g}")
                result = segmi_recipe(folders[name], minutes, seed, output, empty and output / "cache")
            named = dict(zip(CELL, (*cell, bool(empty)), strict=True))
            rows.append({**named, **result, "machine": machine(), "date": f"{datetime.date.today()}"})
            print(rows[-1], file=sys.stderr)
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(report([row for row in rows if row["empty_cache"] == bool(empty)]))


if __name__ == "__main__":
    main()
