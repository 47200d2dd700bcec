"""Images per second from the cache and from decoding every time, and growth with the number of images: `make bench`.

The baseline is the usual first implementation: Pillow decodes image and mask, resizes both and cuts a random crop, for
every item. Both candidates return the same items and take turns in one process, so that changes of the machine's speed
affect them alike; the best round counts. The sources are generated street scenes in the layout of Cityscapes, 2048 ×
1024, and CamVid where it is installed. Growth of time and memory is measured in passes over 1, 4 and 16 copies of a
dataset in a cache entry of that size, in separate processes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from surroundings import data_folder, machine, status

from segmi.datasets import DatasetReader, Sample, open_dataset
from segmi.datasets.cache import Store, entry_key, prepare
from segmi.datasets.cache.store import StoreWriter
from segmi.datasets.loader import epoch_order
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.training.allocator import keep_freed_memory

BATCH = 8


class Scale(NamedTuple):
    """Size of the benchmark."""

    sources: int
    height: int
    width: int
    decoded: int
    cached: int
    rounds: int
    copies: tuple[int, ...]


FULL = Scale(sources=24, height=1024, width=2048, decoded=16, cached=4096, rounds=7, copies=(1, 4, 16))
QUICK = Scale(sources=4, height=64, width=128, decoded=4, cached=64, rounds=2, copies=(1, 4))


def save_cityscapes(root: Path, scale: Scale) -> DatasetReader:
    """Save street scenes in the layout of Cityscapes, with its ids 7 to 17 for the classes of the scenes."""
    half = (scale.height // 2, scale.width // 2)
    scenes = open_dataset("street-scenes", train=scale.sources, val=1, height=half[0], width=half[1])
    for number, sample in enumerate(scenes.split("train")):
        image, mask = scenes.read(sample)
        noise = np.random.default_rng(number).integers(
            -6, 7, (scale.height, scale.width, 3)
        )  # sensor noise, so that the PNG is realistically large
        noisy = np.clip(image.repeat(2, 0).repeat(2, 1).astype(np.int16) + noise, 0, 255).astype(np.uint8)
        ids = np.where(mask == 255, 0, mask % 26 + 7).astype(np.uint8).repeat(2, 0).repeat(2, 1)
        for kind, suffix, pixels in (("leftImg8bit", "leftImg8bit", noisy), ("gtFine", "gtFine_labelIds", ids)):
            path = root / kind / "train" / "town" / f"town_{number:06d}_000019_{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    for kind in ("leftImg8bit", "gtFine"):
        (root / kind / "val").mkdir(exist_ok=True)
    return open_dataset("cityscapes", root)


def repeated(images: SegmentationDataset, copies: int, folder: Path) -> SegmentationDataset:
    """Return the images several times over, in a cache entry of that size that is copied, not decoded again."""
    store = images.prepared
    if store is None:
        raise RuntimeError("expected images from a cache")
    samples = [s._replace(name=f"{s.name}-{copy}") for copy in range(copies) for s in images.samples]
    key = entry_key(images.dataset, "train", samples, resize=images.processing.resize)
    if key is None:
        raise RuntimeError(f"{images.dataset.info.name} cannot be cached")
    folder.mkdir()
    with StoreWriter(folder, key) as writer:
        for row in list(range(len(store))) * copies:
            writer.add([store.array(column, row) for column in store.columns], np.zeros(256, np.int64))
        writer.finish()
    return SegmentationDataset(images.dataset, samples, images.processing, prepared=Store(folder))


def decode_and_crop(dataset: DatasetReader, sample: Sample, processing: Processing, seed: int) -> tuple[Any, Any]:
    """Decode, resize and crop one item: 3×H×W and H×W uint8."""
    rng = np.random.default_rng(seed)
    side, crop = processing.resize or 0, processing.crop
    with Image.open(sample.image) as file:  # type: ignore[arg-type]
        image = file.convert("RGB")
    with Image.open(sample.mask) as file:  # type: ignore[arg-type]
        mask = file.copy()
    if side:
        image, mask = image.resize((side, side), Image.Resampling.BILINEAR), mask.resize((side, side), 0)
    left, top = rng.integers(0, image.width - crop + 1), rng.integers(0, image.height - crop + 1)
    box = (left, top, left + crop, top + crop)
    ids = np.asarray(dataset.info.lookup, np.int16)[np.asarray(mask.crop(box))].astype(np.uint8)
    return np.asarray(image.crop(box)).transpose(2, 0, 1), ids


def decoded_batch(dataset: DatasetReader, samples: Sequence[Sample], processing: Processing, seed: int) -> Any:
    items = [decode_and_crop(dataset, sample, processing, seed + n) for n, sample in enumerate(samples)]
    return torch.from_numpy(np.stack([i for i, _ in items])), torch.from_numpy(np.stack([m for _, m in items]))


def to_training_types(images: torch.Tensor, labels: torch.Tensor) -> Any:
    return images.float().div_(255), labels.long()


def cached_images(dataset: DatasetReader, processing: Processing, cache: Path) -> tuple[SegmentationDataset, float]:
    """Return the training images with a new cache, and the seconds that one process needs to build it."""
    samples = dataset.split("train")
    key = entry_key(dataset, "train", samples, resize=processing.resize)
    if key is None:
        raise RuntimeError(f"{dataset.info.name} cannot be cached")
    begin = time.perf_counter()
    store = prepare(cache, dataset, samples, key, jobs=1)
    return SegmentationDataset(dataset, samples, processing, prepared=store), time.perf_counter() - begin


def keys(count: int, total: int) -> list[list[tuple[int, int]]]:
    """Return (epoch, index) of the items of whole batches, in the shuffled order of each epoch."""
    flat: list[tuple[int, int]] = []
    epoch = 0
    while len(flat) < total:
        flat += [(epoch, int(index)) for index in epoch_order(count, 0, epoch)]
        epoch += 1
    return [flat[first : first + BATCH] for first in range(0, total, BATCH)]


def rates(images: SegmentationDataset, scale: Scale) -> dict[str, float]:
    """Return the items per second of both candidates, as uint8 crops and as float images with int64 labels."""
    dataset, processing = images.dataset, images.processing
    few = [[images.samples[index] for _, index in some] for some in keys(len(images), scale.decoded)]
    many = keys(len(images), scale.cached)
    candidates: dict[str, tuple[int, Callable[[], None]]] = {
        "decoded, crops": (scale.decoded, lambda: each(few, lambda s: decoded_batch(dataset, s, processing, 0))),
        "decoded, batches": (
            scale.decoded,
            lambda: each(few, lambda s: to_training_types(*decoded_batch(dataset, s, processing, 0))),
        ),
        "cached, crops": (scale.cached, lambda: each(many, images.crops)),
        "cached, batches": (scale.cached, lambda: each(many, images.batch)),
    }
    best = dict.fromkeys(candidates, 0.0)
    for number in range(scale.rounds + 1):
        for name, (count, work) in candidates.items():
            begin = time.perf_counter()
            work()
            if number:  # the first round warms up
                best[name] = max(best[name], count / (time.perf_counter() - begin))
    return best


def each(groups: Sequence[Any], work: Callable[[Any], Any]) -> None:
    for group in groups:
        work(group)


def growth(name: str, root: str, shared: str, copies: int, processing: Processing) -> dict[str, float]:
    """Return the microseconds per image of a pass over copies of a dataset, and the growth of this process's memory."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        images, _ = cached_images(open_dataset(name, root), processing, Path(shared))
        images = repeated(images, copies, Path(cache) / "copies")
        batches = keys(len(images), len(images))
        each(batches[:4], images.batch)
        before, times = status("RssAnon"), []
        # As in a run. Otherwise, depending on the heap, each batch may get new memory, which takes ten times as long as
        # reading the images.
        with keep_freed_memory(torch.device("cpu")):
            for _ in range(5):
                begin = time.perf_counter()
                each(batches, images.batch)
                times.append(time.perf_counter() - begin)
        return {
            "images": len(images),
            "µs": 1e6 * min(times) / len(images),
            "grown": max(0, status("RssAnon") - before),
            "anonymous": status("RssAnon"),
            "mapped": images.prepared.nbytes if images.prepared else 0,
        }


def growth_table(name: str, root: Path, shared: Path, scale: Scale, processing: Processing) -> str:
    """Return the table of `growth`, each row from a separate process."""
    lines = [
        "| images | mapped | time per image | anonymous memory | growth over five passes |",
        "|---:|---:|---:|---:|---:|",
    ]
    for copies in scale.copies:
        options = json.dumps({"resize": processing.resize, "crop": processing.crop})
        command = [sys.executable, __file__, "--growth", name, str(root), str(shared), str(copies), options]
        row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        lines.append(
            f"| {row['images']:.0f} | {row['mapped'] / 2**20:.0f} MiB | {row['µs']:.0f} µs | "
            f"{row['anonymous'] / 2**20:.0f} MiB | {row['grown'] / 2**20:.1f} MiB |"
        )
    return "\n".join(lines)


def table(rate: dict[str, float], built: float, images: SegmentationDataset) -> str:
    lines = ["| item | decoded every time | from the cache | × |", "|---|---:|---:|---:|"]
    for what, title in (
        ("crops", "crop and labels, uint8"),
        ("batches", f"batches of {BATCH}: float images, int64 labels"),
    ):
        plain, ours = rate[f"decoded, {what}"], rate[f"cached, {what}"]
        lines.append(f"| {title} | {plain:,.1f} /s | {ours:,.0f} /s | {ours / plain:,.0f} |")
    per_image = 1e3 * built / len(images)
    return "\n".join([*lines, "", f"One process builds the cache in {per_image:.0f} ms per image."])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: tiny sizes and few rounds")
    parser.add_argument(
        "--root",
        default=data_folder(),
        help="folder that contains CamVid/ (%(default)s)",
    )
    parser.add_argument("--growth", nargs=5, help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    torch.set_num_threads(1)
    if given.growth:
        name, root, shared, copies, options = given.growth
        print(json.dumps(growth(name, root, shared, int(copies), Processing(**json.loads(options)))))
        return 0
    scale = QUICK if given.quick else FULL
    processing = Processing(resize=48, crop=40) if given.quick else Processing()
    print("# Data, images per second\n")
    print(f"{datetime.date.today()}, {machine()}, PyTorch {torch.__version__}, Pillow {Image.__version__}.")
    print("Written by `python benchmarks/data.py" + (" --quick" if given.quick else "") + "`.\n")
    print(f"One process; resized to {processing.resize} × {processing.resize}, random crops of {processing.crop}².")
    print(f"The best of {scale.rounds} rounds; both candidates take turns.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sets: dict[str, DatasetReader] = {
            f"Sources of {scale.width} × {scale.height}": save_cityscapes(folder / "cityscapes", scale)
        }
        try:
            sets["CamVid"] = open_dataset("camvid", given.root)
        except Exception as error:
            print(f"\nWithout CamVid: {str(error).splitlines()[0]}", file=sys.stderr)
        for title, dataset in sets.items():
            images, built = cached_images(dataset, processing, folder / "cache")
            print(f"\n## {title}, {len(images)} images\n")
            print(table(rates(images, scale), built, images), flush=True)
        title, dataset = list(sets.items())[-1]
        print(f"\n## Growth: {title}, repeated\n")
        root = Path(getattr(dataset, "root", "."))
        print(growth_table(dataset.info.name, root, folder / "cache", scale, processing), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
