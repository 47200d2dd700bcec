"""``segmi evaluate``, ``probe`` and ``predict``: use a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand

from segmi.cli.options import (
    AsJson,
    Bundle,
    Dataset,
    DatasetOptions,
    DatasetRoot,
    Device,
    Overlap,
    Threshold,
    Tta,
    Window,
)  # fmt: skip
from segmi.cli.output import calm_libraries, put, put_json, put_table, say
from segmi.cli.own_data import open_reader
from segmi.cli.progress_bars import counting
from segmi.cli.train import put_scores
from segmi.errors import DataError, UsageError, counted
from segmi.types import THRESHOLD

if TYPE_CHECKING:
    from segmi.datasets import DatasetReader
    from segmi.datasets.processing import Processing
    from segmi.models import SegmentationNetwork

AFTER: Final = "segmi.arguments_after_separator"


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE... [OPTION=VALUE]...",
            help="A bundle, or several as an ensemble; then options of the dataset, such as val=0.2 or masks=color.",
        ),
    ],
    data: Dataset = "folder",
    root: DatasetRoot = None,
    split: Annotated[str, typer.Option("--split", help="Split to evaluate on.")] = "val",
    protocol: Annotated[
        str, typer.Option("--protocol", help="full: whole images; paper: passes of random crops.")
    ] = "full",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random crops of the protocol paper.")] = 0,
    threshold: Threshold = THRESHOLD,
    window: Window = None,
    overlap: Overlap = None,
    tta: Tta = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Evaluate a bundle on a dataset: mean IoU, IoU per class, accuracies.

    Several bundles form an ensemble: their probabilities are averaged at the size of the image.

    Example: `segmi evaluate runs/mine --data photos`, or `segmi evaluate runs/a runs/b --data folder --root DIR`
    """
    if protocol not in ("full", "paper"):
        raise UsageError(f"unknown protocol {protocol!r}", "use full or paper")
    calm_libraries()
    from segmi.datasets.segmentation_dataset import SegmentationDataset
    from segmi.deploy import load
    from segmi.deploy.bundle_paths import find_bundles
    from segmi.deploy.ensemble_evaluation import ensemble_confusion
    from segmi.metrics.scores import scores
    from segmi.models import InferenceConfig
    from segmi.models.inference import check_threshold, parse_tta
    from segmi.training import Cohort
    from segmi.training import evaluate as score
    from segmi.training.region_diagnostics import diagnostics_of

    options = [text for text in arguments if "=" in text and not Path(text).exists()]
    folders = [folder for text in arguments if text not in options for folder in find_bundles(text)]
    if not folders:
        raise UsageError("expected a bundle, got none", "write `segmi evaluate BUNDLE`")
    network, ensemble = load(folders[0]), load(folders) if folders[1:] else None
    check_threshold(threshold, (ensemble or network).channels)  # before the dataset is read
    dataset = open_reader(data, root, options)
    check_classes(network, dataset)
    how: Any = {"protocol": protocol, "threshold": threshold, "tta": parse_tta(tta)}
    result: dict[str, Any] = {"data": data, "split": split, **how, "images": len(dataset.split(split))}
    result["classes"] = dataset.info.classes
    scored = counting("scored")
    if ensemble is not None:
        if protocol == "paper":
            raise UsageError("the protocol paper evaluates one network, got several bundles", "use --protocol full")
        config = InferenceConfig(window, overlap, 1, threshold, how["tta"])
        matrix = ensemble_confusion(ensemble, dataset, split, config, device=device, progress=scored)
        result |= {"bundles": list(map(str, folders)), "scores": scores(matrix)}
    else:
        images = SegmentationDataset(dataset, dataset.split(split), processing_of(network), seed=seed)
        diagnostics = diagnostics_of(dataset.info.classes)
        matrices = score(
            Cohort({"network": network}), images, **how, window=window, overlap=overlap, device=device,
            progress=scored, diagnostics=diagnostics,
        )  # fmt: skip
        named = {name.replace("/network", "", 1): value for name, value in diagnostics.values().items()}
        pooled = scores(matrices["network"].pooled().numpy())
        result |= {"bundle": str(folders[0]), "scores": pooled, "diagnostics": named}
    if as_json:
        put_json(result)
    else:
        put_scores(result["scores"], list(dataset.info.classes))


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
    """Estimate the information about the labels in layers of a bundle, with a linear and a non-linear probe per layer.

    The estimates are in nats, on images that the probes were not trained on, and lower bounds of I(feature; label).

    Example: `segmi probe runs/mine --root DIR --layer bottleneck --layer decoders.3`
    """
    calm_libraries()
    from segmi.datasets.segmentation_dataset import SegmentationDataset
    from segmi.deploy import load
    from segmi.deploy.bundle_paths import find_bundle
    from segmi.training.layer_probes import probe_layers

    network = load(find_bundle(bundle))
    dataset = open_reader(data, root, options)
    check_classes(network, dataset)
    images = SegmentationDataset(dataset, dataset.split(split), processing_of(network))
    say(counted(len(images), "image"))
    estimates = probe_layers(
        network, images, layers, per_image=per_image, seed=seed, device=device, steps=steps,
        progress=counting("trained", "probes"),
    )  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"layer": layer, **{name: estimate.nats for name, estimate in probes.items()}}
        for layer, probes in estimates.items()
    ]
    if as_json:
        put_json({"bundle": str(bundle), "data": data, "split": split, "images": len(images), "layers": rows})
    else:
        put_table(rows, None if rows else ["layer"])


class PredictCommand(TyperCommand):
    """Command that counts the arguments after ``--``, the separator between bundles and images."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and store the number of those after ``--``."""
        ctx.meta[AFTER] = len(args) - args.index("--") - 1 if "--" in args else None
        return super().parse_args(ctx, args)


def predict(
    context: typer.Context,
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE... [--] IMAGES...",
            help="A bundle, or several bundles followed by --; then image files, folders or glob patterns.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the masks.")] = Path(
        "predictions"
    ),
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write the images blended with their masks.")] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the probabilities of all classes, as NumPy arrays.")
    ] = False,
    values: Annotated[
        str, typer.Option("--values", help="Mask values: index (class indices) or original (as in the training masks).")
    ] = "index",
    threshold: Threshold = THRESHOLD,
    tta: Tta = None,
    window: Window = None,
    overlap: Overlap = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Images of one size, or windows, in one forward pass.")
    ] = 1,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: mask, size and shares of the classes of each image.")
    ] = False,
) -> None:
    """Write a mask per image, in the bundle's colors and at the image's own resolution, and print its path.

    Several bundles form an ensemble: their probabilities are averaged. Options come before --. Images of more than
    2048 × 1024 pixels after preprocessing are predicted in overlapping windows of 512, unless --window sets another
    size. Images of a folder keep their relative paths.

    Example: `segmi predict runs/mine photos/*.jpg --output masks --overlay`, or
    `segmi predict --output masks runs/a runs/b -- photos`
    """
    calm_libraries()
    from segmi.deploy import iter_predictions
    from segmi.deploy.bundle_paths import find_bundles
    from segmi.models import InferenceConfig
    from segmi.models.inference import parse_tta

    bundles, images = split_arguments(arguments, context.meta[AFTER])
    config = InferenceConfig(window, overlap, batch_size, threshold, parse_tta(tta))
    predictions = iter_predictions(
        [bundle for name in bundles for bundle in find_bundles(name)], images, output, config, overlay=overlay,
        probabilities=probabilities, values=cast("Any", values), progress=counting("predicted"), device=device,
    )  # fmt: skip
    results = []
    try:
        for prediction in predictions:
            results.append({**prediction._asdict(), "image": str(prediction.image), "mask": str(prediction.mask)})
            if not as_json:
                put(str(prediction.mask))
    finally:  # images that fail raise an error at the end, after the others
        if as_json:
            put_json(results)


def split_arguments(arguments: Sequence[str], after: int | None) -> tuple[list[str], list[str]]:
    """Return the bundles and the images among the arguments of `segmi predict`.

    Args:
        arguments: all of them, without ``--``.
        after: number of arguments after ``--``; without it, the first argument is the bundle.

    Raises:
        UsageError: if a bundle or an option is among the images, or if bundles or images are missing.

    Example:
        >>> split_arguments(["a", "b", "photos"], after=1)
        (['a', 'b'], ['photos'])
    """
    count = 1 if after is None else len(arguments) - after
    bundles, images = list(arguments[:count]), list(arguments[count:])
    if not bundles:
        raise UsageError("expected a bundle before --, got none", "write `segmi predict A B -- IMAGES`")
    if not images:
        raise UsageError("expected images after the bundle, got none", "pass image files, folders or glob patterns")
    for name in images:
        path = Path(name)
        if after is None and (path / "model.json").is_file():
            problem = f"{name} is a bundle, expected images after the first bundle"
            raise UsageError(problem, "write -- between several bundles and the images: `segmi predict A B -- IMAGES`")
        if after is not None and name.startswith("-") and not path.exists():
            raise UsageError(f"{name} after -- is not an existing image", "put options before --")
    return bundles, images


def processing_of(network: SegmentationNetwork) -> Processing:
    """Return the bundle's preprocessing without augmentation."""
    from dataclasses import fields

    from segmi.datasets.processing import Processing

    stored = (network.card or {}).get("preprocessing", {})
    # Bundles of newer versions may have more fields.
    known = {field.name for field in fields(Processing)} - {"flip", "scale", "color"}
    return Processing(**{name: value for name, value in stored.items() if name in known})


def check_classes(network: SegmentationNetwork, dataset: DatasetReader) -> None:
    """Check that a dataset has the bundle's number of classes; warn if their names differ.

    The dataset's images are then read with the bands and the value range of the bundle.
    """
    from dataclasses import replace

    from segmi.deploy.prediction import format_of

    dataset.image_format = replace(format_of(network), orientation=dataset.image_format.orientation)
    trained = (network.card or {}).get("classes")
    if network.classes != len(dataset.info.classes):
        problem = f"the bundle has {network.classes} classes, but {dataset.info.name} has {len(dataset.info.classes)}"
        raise DataError(problem, "evaluate it on the dataset it was trained for")
    if trained and list(trained) != list(dataset.info.classes):
        say("warning: bundle and dataset name their classes differently; the order of the classes must agree")
