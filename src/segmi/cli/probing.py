"""``segmi probe``: information about the labels in the layers of a trained network."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from segmi.cli.networks import check_classes, find_bundle, processing_of
from segmi.cli.options import AsJson, Bundle, Dataset, DatasetOptions, DatasetRoot, Device
from segmi.cli.output import calm_libraries, put_json, put_table
from segmi.cli.own_data import open_reader
from segmi.cli.progress_bars import counting


def probe(
    bundle: Bundle,
    options: DatasetOptions = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", metavar="NAME", help="A layer; may be repeated (default: the blocks)."),
    ] = None,
    data: Dataset = "folder",
    root: DatasetRoot = None,
    split: Annotated[
        str, typer.Option("--split", help="Split that is divided into the images for training, selection and test.")
    ] = "val",
    per_image: Annotated[int, typer.Option("--per-image", min=1, help="Pixels sampled per image.")] = 200,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps per probe.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the pixels and the probes.")] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Estimate the information about the labels in the layers of a bundle, with a linear and a non-linear probe each.

    The estimates are in nats, on images that the probes were not trained on, and lower bounds of I(feature; label).

    Example: `segmi probe runs/mine --root DIR --layer bottleneck --layer decoders.3`
    """
    calm_libraries()
    from segmi.datasets.segmentation_dataset import SegmentationDataset
    from segmi.deploy import load
    from segmi.training.layer_probes import probe_layers

    network = load(find_bundle(bundle))
    dataset = open_reader(data, root, options)
    check_classes(network, dataset)
    images = SegmentationDataset(dataset, dataset.split(split), processing_of(network))
    estimates = probe_layers(
        network, images, layers, per_image=per_image, seed=seed, device=device, steps=steps,
        progress=counting("probed"),
    )  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"layer": layer, **{name: estimate.nats for name, estimate in probes.items()}}
        for layer, probes in estimates.items()
    ]
    if as_json:
        put_json({"bundle": str(bundle), "data": data, "split": split, "images": len(images), "layers": rows})
    else:
        put_table(rows, ["layer", *(name for name in rows[0] if name != "layer")] if rows else ["layer"])
