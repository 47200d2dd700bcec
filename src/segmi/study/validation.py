"""Validation of a whole study before anything starts: every problem at once, each with its place in the file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from segmi.datasets import dataset_class, dataset_names
from segmi.datasets.folds import parse_fold
from segmi.datasets.processing import Processing
from segmi.errors import UsageError
from segmi.models.inference import check_threshold
from segmi.study.binding import bind, describe, validate
from segmi.study.components import NOT_OF_EVALUATION, open_data, probe_network, probe_weights
from segmi.study.dataset_context import DataRoots, split_train
from segmi.study.initial_weights import check_weights
from segmi.study.method_validation import check_method, check_positive, check_training
from segmi.study.problems import Problems, unknown
from segmi.study.run_config import HELD_OUT, TrainingSection
from segmi.study.schema import Method, Study, StudyFile, describe_reported, with_preset
from segmi.study.search import Space, check_searches, find_searches, searches_of, with_end_points
from segmi.study.strict_yaml import Document, KeyPath, mapping
from segmi.training import evaluate
from segmi.training.config import BUDGETS
from segmi.types import THRESHOLD

_Sections: TypeAlias = dict[str, dict[str, Any]]
# Fields of the evaluation section beside the arguments of `segmi.training.evaluate`, as name → (type, default).
EVALUATION_FIELDS: Final = {
    "split": (str, "val"), "also": (Literal["full", "paper"] | None, None), "details": (bool, True),
}  # fmt: skip

# Fields of a study file that the study has unchanged.
_COPIED: Final = ("name", "seeds", "allow_unequal", "samples", "search_seed", "search_rungs", "reasons")


def validated(document: Document, *, roots: DataRoots | None = None) -> Study:
    """Return the study in a document; see `segmi.study.load_study`."""
    problems = Problems(document)
    if not isinstance(document.data, dict):
        problems.add((), f"expected a study with name, datasets and methods, got {describe(document.data)}")
        problems.raise_if_any()
    searches = find_searches(document.data, problems)
    studies = [_check(data, searches, problems, roots) for data in with_end_points(document.data, searches)]
    for path, number in _not_finite(document.data, ()):
        if not any(".".join(map(str, path)).startswith(problem.path) for problem in problems.found):
            problems.add(path, f"expected a finite number, got {number}")
    problems.raise_if_any()
    return studies[0]


def _not_finite(data: Any, path: KeyPath) -> Iterator[tuple[KeyPath, float]]:
    """Yield infinite and NaN values, which no setting allows and which comparisons with NaN do not find."""
    if isinstance(data, float) and not math.isfinite(data):
        yield path, data
    elif isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _not_finite(value, (*path, key))


def _check(
    data: dict[str, Any], found: Mapping[KeyPath, Space | None], problems: Problems, roots: DataRoots | None
) -> Study:
    """Return the study in data that has values in place of searches."""
    shape = validate(StudyFile, data, (), problems)
    protocol = shape.get("protocol", "controlled")
    given = mapping(shape.get("datasets"))
    datasets = {name: _dataset(name, options, ("datasets", name), problems) for name, options in given.items()}
    sections = ("training", "processing", "evaluation")
    options = {section: with_preset(protocol, section, shape.get(section)) for section in sections}
    training = check_training(options["training"], ("training",), problems)
    processing = bind(Processing, options["processing"], ("processing",), problems)
    signature: dict[str, Any] = {"leave_out": NOT_OF_EVALUATION, "extra": EVALUATION_FIELDS}
    evaluation = bind(evaluate, options["evaluation"], ("evaluation",), problems, **signature)
    check_positive(evaluation, ("evaluation",), problems)
    given = mapping(shape.get("methods"))
    methods = {name: check_method(name, value, training, processing, problems) for name, value in given.items()}
    baseline = shape.get("baseline") or next(iter(methods), "")
    if isinstance(baseline, str) and methods and baseline not in methods:
        problems.add(("baseline",), unknown("method", baseline, methods))
    _check_baselines(methods, problems)
    _check_threshold(evaluation.get("threshold"), methods, problems)
    check_weights(methods, problems)
    _check_treatments(methods, baseline, problems)
    _check_equal_budgets(methods, shape.get("allow_unequal"), problems)
    searches = {name: searches_of(name, mapping(shape["methods"].get(name)), found) for name in methods}
    check_searches(searches, methods, shape, problems)
    if roots is not None:
        for name in roots.named.keys() - datasets.keys():
            problems.add(("datasets",), f"--root {name}=… names no dataset: " + unknown("dataset", name, datasets))
        _check_data(datasets, evaluation, methods, shape.get("seeds") or [0], roots, problems)
    if problems.found:
        return Study.model_construct()  # never used: the caller raises the problems
    return Study(
        **{key: shape[key] for key in _COPIED},
        protocol=protocol, datasets=datasets, baseline=baseline, evaluation=evaluation,
        methods={name: Method.model_validate(method) for name, method in methods.items()},
        searches={name: spaces for name, spaces in searches.items() if spaces},
    )  # fmt: skip


def _dataset(name: str, options: Any, path: KeyPath, problems: Problems) -> dict[str, Any]:
    options = dict(options) if isinstance(options, Mapping) else {}
    kind = options.pop("type", name)
    known = dataset_names()
    if kind not in known:
        problems.add((*path, "type") if kind != name else path, unknown("dataset", kind, known))
        return options
    if "root" in options:
        problems.add((*path, "root"), "a study file names no folders of one machine; use --root or SEGMI_DATA instead")
        del options["root"]
    fold = {"fold": options.pop("fold")} if "fold" in options else {}
    for text in fold.values():
        try:
            parse_fold(text)
        except UsageError as error:
            problems.add_error((*path, "fold"), error)
    bound = bind(dataset_class(kind), options, path, problems, leave_out=("self", "root")) | fold
    return bound if kind == name else {"type": kind, **bound}


def _check_threshold(threshold: Any, methods: Mapping[str, dict[str, Any]], problems: Problems) -> None:
    """Check that a threshold is a probability, and, unless it is 0.5, that all networks have one logit."""
    path = ("evaluation", "threshold")
    if problems.touches(*path) or not isinstance(threshold, int | float):
        return
    try:
        check_threshold(threshold)
    except UsageError as error:
        problems.add_error(path, error)
        return
    networks = ((m, n, spec) for m, method in methods.items() for n, spec in mapping(method.get("networks")).items())
    others = [f"methods.{m}.networks.{n}" for m, n, spec in networks if not mapping(spec).get("one_logit")]
    if threshold != THRESHOLD and others:
        message = f"a threshold of {threshold} needs binary networks with one logit"
        remedy = "set one_logit: true in all networks, or omit threshold"
        problems.add(path, f"{message}, {others[0]} has one logit per class; {remedy}")


def _check_baselines(methods: Mapping[str, dict[str, Any]], problems: Problems) -> None:
    """Check that a method's baseline is another method, and that baselines are not mixed with treatments."""
    for name, method in methods.items():
        other, path = method.get("baseline"), ("methods", name, "baseline")
        if not isinstance(other, str):
            continue
        if other not in methods:
            problems.add(path, unknown("method", other, methods))
        elif other == name:
            problems.add(path, f"{name} cannot be compared with itself; name another method or omit it")
        elif any(method.get("treatment") for method in methods.values()):
            problems.add(path, "methods with a treatment are compared by treatment; omit baseline or treatment")


def _check_treatments(methods: Mapping[str, dict[str, Any]], baseline: str, problems: Problems) -> None:
    """Check that methods of one treatment have different networks, and that the baseline's has all of them."""
    treatments = {name: method.get("treatment") or name for name, method in methods.items()}
    if len(set(treatments.values())) == len(methods) or problems.found:
        return
    networks = {
        name: describe_reported(method["networks"], method["ensembles"], method["reported"])
        for name, method in methods.items()
    }
    first_with: dict[tuple[str, str], str] = {}
    for name in methods:
        first = first_with.setdefault((treatments[name], networks[name]), name)
        if first != name:
            message = f"{first} already has the treatment {treatments[name]!r} with {networks[name]}"
            problems.add(("methods", name, "treatment"), f"{message}; use another network or treatment")
        elif (treatments[baseline], networks[name]) not in {(treatments[m], networks[m]) for m in methods}:
            message = f"no method of the baseline's treatment {treatments[baseline]!r} has the network {networks[name]}"
            problems.add(("methods", name, "treatment"), f"nothing to compare with: {message}; add one")


def _check_equal_budgets(methods: Mapping[str, Mapping[str, Any]], allow_unequal: Any, problems: Problems) -> None:
    """Check that all methods have the same budget in the same unit, unless the study allows otherwise."""
    # With other batch sizes, equal steps are unequal numbers of images and vice versa: the study chooses the unit.
    if allow_unequal is True or problems.found:
        return
    budgets = {
        name: " and ".join(f"{method['training'][unit]:,} {unit}" for unit in BUDGETS if method["training"].get(unit))
        for name, method in methods.items()
    }
    if len(set(budgets.values())) > 1:
        listing = "; ".join(f"{name}: {budget}" for name, budget in budgets.items())
        remedy = "give all methods the same amount in the same unit, or set allow_unequal: true"
        message = f"the budgets differ ({listing}), which may explain a difference between methods; {remedy}"
        problems.add(("methods",), message)


def _check_data(
    datasets: _Sections,
    evaluation: dict[str, Any],
    methods: _Sections,
    seeds: Sequence[int],
    roots: DataRoots,
    problems: Problems,
) -> None:
    """Check that datasets and pretrained weights are available, and that the methods fit the datasets."""
    for method, options in methods.items():
        for network, spec in mapping(options.get("networks")).items():
            path: KeyPath = ("methods", method, "networks", network)
            if spec.get("encoder_weights") and not problems.touches(*path):
                try:
                    probe_weights(spec)
                except Exception as error:  # the libraries of networks raise errors of any type
                    problems.add_error((*path, "encoder_weights"), error)
    for name, options in datasets.items():
        path = ("datasets", name)
        if problems.touches(*path):
            continue
        try:
            dataset = open_data(name, options, roots)
            samples = dataset.split("train")
            selecting = {method["training"].get("selection_split") for method in methods.values()}
            for split in {evaluation.get("split", "val"), *selecting} - {None, HELD_OUT}:
                dataset.split(split)
        except Exception as error:  # readers of other packages raise errors of any type
            problems.add_error(path, error)
            continue
        for method in methods:
            _check_fit(name, len(dataset.info.classes), samples, methods[method], seeds, ("methods", method), problems)


def _check_fit(
    name: str,
    classes: int,
    samples: list[Any],
    method: dict[str, Any],
    seeds: Sequence[int],
    path: KeyPath,
    problems: Problems,
) -> None:
    """Check that a method can be trained on a dataset."""
    if problems.touches("training") or problems.touches(*path):
        return
    networks = method["networks"]
    for network, spec in networks.items():
        if spec.get("one_logit") and classes != 2:
            message = f"{name} has {classes} classes, one logit is for two"
            problems.add((*path, "networks", network, "one_logit"), message)
    training = TrainingSection(**method["training"])
    try:
        images = min(len(split_train(samples, training, seed).labeled) for seed in seeds)
    except ValueError as error:
        problems.add_error(("training", "holdout"), error)
        return
    alone = training.batch_size == 1 or (images % training.batch_size == 1 and not training.drop_last)
    for network, spec in networks.items():
        if alone and network not in method["frozen"] and probe_network(spec).needs_batch_of_two:
            message = f"{spec['architecture']} normalizes pooled values and cannot train on a batch of one image"
            remains = f"which {images} images of {name} in batches of {training.batch_size} leave"
            problems.add((*path, "networks", network), f"{message}, {remains}; change batch_size")
    batch = training.batch_size * training.accumulate
    if images < batch and training.drop_last:
        message = f"the {images} training images of {name} do not fill a batch of {batch}; use a smaller one"
        problems.add(("training", "batch_size"), message)
