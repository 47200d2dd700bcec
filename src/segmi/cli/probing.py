"""``segmi probe``: what the layers of a finished network tell about the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segmi.cli.networks import Bundle, Device, check_classes, find_bundle, processing_of
from segmi.cli.output import calm_libraries, put_json, put_table
from segmi.cli.own_data import open_reader
from segmi.cli.progress import counting


def probe(
    bundle: Bundle,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="OPTION=VALUE", help="Options of the dataset, such as val=0.2 or masks=color."),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", metavar="NAME", help="A layer, once for each; the network's blocks by default."),
    ] = None,
    data: Annotated[
        str, typer.Option("--data", metavar="NAME", help="A dataset of `segmi list datasets`, or a folder.")
    ] = "folder",
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Where it lies; SEGMI_DATA is taken otherwise.")
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Whose images the probes learn from, choose and judge by, in parts.")
    ] = "val",
    per_image: Annotated[int, typer.Option("--per-image", min=1, help="Pixels drawn from each image.")] = 200,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Updates of every probe.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Keys the pixels and the probes.")] = 0,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what the layers of a bundle tell about the labels: a linear and a small non-linear probe at each.

    In nats, below I(feature; label): what is ready to be read at a layer, on images that the probe has not seen.

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
    found = probe_layers(
        network, images, layers, per_image=per_image, seed=seed, device=device, steps=steps,
        progress=counting("probed"),
    )  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"layer": layer, **{name: estimate.nats for name, estimate in told.items()}} for layer, told in found.items()
    ]
    if as_json:
        facts = {"bundle": str(bundle), "data": data, "split": split, "images": len(images)}
        put_json({**facts, "layers": rows})
    else:
        put_table(rows, ["layer", *(name for name in rows[0] if name != "layer")] if rows else ["layer"])
