"""Images per second from the cache beside decoding every time, and what grows with their number: `make bench`.

The plain counterpart is written here as one writes it first: Pillow decodes image and mask, resizes both and cuts a
random crop, for every item anew. Both sides hand over the same things and take turns in one process, so that a change
of the machine's pace hits them alike; the best of the rounds counts. Sources are generated street scenes saved as
Cityscapes lays them out, 2048 × 1024, and CamVid where it is installed. How time and memory grow is told by passes over
1, 4 and 16 copies of a dataset in an entry so many times as large, each in a process of its own.
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
from segmi.datasets.cache import Store, content_of, prepared
from segmi.datasets.cache.store import StoreWriter
from segmi.datasets.loader import epoch_order
from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.training.allocator import keeping_freed_memory

BATCH = 8


class Scale(NamedTuple):
    """How large the benchmark is."""

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
    """Street scenes in the layout of Cityscapes; the ids are those of the scenes, which are ids of Cityscapes too."""
    half = (scale.height // 2, scale.width // 2)
    scenes = open_dataset("street-scenes", train=scale.sources, val=1, height=half[0], width=half[1])
    for number, sample in enumerate(scenes.split("train")):
        image, mask = scenes.read(sample)
        noise = np.random.default_rng(number).integers(-6, 7, (scale.height, scale.width, 3))  # a camera's, to compress
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
    """SegmentationDataset several times over, in a cache entry so many times as large; copying it saves decoding them again."""
    once = images.prepared
    if once is None:
        raise RuntimeError("expected images from a cache")
    samples = [s._replace(name=f"{s.name}-{copy}") for copy in range(copies) for s in images.samples]
    content = content_of(images.dataset, "train", samples, resize=images.processing.resize)
    if content is None:
        raise RuntimeError(f"{images.dataset.info.name} cannot be cached")
    folder.mkdir()
    with StoreWriter(folder, content) as writer:
        for row in list(range(len(once))) * copies:
            writer.add([once.array(column, row) for column in once.columns], np.zeros(256, np.int64))
        writer.finish()
    return SegmentationDataset(images.dataset, samples, images.processing, prepared=Store(folder))


def decode_and_crop(dataset: DatasetReader, sample: Sample, processing: Processing, seed: int) -> tuple[Any, Any]:
    """One item as it is usually made: 3×H×W and H×W uint8."""
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


def as_trained_on(images: torch.Tensor, labels: torch.Tensor) -> Any:
    return images.float().div_(255), labels.long()


def cached_images(dataset: DatasetReader, processing: Processing, cache: Path) -> tuple[SegmentationDataset, float]:
    """The images of train through a new cache, and how long one process built it."""
    samples = dataset.split("train")
    content = content_of(dataset, "train", samples, resize=processing.resize)
    if content is None:
        raise RuntimeError(f"{dataset.info.name} cannot be cached")
    begin = time.perf_counter()
    store = prepared(cache, dataset, samples, content, jobs=1)
    return SegmentationDataset(dataset, samples, processing, prepared=store), time.perf_counter() - begin


def keys(count: int, wanted: int) -> list[list[tuple[int, int]]]:
    """(epoch, index) of whole batches, epoch after epoch in their shuffled order."""
    flat: list[tuple[int, int]] = []
    epoch = 0
    while len(flat) < wanted:
        flat += [(epoch, int(index)) for index in epoch_order(count, 0, epoch)]
        epoch += 1
    return [flat[first : first + BATCH] for first in range(0, wanted, BATCH)]


def rates(images: SegmentationDataset, scale: Scale) -> dict[str, float]:
    """Items per second of both sides, as crops of bytes and as the floats and integers that are trained on."""
    dataset, processing = images.dataset, images.processing
    few = [[images.samples[index] for _, index in some] for some in keys(len(images), scale.decoded)]
    many = keys(len(images), scale.cached)
    sides: dict[str, tuple[int, Callable[[], None]]] = {
        "decoded, crops": (scale.decoded, lambda: each(few, lambda s: decoded_batch(dataset, s, processing, 0))),
        "decoded, batches": (
            scale.decoded,
            lambda: each(few, lambda s: as_trained_on(*decoded_batch(dataset, s, processing, 0))),
        ),
        "cached, crops": (scale.cached, lambda: each(many, images.crops)),
        "cached, batches": (scale.cached, lambda: each(many, images.batch)),
    }
    best = dict.fromkeys(sides, 0.0)
    for number in range(scale.rounds + 1):
        for name, (count, work) in sides.items():
            begin = time.perf_counter()
            work()
            if number:  # the first round warms up
                best[name] = max(best[name], count / (time.perf_counter() - begin))
    return best


def each(groups: Sequence[Any], work: Callable[[Any], Any]) -> None:
    for group in groups:
        work(group)


def growth(name: str, root: str, shared: str, copies: int, processing: Processing) -> dict[str, float]:
    """One pass over copies of a dataset: microseconds per image, and by how much this process's memory has grown."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        once, _ = cached_images(open_dataset(name, root), processing, Path(shared))
        images = repeated(once, copies, Path(cache) / "copies")
        wanted = keys(len(images), len(images))
        each(wanted[:4], images.batch)
        before, times = status("RssAnon"), []
        # As a run does. Otherwise it hangs on where in the heap a batch comes to lie whether it is fresh memory every
        # time, which costs ten times as much as what is read into it.
        with keeping_freed_memory(torch.device("cpu")):
            for _ in range(5):
                begin = time.perf_counter()
                each(wanted, images.batch)
                times.append(time.perf_counter() - begin)
        return {
            "images": len(images),
            "µs": 1e6 * min(times) / len(images),
            "grown": max(0, status("RssAnon") - before),
            "anonymous": status("RssAnon"),
            "mapped": images.prepared.nbytes if images.prepared else 0,
        }


def growth_table(name: str, root: Path, shared: Path, scale: Scale, processing: Processing) -> str:
    """The table of `growth`, each row measured in a process of its own."""
    lines = [
        "| images | mapped | time per image | anonymous memory | of which grown over five passes |",
        "|---:|---:|---:|---:|---:|",
    ]
    for copies in scale.copies:
        facts = json.dumps({"resize": processing.resize, "crop": processing.crop})
        command = [sys.executable, __file__, "--growth", name, str(root), str(shared), str(copies), facts]
        row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        lines.append(
            f"| {row['images']:.0f} | {row['mapped'] / 2**20:.0f} MiB | {row['µs']:.0f} µs | "
            f"{row['anonymous'] / 2**20:.0f} MiB | {row['grown'] / 2**20:.1f} MiB |"
        )
    return "\n".join(lines)


def table(found: dict[str, float], built: float, images: SegmentationDataset) -> str:
    lines = ["| item | decoded every time | from the cache | × |", "|---|---:|---:|---:|"]
    for what, shown in (
        ("crops", "crop and labels, bytes"),
        ("batches", f"the same in batches of {BATCH}: float images, int64 labels"),
    ):
        plain, ours = found[f"decoded, {what}"], found[f"cached, {what}"]
        lines.append(f"| {shown} | {plain:,.1f} /s | {ours:,.0f} /s | {ours / plain:,.0f} |")
    per_image = 1e3 * built / len(images)
    return "\n".join([*lines, "", f"Built by one process in {per_image:.0f} ms per image."])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few rounds, to see that it runs")
    parser.add_argument(
        "--root",
        default=data_folder(),
        help="the folder of CamVid/ (%(default)s)",
    )
    parser.add_argument("--growth", nargs=5, help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    torch.set_num_threads(1)
    if given.growth:
        name, root, shared, copies, facts = given.growth
        print(json.dumps(growth(name, root, shared, int(copies), Processing(**json.loads(facts)))))
        return 0
    scale = QUICK if given.quick else FULL
    processing = Processing(resize=48, crop=40) if given.quick else Processing()
    print("# Data, images per second\n")
    print(f"{datetime.date.today()}, {machine()}, PyTorch {torch.__version__}, Pillow {Image.__version__}.")
    print("Written by `python benchmarks/data.py" + (" --quick" if given.quick else "") + "`.\n")
    print(f"One process; resized to {processing.resize} × {processing.resize}, random crops of {processing.crop}².")
    print(f"The best of {scale.rounds} rounds, both sides in turn.")
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
