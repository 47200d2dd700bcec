"""Whether the datasets of a study are where they should be, and whether its methods fit them."""

from __future__ import annotations

from typing import Any

from segmi.study import resolve
from segmi.study.method_validation import mapping
from segmi.study.problems import Problems
from segmi.study.roots import Roots
from segmi.study.strict_yaml import Place


def check_data(
    datasets: dict[str, dict[str, Any]],
    evaluation: dict[str, Any],
    methods: dict[str, dict[str, Any]],
    roots: Roots,
    problems: Problems,
) -> None:
    """Note the datasets and pretrained weights that are not there, and the methods that do not fit the data."""
    for method, options in methods.items():
        for network, spec in mapping(options.get("networks")).items():
            _check_weights(spec, ("methods", method, "networks", network), problems)
    for name, options in datasets.items():
        place: Place = ("datasets", name)
        if problems.touches(*place):
            continue
        try:
            dataset = resolve.open_data(name, options, roots)
            samples = dataset.split("train")
            dataset.split(evaluation.get("split", "val"))
        except Exception as error:
            problems.add_error(place, error)
            continue
        for method in methods:
            _check_fit(name, len(dataset.info.classes), samples, methods[method], ("methods", method), problems)


def _check_weights(spec: dict[str, Any], place: Place, problems: Problems) -> None:
    if not spec.get("encoder_weights") or problems.touches(*place):
        return
    try:
        resolve.probe_weights(spec)
    except Exception as error:
        problems.add_error((*place, "encoder_weights"), error)


def _check_fit(
    name: str, classes: int, samples: list[Any], method: dict[str, Any], place: Place, problems: Problems
) -> None:
    if problems.touches("training") or problems.touches(*place):
        return
    for network, spec in method["networks"].items():
        if spec.get("one_logit") and classes != 2:
            problems.add(
                (*place, "networks", network, "one_logit"), f"{name} has {classes} classes, one logit tells two apart"
            )
    training = method["training"]
    try:
        kept, _ = resolve.kept_and_held(samples, training, seed=0)
        kept, _ = resolve.labeled_and_not(kept, training, seed=1)
    except ValueError as error:
        problems.add_error(("training", "holdout"), error)
        return
    batch = training["batch_size"] * training["accumulate"]
    last = len(kept) % training["batch_size"]
    for network, spec in method["networks"].items():
        alone = training["batch_size"] == 1 or (last == 1 and not training["drop_last"])
        if alone and network not in method["frozen"] and resolve.probe_network(spec).needs_batch_of_two:
            problems.add(
                (*place, "networks", network),
                f"{spec['architecture']} normalizes pooled values and cannot train on a batch of one image, which "
                f"{len(kept)} images of {name} in batches of {training['batch_size']} leave; change batch_size",
            )
    if len(kept) < batch and training["drop_last"]:
        problems.add(
            ("training", "batch_size"),
            f"the {len(kept)} training images of {name} do not fill a batch of {batch}; lower it",
        )
