"""Search spaces in a study file, such as ``learning_rate: {grid: [1e-3, 1e-2]}`` in a method or above all methods.

A search takes the place of a value. The study is checked with the end points of each space in that place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import reduce
from importlib.util import find_spec
from itertools import pairwise
from operator import getitem
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from segmi.errors import EnvironmentProblem
from segmi.study.binding import describe
from segmi.study.problems import Problems, unknown
from segmi.study.strict_yaml import KeyPath, mapping

RANGES: Final = ("uniform", "log_uniform")
SEARCHES: Final = ("grid", *RANGES)

# Settings that decide the cost of a trial or its score, and so cannot be chosen by that score.
NOT_SEARCHED: Final = (
    "steps", "epochs", "images", "minutes", "device", "devices", "num_nodes", "strategy", "holdout", "subset",
    "labeled", "label_noise", "select_by", "select_network", "architecture",
)  # fmt: skip

_SHARED: Final = ("training", "processing")
_SECTIONS: Final = ("networks", "loss", *_SHARED)


class Space(BaseModel):
    """Values that are tried for one setting of a method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: tuple[str, ...]  # keys of the setting in the method, such as ``("training", "learning_rate")``
    grid: tuple[Any, ...] | None = None
    uniform: tuple[float, float] | None = None  # lowest and highest value
    log_uniform: tuple[float, float] | None = None  # the same, uniform in the logarithm
    trials: int | None = None  # number of trials. A search of grids alone tries every combination.

    @property
    def name(self) -> str:
        """Dotted path, as in overrides."""
        return ".".join(self.path)

    @property
    def end_points(self) -> tuple[Any, ...]:
        """Values that are validated before anything starts: all of a grid, both ends of a range."""
        return self.grid or self.uniform or self.log_uniform or ()

    def spec(self) -> dict[str, Any]:
        """Return the space in the form of a study file."""
        spec = self.model_dump(mode="json", exclude={"path"}, exclude_none=True)
        return {**spec, "grid": list(self.grid)} if self.grid else spec


def is_search(value: Any) -> bool:
    """Return whether a value of a study file is a search."""
    return isinstance(value, Mapping) and any(kind in value for kind in SEARCHES)


def number_of_trials(spaces: Sequence[Space]) -> int:
    """Return the number of trials per method and dataset; 0 without a search."""
    stated = next((space.trials for space in spaces if space.trials), None)
    return stated or math.prod(len(space.grid or ()) for space in spaces) * bool(spaces)


def rung_sizes(spaces: Sequence[Space], rungs: Sequence[float]) -> list[int]:
    """Return the number of trials in each rung of a search by successive halving.

    All trials run in the first rung. The next rung has as many of them as fit into the budget of a rung: n trials at
    the fraction a of the budget are followed by ⌊n a / b⌋ trials at the fraction b, and at least one.

    Args:
        spaces: the searched settings.
        rungs: fractions of the budget, increasing.

    Source: Jamieson and Talwalkar, AISTATS 2016, with the rates of ``optuna.pruners.SuccessiveHalvingPruner``.

    Example:
        >>> rate = Space(path=("training", "learning_rate"), log_uniform=(1e-4, 1e-2), trials=9)
        >>> rung_sizes([rate], [0.1, 0.3, 0.9]), rung_sizes([rate], [0.25])
        ([9, 3, 1], [9])
    """
    sizes = [number_of_trials(spaces)]
    for before, fraction in pairwise(rungs):
        sizes.append(max(1, math.floor(sizes[-1] * before / fraction + 1e-9)))  # 9 · 0.1 / 0.3 is 2.999… in float64
    return sizes


def find_searches(data: Any, problems: Problems) -> dict[KeyPath, Space | None]:
    """Return the searches in the data of a study file by path; None for a malformed one, added to ``problems``."""
    return {
        path: _space(tuple(map(str, path[2:] if path[0] == "methods" else path)), spec, path, problems)
        for path, spec in _specs(data)
    }


def with_end_points(data: Any, searches: Mapping[KeyPath, Space | None]) -> Iterator[Any]:
    """Yield the data with values in place of searches, until every end point was used once."""
    spaces = [space for space in searches.values() if space is not None]
    for number in range(max((len(space.end_points) for space in spaces), default=1)):
        variant = deepcopy(data)
        for path, space in searches.items():
            if space is None:
                del reduce(getitem, path[:-1], variant)[path[-1]]
            else:
                put(variant, path, space.end_points[min(number, len(space.end_points) - 1)])
        yield variant


def put(data: Any, path: KeyPath, value: Any) -> None:
    """Set the value at a path whose containers exist."""
    reduce(getitem, path[:-1], data)[path[-1]] = value


def searches_of(name: str, method: Mapping[str, Any], searches: Mapping[KeyPath, Space | None]) -> list[Space]:
    """Return the searches of a method: its own, and the study's searches for settings that it does not set."""
    explicit = {(section, key) for section in _SHARED for key in mapping(method.get(section))}
    spaces = [
        space
        for path, space in searches.items()
        if space is not None and (path[:2] == ("methods", name) or (path[0] in _SHARED and path[:2] not in explicit))
    ]
    return sorted(spaces, key=lambda space: space.name)  # the order of keys in the file must not change the trials


def check_searches(
    searches: Mapping[str, Sequence[Space]], methods: Mapping[str, Any], study: Mapping[str, Any], problems: Problems
) -> None:
    """Check that each method searches on held-out images, and that all methods have the same number of trials."""
    if any(searches.values()) and (seed := study.get("search_seed")) in (study.get("seeds") or ()):
        message = f"{seed} is one of the seeds, so settings would be chosen with a reported seed; use another one"
        problems.add(("search_seed",), message)
    for name, spaces in searches.items():
        stated = {space.name: space.trials for space in spaces if space.trials}
        if len(set(stated.values())) > 1:
            listing = ", ".join(f"{path}: {trials}" for path, trials in stated.items())
            message = f"its searches have different numbers of trials ({listing}), but a trial sets all of them at once"
            problems.add(("methods", name), f"{message}; use one number")
        if spaces and not (methods[name].get("training") or {}).get("holdout"):
            message = f"the search for {spaces[0].name} is scored on images held out of train; set holdout: 0.1"
            problems.add(("methods", name), message)
    trials = {name: number_of_trials(spaces) for name, spaces in searches.items()}
    if len(set(trials.values())) > 1 and study.get("allow_unequal") is not True and not problems.found:
        listing = "; ".join(f"{name}: {count or 'no'} trials" for name, count in trials.items())
        remedy = "use the same number of trials for every method, or set allow_unequal: true"
        message = f"the searches differ ({listing}), which may explain a difference between methods; {remedy}"
        problems.add(("methods",), message)


def _specs(data: dict[str, Any]) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    """Yield the searches in the sections of a study and of its methods; a section itself cannot be one."""
    sections: dict[KeyPath, Any] = {(name,): data.get(name) for name in _SHARED}
    for method, options in mapping(data.get("methods")).items():
        sections |= {("methods", method, name): mapping(options).get(name) for name in _SECTIONS}
    for path, section in sections.items():
        if not is_search(section):
            yield from _specs_in(section, path)


def _specs_in(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    if is_search(value):
        yield path, value
    else:
        for key, entry in mapping(value).items():
            yield from _specs_in(entry, (*path, key))


def _space(own: tuple[str, ...], spec: Mapping[str, Any], path: KeyPath, problems: Problems) -> Space | None:
    kinds = [kind for kind in SEARCHES if kind in spec]
    kind, values = kinds[0], spec[kinds[0]]
    known = ["grid"] if kind == "grid" else [kind, "trials"]
    if own[-1] in NOT_SEARCHED:
        message = f"{own[-1]} cannot be searched for: it decides the cost or the score of a trial; give a value"
        problems.add(path, message)
    before = len(problems.found)
    if len(kinds) > 1:
        problems.add(path, f"expected one of {', '.join(SEARCHES)}, got {' and '.join(kinds)}; keep one")
    elif extra := [key for key in spec if key not in known]:
        hint = " (a grid is always tried completely)" if extra == ["trials"] else ""
        problems.add((*path, extra[0]), unknown(f"key of a search by {kind}", extra[0], known) + hint)
    elif kind == "grid":
        if not isinstance(values, list) or len(values) < 2 or any(values.count(value) > 1 for value in values):
            problems.add((*path, "grid"), f"expected a list of at least two different values, got {describe(values)}")
    else:
        _check_range(kind, values, spec.get("trials"), path, problems)
    if len(problems.found) > before:
        return None
    return Space(path=own, trials=spec.get("trials"), **{kind: tuple(values)})


def _check_range(kind: str, values: Any, trials: Any, path: KeyPath, problems: Problems) -> None:
    lowest = 0 if kind == "log_uniform" else -math.inf
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if not (numbers and len(values) == 2 and lowest < values[0] < values[1] < math.inf):
        expected = "the lowest and the highest value, [low, high]" + (" above 0" if kind == "log_uniform" else "")
        problems.add((*path, kind), f"expected {expected}, got {describe(values)}")
    if type(trials) is not int or trials < 2:
        message = f"expected the number of trials, a whole number above 1, got {describe(trials)}"
        problems.add((*path, "trials"), message)
    if find_spec("optuna") is None:
        missing = f"{kind} samples its values with Optuna, which is not installed; pip install 'segmi[sweep]'"
        problems.add(path, f"{missing}, or use grid", EnvironmentProblem)
