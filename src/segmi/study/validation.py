"""A study checked whole before anything starts: every problem at once, each with its place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from segmi.study import resolve
from segmi.study.binding import bind, describe, validate
from segmi.study.budgets import check_equal_budgets
from segmi.study.data_validation import check_data
from segmi.study.inheritance import read_study_file
from segmi.study.method_validation import (
    check_baselines,
    check_method,
    check_positive,
    check_training,
    check_treatments,
    mapping,
)
from segmi.study.overrides import apply_overrides
from segmi.study.presets import layered, preset
from segmi.study.problems import Problems, unknown
from segmi.study.provenance import check_weights
from segmi.study.roots import Roots
from segmi.study.schema import Method, Study, StudyFile
from segmi.study.search import Space, check_searches, searches_of, take_searches, with_edges
from segmi.study.strict_yaml import Document, Place

OF_THE_STUDY = {"split": (str, "val"), "also": (Literal["full", "paper"] | None, None), "details": (bool, True)}
"""The split that is scored, and a second protocol; `segmi.training.evaluate` gets images and one protocol."""


def load_study(path: str | Path, overrides: Sequence[str] = (), *, roots: Roots | None = None) -> Study:
    """The study in a file, with overrides applied and every default written out.

    Args:
        path: a YAML file.
        overrides: ``path.to.field=value``.
        roots: where the datasets are; without them the study is checked, its data are not looked for.

    Raises:
        UsageError: with everything that is wrong with the study.
        DataError: if nothing but data is missing.
    """
    return validated(apply_overrides(read_study_file(path), overrides), roots=roots)


def validated(document: Document, *, roots: Roots | None = None) -> Study:
    """The study in a document; see `load_study`."""
    problems = Problems(document)
    if not isinstance(document.data, dict):
        problems.add((), f"expected a study with name, datasets and methods, got {describe(document.data)}")
        problems.raise_if_any()
    found = take_searches(document.data, problems)
    studies = [_checked(data, found, problems, roots) for data in with_edges(document.data, found)]
    for place, number in _not_finite(document.data, ()):
        if not any(".".join(map(str, place)).startswith(problem.place) for problem in problems.found):
            problems.add(place, f"expected a finite number, got {number}")
    problems.raise_if_any()
    return studies[0]


def _not_finite(data: Any, place: Place) -> Iterator[tuple[Place, float]]:
    """Infinities and NaN anywhere in plain data: no setting means them, and comparisons let NaN pass."""
    if isinstance(data, float) and not math.isfinite(data):
        yield place, data
    elif isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _not_finite(value, (*place, key))


def _checked(
    data: dict[str, Any], found: Mapping[Place, Space | None], problems: Problems, roots: Roots | None
) -> Study:
    """The study in data that hold values in the place of searches; what is wrong goes to ``problems``."""
    shape = validate(StudyFile, data, (), problems)
    protocol = shape.get("protocol", "controlled")
    datasets = {
        name: _dataset(name, options, ("datasets", name), problems)
        for name, options in mapping(shape.get("datasets")).items()
    }
    training = check_training(layered(preset(protocol, "training"), shape.get("training")), ("training",), problems)
    processing = bind(
        resolve.processing_class(),
        layered(preset(protocol, "processing"), shape.get("processing")),
        ("processing",),
        problems,
    )
    evaluation = bind(
        resolve.evaluate_function(),
        layered(preset(protocol, "evaluation"), shape.get("evaluation")),
        ("evaluation",),
        problems,
        leave_out=resolve.NOT_OF_EVALUATION,
        extra=OF_THE_STUDY,
    )
    check_positive(evaluation, ("evaluation",), problems)
    methods = {
        name: check_method(name, value, training, processing, problems)
        for name, value in mapping(shape.get("methods")).items()
    }
    baseline = shape.get("baseline") or next(iter(methods), "")
    if isinstance(baseline, str) and methods and baseline not in methods:
        problems.add(("baseline",), unknown("method", baseline, methods))
    check_baselines(methods, problems)
    shared = any(place[0] != "methods" for place in found)
    check_weights(methods, set(methods) if shared else {str(place[1]) for place in found}, problems)
    check_treatments(methods, baseline, problems)
    check_equal_budgets(methods, shape.get("allow_unequal"), problems)
    searches = {name: searches_of(name, mapping(shape["methods"].get(name)), found) for name in methods}
    check_searches(searches, methods, shape, problems)
    if roots is not None:
        for name in roots.named:
            if name not in datasets:
                problems.add(
                    ("datasets",), f"--root {name}=… is for none of them: " + unknown("dataset", name, datasets)
                )
        check_data(datasets, evaluation, methods, roots, problems)
    if problems.found:
        return Study.model_construct()  # which is not looked at: everything that is wrong is told at once
    return Study(
        name=shape["name"],
        protocol=protocol,
        datasets=datasets,
        seeds=shape["seeds"],
        baseline=baseline,
        allow_unequal=shape["allow_unequal"],
        evaluation=evaluation,
        methods={name: Method.model_validate(method) for name, method in methods.items()},
        samples=shape["samples"],
        search_seed=shape["search_seed"],
        searches={name: spaces for name, spaces in searches.items() if spaces},
    )


def _dataset(name: str, options: Any, place: Place, problems: Problems) -> dict[str, Any]:
    options = dict(options) if isinstance(options, Mapping) else {}
    kind = options.pop("type", name)
    known = resolve.dataset_names()
    if kind not in known:
        problems.add((*place, "type") if kind != name else place, unknown("dataset", kind, known))
        return options
    if "root" in options:
        problems.add(
            (*place, "root"), "a study file names no folders of one machine; give --root or SEGMI_DATA instead"
        )
        del options["root"]
    bound = bind(resolve.dataset_class(kind), options, place, problems, leave_out=("self", "root"))
    return bound if kind == name else {"type": kind, **bound}
