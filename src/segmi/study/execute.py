"""One run from its configuration to its ``result.json``: build, train, score, keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from segmi.errors import UsageError
from segmi.records import RunFolder, atomic_write, write_confusion, write_details
from segmi.records.usage import Usage
from segmi.study import resolve
from segmi.study.binding import arguments
from segmi.study.environment import environment
from segmi.study.expand import HELD_OUT, Run
from segmi.study.facts import Facts
from segmi.study.origin import keep_origin
from segmi.study.provenance import take_weights
from segmi.study.samples import keep_samples
from segmi.study.schema import described
from segmi.study.strict_yaml import dump
from segmi.types import IGNORE_INDEX

if TYPE_CHECKING:
    from segmi.datasets.reader import DatasetInfo, DatasetReader
    from segmi.datasets.segmentation_dataset import SegmentationDataset
    from segmi.metrics.confusion_matrix import ConfusionMatrix
    from segmi.metrics.details import Details
    from segmi.metrics.diagnostics import PredictionDiagnostics
    from segmi.models import SegmentationNetwork
    from segmi.training import Cohort, FitOutcome, FitProgress
    from segmi.training.distributed import ProcessGroup

FitListener = Callable[["FitProgress"], None]
CountListener = Callable[[int, int], None]


def execute(
    run: Run,
    folder: RunFolder,
    facts: Facts,
    *,
    init_from: Path | None = None,
    processes: ProcessGroup | None = None,
    profile: bool = False,
    on_fit: FitListener | None = None,
    on_evaluate: CountListener | None = None,
    on_prepare: CountListener | None = None,
) -> None:
    """Do a run in its folder, continuing from its checkpoints, until its ``result.json`` is written.

    Several processes do it together; all but the first one write nothing and are done when the images are scored.

    Args:
        run: what is to be done.
        folder: the run folder, locked by the caller.
        facts: its dataset.
        init_from: a bundle whose weights the reported network starts from.
        processes: those that were started for it; this one alone by default.
        profile: measure what takes how long, into ``profile.json``.
        on_fit: hears of every step.
        on_evaluate: hears of every batch that is scored, as (images done, images in all).
        on_prepare: hears of every image that is decoded into the cache, likewise.
    """
    config, dataset = run.config, facts.dataset
    processes = processes or resolve.connect([config["training"]])
    if processes.is_main and not (folder.path / "config.yaml").exists():
        atomic_write(folder.path / "config.yaml", dump(config))
    where = environment()
    if processes.is_main:
        folder.write_environment(where)
        keep_origin(folder, run, facts)
    with _measured(folder, config, processes) as usage:
        cohort = resolve.build_cohort(config, len(dataset.info.classes), run.seed)
        take_weights(cohort, run, folder)
        if init_from is not None:
            start_from(cohort, config["reported"], init_from)
        outcome = _train(run, folder.path, facts, cohort, on_fit, on_prepare, profile=profile)
        with resolve.threads(outcome.precision.threads):
            matrices, diagnostics = _score(run, folder, facts, cohort, processes, on_evaluate, on_prepare)
        if not processes.is_main:
            return
        _keep_bundles(folder.path, run, cohort, dataset)
        folder.write_result(_result(run, facts, cohort, outcome, matrices, diagnostics, where, usage.summary()))


@contextmanager
def _measured(folder: RunFolder, config: Mapping[str, Any], processes: ProcessGroup) -> Iterator[Usage]:
    """What the session takes of its machine goes on record, by the process that writes."""
    gpu = resolve.gpu(config["training"]["device"], processes)
    usage = Usage(folder.path, gpu=gpu.uuid if gpu else None, device_memory=gpu.peak_memory if gpu else None)
    if not processes.is_main:
        yield usage
        return
    with usage:
        yield usage


def _score(
    run: Run,
    folder: RunFolder,
    facts: Facts,
    cohort: Cohort,
    processes: ProcessGroup,
    on_evaluate: CountListener | None,
    on_prepare: CountListener | None,
) -> tuple[dict[str, dict[str, ConfusionMatrix]], dict[str, dict[str, float]]]:
    """The counts by protocol and network, and the diagnostics by protocol; counts and the figures' images are kept."""
    from segmi.training.region_diagnostics import diagnostics_of

    config, matrices, values = run.config, {}, {}
    details: dict[str, Details] = {}
    for protocol in protocols(config["evaluation"]):
        scored = _scored_images(run, facts, protocol, on_prepare)
        diagnostics = diagnostics_of(facts.dataset.info.classes)
        wanted = details if protocol == "full" and config["evaluation"].get("details") else None
        matrices[protocol] = _evaluate(config, cohort, scored, protocol, processes, on_evaluate, diagnostics, wanted)
        values[protocol] = diagnostics.values()
    if not processes.is_main:
        return matrices, values
    for protocol, found in matrices.items():
        for network, matrix in found.items():
            path = folder.confusion_path(network, protocol)
            write_confusion(path, matrix.counts().numpy(), matrix.names, matrix.groups)
    for network, one in details.items():
        write_details(folder.details_path(network, "full"), one.arrays())
    scored = _scored_images(run, facts, config["evaluation"]["protocol"], on_prepare)
    windows = {name: config["evaluation"].get(name) for name in ("window", "overlap")}
    keep_samples(cohort, scored, config["samples"], folder.path / "samples", **windows)
    return matrices, values


def protocols(evaluation: Mapping[str, Any]) -> list[str]:
    """The protocols by which a run is scored; that of Table 1 first.

    Example:
        >>> protocols({"protocol": "full", "also": "paper"}), protocols({"protocol": "full"})
        (['full', 'paper'], ['full'])
    """
    return list(dict.fromkeys(filter(None, [evaluation["protocol"], evaluation.get("also")])))


def _scored_images(run: Run, facts: Facts, protocol: str, on_prepare: CountListener | None) -> SegmentationDataset:
    split, whole = run.config["evaluation"]["split"], protocol == "full"
    if split == HELD_OUT:
        _, samples = resolve.kept_and_held(facts.dataset.split("train"), run.config["training"], seed=0)
        split = "train"
    else:
        samples = list(facts.dataset.split(split))
    processing = resolve.build_processing(run.config["processing"])
    return facts.images(split, samples, processing, run.seed, labels=whole, progress=on_prepare)


def _evaluate(
    config: Mapping[str, Any],
    cohort: Cohort,
    scored: SegmentationDataset,
    protocol: str,
    processes: ProcessGroup,
    on_evaluate: CountListener | None,
    diagnostics: PredictionDiagnostics,
    details: dict[str, Details] | None,
) -> dict[str, ConfusionMatrix]:
    """The counts of all networks; their details go into ``details``, which is none for crops of images."""
    of_the_study = ("split", "also", "details")
    evaluation = {name: value for name, value in config["evaluation"].items() if name not in of_the_study}
    if protocol != evaluation["protocol"]:
        evaluation |= {"protocol": protocol, "window": None, "overlap": None}
    options = arguments(resolve.evaluate_function(), evaluation, resolve.NOT_OF_EVALUATION)
    return resolve.evaluate_function()(
        cohort,
        scored,
        **options,
        device=config["training"]["device"],
        processes=processes,
        progress=on_evaluate,
        diagnostics=diagnostics,
        details=details,
    )


def _train(
    run: Run,
    folder: Path,
    facts: Facts,
    cohort: Cohort,
    on_fit: FitListener | None,
    on_prepare: CountListener | None,
    *,
    profile: bool,
) -> FitOutcome:
    from segmi.training import fit, training_configs

    training = dict(run.config["training"])
    kept, held = resolve.kept_and_held(facts.dataset.split("train"), training, seed=0)
    kept, hidden = resolve.labeled_and_not(kept, training, seed=1)
    noise = training.get("label_noise", 0.0)
    for of_the_study in ("holdout", "labeled", "label_noise"):
        training.pop(of_the_study, None)
    processing = resolve.build_processing(run.config["processing"])
    objective = resolve.build_method_objective(run.config["loss"], list(run.config["networks"]), run.config["frozen"])
    bound = arguments(resolve.training_options(), training, resolve.NOT_OF_TRAINING)
    return fit(
        cohort,
        objective,
        facts.images("train", kept, processing, run.seed, progress=on_prepare).with_label_noise(noise),
        unlabeled=facts.images("train", hidden, processing, run.seed, progress=on_prepare) if hidden else None,
        folder=folder,
        holdout=facts.images("train", held, processing, run.seed, labels=True, progress=on_prepare) if held else None,
        seed=run.seed,
        progress=on_fit,
        **training_configs({**bound, "profile": profile}),
    )


def start_from(cohort: Cohort, network: str, bundle: Path) -> list[str]:
    """Load a bundle's weights into a network of a cohort; layers of another shape keep theirs and are returned.

    Raises:
        UsageError: if hardly anything fits, so that the bundle must be of another architecture.
    """
    from segmi.deploy import load

    module = cohort.networks[network]
    weights, own = load(bundle).state_dict(), module.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    left = [name for name in own if name not in fitting]
    if len(left) > len(own) // 4:
        raise UsageError(
            f"the bundle {bundle} fits {len(fitting)} of the {len(own)} arrays of {network!r}",
            "start from a bundle of the same architecture and width",
        )
    module.load_state_dict(fitting, strict=False)
    return left


def dataset_card(info: DatasetInfo) -> dict[str, Any]:
    """The facts about a dataset that records and bundles carry; masks hold train ids, so ignored is always 255."""
    return {
        "name": info.name,
        "title": info.title,
        "classes": list(info.classes),
        "palette": [list(color) for color in info.palette],
        "ignore_index": IGNORE_INDEX,
    }


def _keep_bundles(folder: Path, run: Run, cohort: Cohort, dataset: DatasetReader) -> None:
    from segmi.deploy.bundle import save_bundle

    for network, module in cohort.networks.items():
        save_bundle(
            folder / "bundles" / network,
            cast("SegmentationNetwork", module),
            dataset=dataset_card(dataset.info),
            preprocessing=run.config["processing"],
        )


def _result(
    run: Run,
    facts: Facts,
    cohort: Cohort,
    outcome: FitOutcome,
    matrices: Mapping[str, Mapping[str, ConfusionMatrix]],
    diagnostics: Mapping[str, Mapping[str, float]],
    where: Mapping[str, Any],
    usage: Mapping[str, Any],
) -> dict[str, Any]:
    from segmi.metrics.scores import constant_prediction_scores, scores

    config, protocol = run.config, run.config["evaluation"]["protocol"]
    pooled = {
        kind: {network: matrix.pooled().numpy() for network, matrix in found.items()}
        for kind, found in matrices.items()
    }
    return {
        "study": run.study,
        "dataset": dataset_card(facts.dataset.info) | {"name": run.dataset},
        "method": run.method,
        "label": config["label"],
        "seed": run.seed,
        "reported_network": config["reported"],
        "protocol": protocol,
        "networks": {
            network: {
                "label": network,
                "architecture": described(config["networks"][network]),
                "parameters": sum(parameter.numel() for parameter in module.parameters()),
                "scores": {kind: scores(found[network]) for kind, found in pooled.items()},
            }
            for network, module in cohort.networks.items()
        },
        "diagnostics": {kind: dict(values) for kind, values in diagnostics.items()},
        "baseline_constant": constant_prediction_scores(
            pooled[protocol][config["reported"]], predicted_class=facts.most_frequent_class()
        ),
        "training": {
            "steps": outcome.steps,
            "images": outcome.images,
            "epochs": outcome.epochs,
            "best_step": outcome.best_step,
            "best_score": outcome.best_score,
            "selection": config["training"]["select_by"],
            "precision": outcome.precision.to_dict(),
            "processes": config["training"]["devices"] * config["training"]["num_nodes"],
            "wall_seconds": outcome.wall_seconds,
        },
        "usage": dict(usage),
        "environment": dict(where),
    }
