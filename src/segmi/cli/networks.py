"""``segmi evaluate`` and ``segmi predict``: what one does with a finished network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segmi.cli.data import parse_options
from segmi.cli.output import calm_libraries, put, put_json, say
from segmi.cli.own_data import named
from segmi.cli.progress import counting
from segmi.cli.train import put_scores
from segmi.errors import DataError, UsageError

if TYPE_CHECKING:
    from segmi.datasets import DatasetReader
    from segmi.datasets.processing import Processing
    from segmi.models import SegmentationNetwork

Bundle = Annotated[
    Path,
    typer.Argument(metavar="BUNDLE", help="A folder with model.safetensors and model.json, or a folder around one."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Window = Annotated[
    int | None,
    typer.Option("--window", metavar="PIXELS", min=1, help="Predict larger images in windows of this side."),
]
Overlap = Annotated[
    int | None,
    typer.Option("--overlap", metavar="PIXELS", min=0, help="What windows share; a quarter of them by default."),
]


def evaluate(
    bundle: Bundle,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="OPTION=VALUE", help="Options of the dataset, such as val=0.2 or masks=color."),
    ] = None,
    data: Annotated[
        str, typer.Option("--data", metavar="NAME", help="A dataset of `segmi list datasets`, or a folder.")
    ] = "folder",
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Where it lies; SEGMI_DATA is taken otherwise.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which split is scored.")] = "val",
    protocol: Annotated[
        str, typer.Option("--protocol", help="full: whole images; paper: passes of random crops.")
    ] = "full",
    seed: Annotated[int, typer.Option("--seed", help="Keys the crops of the protocol paper.")] = 0,
    window: Window = None,
    overlap: Overlap = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a bundle on a dataset: mean IoU, IoU per class, accuracies.

    Example: `segmi evaluate runs/mine --data folder --root DIR`, where `segmi train` wrote into runs/mine
    """
    if protocol not in ("full", "paper"):
        raise UsageError(f"unknown protocol {protocol!r}", "use full or paper")
    calm_libraries()
    from segmi.datasets import open_dataset
    from segmi.datasets.segmentation_dataset import SegmentationDataset
    from segmi.deploy import load
    from segmi.metrics.scores import scores
    from segmi.training import Cohort
    from segmi.training import evaluate as score
    from segmi.training.diagnostics import diagnostics_of

    network = load(find_bundle(bundle))
    kind, place = named(data, root)
    dataset = open_dataset(kind, place, **parse_options(options or []))
    check_classes(network, dataset)
    images = SegmentationDataset(dataset, dataset.split(split), processing_of(network), seed=seed)
    diagnostics = diagnostics_of(dataset.info.classes)
    matrices = score(
        Cohort({"network": network}),
        images,
        protocol=protocol,  # type: ignore[arg-type]  # a word of the command line, checked above
        window=window,
        overlap=overlap,
        device=device,
        progress=counting("scored"),
        diagnostics=diagnostics,
    )
    told = {name.replace("/network", "", 1): value for name, value in diagnostics.values().items()}
    result: Any = scores(matrices["network"].pooled().numpy())
    if as_json:
        facts = {"bundle": str(bundle), "data": data, "split": split, "protocol": protocol, "images": len(images)}
        put_json({**facts, "classes": dataset.info.classes, "scores": result, "diagnostics": told})
    else:
        put_scores(result, list(dataset.info.classes))


def predict(
    bundle: Bundle,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES", help="SegmentationDataset, folders of images (or of a video's frames), or patterns."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the masks go.")] = Path("predictions"),
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write the images with their masks over them.")
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the probabilities of all classes, as NumPy arrays.")
    ] = False,
    window: Window = None,
    overlap: Overlap = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", "-b", min=1, help="Images of one size, or windows, predicted together."
        ),
    ] = 1,
    device: Device = "auto",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON: for each image its mask, size and shares of the classes."),
    ] = False,
) -> None:
    """Write a mask per image, in the bundle's colors and at the image's own resolution; the paths are printed.

    Images of any size: those of more than 2048 × 1024 pixels, as the network sees them, are predicted in windows of
    512 that fade into each other, unless --window says otherwise. Images of a folder keep their places below it.

    Example: `segmi predict runs/mine photos/*.jpg --out masks --overlay`
    """
    calm_libraries()
    from segmi.deploy import predictions

    found = predictions(
        find_bundle(bundle),
        images,
        out,
        overlay=overlay,
        probabilities=probabilities,
        window=window,
        overlap=overlap,
        batch_size=batch_size,
        progress=counting("predicted"),
        device=device,
    )
    told = []
    try:
        for one in found:
            told.append({**one._asdict(), "image": str(one.image), "mask": str(one.mask)})
            if not as_json:
                put(str(one.mask))
    finally:  # some images may have been refused in the end
        if as_json:
            put_json(told)


def find_bundle(path: Path) -> Path:
    """The bundle at a path, or the only one in the run there.

    Raises:
        UsageError: there is none, or several, which are named.
    """
    if (path / "model.json").exists():
        return path
    found = sorted(card.parent for card in path.glob("**/bundles/*/model.json")) if path.is_dir() else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{path} holds {len(found)} bundles", f"give one of: {', '.join(map(str, found[:8]))}")
    raise UsageError(
        f"{path} is no bundle: expected a folder with model.json and model.safetensors",
        "give the folder that `segmi train` prints, runs/…/bundles/<network>",
    )


def processing_of(network: SegmentationNetwork) -> Processing:
    """The bundle's own preparation of images; augmentation is for training."""
    from dataclasses import fields

    from segmi.datasets.processing import Processing

    stored = (network.card or {}).get("preprocessing", {})
    known = {field.name for field in fields(Processing)} - {"flip", "scale", "color"}
    return Processing(**{name: value for name, value in stored.items() if name in known})


def check_classes(network: SegmentationNetwork, dataset: DatasetReader) -> None:
    """Refuse a dataset with another number of classes than a bundle's; warn where they are called otherwise."""
    trained = (network.card or {}).get("classes")
    if network.classes != len(dataset.info.classes):
        raise DataError(
            f"the bundle tells {network.classes} classes apart, {dataset.info.name} has {len(dataset.info.classes)}",
            "evaluate it on the dataset it was trained for",
        )
    if trained and list(trained) != list(dataset.info.classes):
        say("warning: the classes of the bundle are called otherwise than those of the dataset; the order must agree")
