"""``segmi probe``: what the layers of a finished network tell about the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segmi.cli.data import parse_options
from segmi.cli.networks import Bundle, Device, check_classes, find_bundle, processing_of
from segmi.cli.output import calm_libraries, put_json, put_table
from segmi.cli.own_data import named
from segmi.cli.progress import counting


def probe(
    bundle: Bundle,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="OPTION=VALUE", help="Options of the data set, such as val=0.2 or masks=colour."),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", metavar="NAME", help="A layer, once for each; the network's blocks by default."),
    ] = None,
    data: Annotated[
        str, typer.Option("--data", metavar="NAME", help="A data set of `segmi list datasets`, or a folder.")
    ] = "folder",
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Where it lies; SEGMI_DATA is taken otherwise.")
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Whose pictures the probes learn from, choose and judge by, in parts.")
    ] = "val",
    per_picture: Annotated[int, typer.Option("--per-picture", min=1, help="Pixels drawn from each picture.")] = 200,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Updates of every probe.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Keys the pixels and the probes.")] = 0,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what the layers of a bundle tell about the labels: a linear and a small non-linear probe at each.

    In nats, below I(feature; label): what is ready to be read at a layer, on pictures that the probe has not seen.

    Example: `segmi probe runs/mine --root DIR --layer bottleneck --layer decoders.3`
    """
    calm_libraries()
    from segmi.data import open_dataset
    from segmi.data.pictures import Pictures
    from segmi.deploy import load
    from segmi.training.probes import probe_layers

    network = load(find_bundle(bundle))
    kind, place = named(data, root)
    dataset = open_dataset(kind, place, **parse_options(options or []))
    check_classes(network, dataset)
    pictures = Pictures(dataset, dataset.split(split), processing_of(network))
    found = probe_layers(
        network, pictures, layers, per_picture=per_picture, seed=seed, device=device, steps=steps,
        progress=counting("probed"),
    )  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"layer": layer, **{name: estimate.nats for name, estimate in told.items()}} for layer, told in found.items()
    ]
    if as_json:
        facts = {"bundle": str(bundle), "data": data, "split": split, "pictures": len(pictures)}
        put_json({**facts, "layers": rows})
    else:
        put_table(rows, ["layer", *(name for name in rows[0] if name != "layer")] if rows else ["layer"])
