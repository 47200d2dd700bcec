"""What a study searches for instead of stating it: ``learning_rate: {grid: [1e-3, 1e-2]}`` in a method or above all.

A search stands where a value would stand. To check a study, and to say what its runs are before a search has ended,
values of the search stand there in its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from importlib.util import find_spec
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from segmi.errors import EnvironmentProblem
from segmi.study.binding import describe
from segmi.study.budgets import BUDGETS
from segmi.study.problems import Problems, unknown
from segmi.study.resolve import PARALLEL
from segmi.study.strict_yaml import Place

RANGES: Final = ("uniform", "log_uniform")
SEARCHES: Final = ("grid", *RANGES)
"""The ways to say that a value is to be searched for."""

NOT_SEARCHED: Final = (
    *BUDGETS,
    *PARALLEL,
    "holdout",
    "labeled",
    "label_noise",
    "select_by",
    "select_network",
    "architecture",
)
"""What decides what a trial may cost and how it is scored, and so cannot be chosen by that score."""

_SHARED: Final = ("training", "processing")
_SECTIONS: Final = ("networks", "loss", *_SHARED)


class Space(BaseModel):
    """The values among which one setting of a method is chosen.

    Args:
        place: the keys that lead to it in the method, such as ``("training", "learning_rate")``.
        grid: the values.
        uniform: the lowest and the highest value.
        log_uniform: likewise, of values that are spread evenly in their logarithm.
        trials: how many are tried; of grids alone all, in every combination.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: tuple[str, ...]
    grid: tuple[Any, ...] | None = None
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    trials: int | None = None

    @property
    def name(self) -> str:
        """The place with dots, as in overrides."""
        return ".".join(self.place)

    @property
    def edges(self) -> tuple[Any, ...]:
        """The values of a grid, the ends of a range: those that are checked before anything starts."""
        return self.grid or self.uniform or self.log_uniform or ()

    def spec(self) -> dict[str, Any]:
        """As it stands in a study file."""
        found = self.model_dump(mode="json", exclude={"place"}, exclude_none=True)
        return {**found, "grid": list(self.grid)} if self.grid else found


def is_search(value: Any) -> bool:
    """Whether a value of a study file is one that is to be searched for.

    Example:
        >>> is_search({"grid": [1e-3, 1e-2]}), is_search({"power": 0.9})
        (True, False)
    """
    return isinstance(value, Mapping) and any(kind in value for kind in SEARCHES)


def number_of_trials(spaces: Sequence[Space]) -> int:
    """How many trials choose the settings of a method on a dataset; 0 where nothing is searched for.

    Example:
        >>> lr = Space(place=("training", "learning_rate"), grid=(1e-3, 1e-2))
        >>> number_of_trials([lr, Space(place=("training", "batch_size"), grid=(2, 4, 8))])
        6
    """
    stated = next((space.trials for space in spaces if space.trials), None)
    return stated or math.prod(len(space.grid or ()) for space in spaces) * bool(spaces)


def take_searches(data: Any, problems: Problems) -> dict[Place, Space | None]:
    """The searches in the data of a study file, by where they stand.

    One that is not as it should be is None; what is wrong with it goes to ``problems``.
    """
    return {
        place: _space(tuple(map(str, place[2:] if place[0] == "methods" else place)), spec, place, problems)
        for place, spec in _specs(data)
    }


def with_edges(data: Any, found: Mapping[Place, Space | None]) -> Iterator[Any]:
    """The data with values in the place of searches, as often as it takes until every value has stood there once."""
    spaces = [space for space in found.values() if space is not None]
    for number in range(max((len(space.edges) for space in spaces), default=1)):
        variant = deepcopy(data)
        for place, space in found.items():
            if space is None:
                _remove(variant, place)
            else:
                put(variant, place, space.edges[min(number, len(space.edges) - 1)])
        yield variant


def put(data: Any, place: Place, value: Any) -> None:
    """Set the value at a place that exists."""
    for key in place[:-1]:
        data = data[key]
    data[place[-1]] = value


def _remove(data: Any, place: Place) -> None:
    for key in place[:-1]:
        data = data[key]
    del data[place[-1]]


def searches_of(name: str, method: Mapping[str, Any], found: Mapping[Place, Space | None]) -> list[Space]:
    """The searches of a method, by name: its own, and those above all methods over which it says nothing."""
    own = {section: method.get(section) for section in _SHARED}
    said = {(section, key) for section, options in own.items() if isinstance(options, Mapping) for key in options}
    spaces = [
        space
        for place, space in found.items()
        if space is not None and (place[:2] == ("methods", name) or (place[0] in _SHARED and place[:2] not in said))
    ]
    return sorted(spaces, key=lambda space: space.name)  # so that the order of keys in the file changes no trial


def check_searches(
    searches: Mapping[str, Sequence[Space]],
    methods: Mapping[str, Mapping[str, Any]],
    study: Mapping[str, Any],
    problems: Problems,
) -> None:
    """Note searches whose numbers of trials differ, within a method or, unless the study allows it, between methods.

    Args:
        searches: by method.
        methods: with every default.
        study: what else the study file says.
        problems: collects what is wrong.
    """
    if any(searches.values()) and study.get("search_seed") in (study.get("seeds") or ()):
        problems.add(
            ("search_seed",),
            f"{study['search_seed']} is one of the seeds; runs with the seed of the trials would not be like the "
            "others, so give another one",
        )
    for name, spaces in searches.items():
        stated = {space.name: space.trials for space in spaces if space.trials}
        if len(set(stated.values())) > 1:
            told = ", ".join(f"{place}: {trials}" for place, trials in stated.items())
            problems.add(
                ("methods", name),
                f"its searches have different numbers of trials ({told}), but a trial sets all of them at once; say "
                "the same number in each",
            )
        if spaces and not (methods[name].get("training") or {}).get("holdout"):
            problems.add(
                ("methods", name),
                f"the search for {spaces[0].name} chooses by images held out of train, and none are; set holdout: 0.1",
            )
    trials = {name: number_of_trials(spaces) for name, spaces in searches.items()}
    if len(set(trials.values())) > 1 and study.get("allow_unequal") is not True and not problems.found:
        told = "; ".join(f"{name}: {count or 'no'} trials" for name, count in trials.items())
        problems.add(
            ("methods",),
            f"the searches differ ({told}), so a difference between methods may be one of searching; search with as "
            "many trials for every method, or say allow_unequal: true",
        )


def _specs(data: Any) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """The searches as they stand, with their places."""

    def inside(value: Any, place: Place) -> Iterator[tuple[Place, Mapping[str, Any]]]:
        if is_search(value):
            yield place, value
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                yield from inside(entry, (*place, key))

    def section(holder: Any, names: Sequence[str], place: Place) -> Iterator[tuple[Place, Mapping[str, Any]]]:
        for name in names:
            if isinstance(holder, Mapping) and isinstance(holder.get(name), Mapping) and not is_search(holder[name]):
                yield from inside(holder[name], (*place, name))

    yield from section(data, _SHARED, ())
    methods = data.get("methods")
    for name, method in methods.items() if isinstance(methods, Mapping) else ():
        yield from section(method, _SECTIONS, ("methods", name))


def _space(own: tuple[str, ...], spec: Mapping[str, Any], place: Place, problems: Problems) -> Space | None:
    kinds = [kind for kind in SEARCHES if kind in spec]
    kind, values = kinds[0], spec[kinds[0]]
    known = ["grid"] if kind == "grid" else [kind, "trials"]
    if own[-1] in NOT_SEARCHED:
        problems.add(
            place, f"{own[-1]} cannot be searched for: it decides what a trial costs or how it is scored; give a value"
        )
    before = len(problems.found)
    if len(kinds) > 1:
        problems.add(place, f"expected one of {', '.join(SEARCHES)}, got {' and '.join(kinds)}; keep one")
    elif extra := [key for key in spec if key not in known]:
        hint = " (a grid is tried whole)" if extra == ["trials"] else ""
        problems.add((*place, extra[0]), unknown(f"key of a search by {kind}", extra[0], known) + hint)
    elif kind == "grid":
        if not isinstance(values, list) or len(values) < 2 or any(values.count(value) > 1 for value in values):
            problems.add((*place, "grid"), f"expected a list of at least two different values, got {describe(values)}")
    else:
        _check_range(kind, values, spec.get("trials"), place, problems)
    if len(problems.found) > before:
        return None
    return Space(place=own, trials=spec.get("trials"), **{kind: tuple(values)})


def _check_range(kind: str, values: Any, trials: Any, place: Place, problems: Problems) -> None:
    lowest = 0 if kind == "log_uniform" else -math.inf
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if not (numbers and len(values) == 2 and lowest < values[0] < values[1] < math.inf):
        positive = " above 0" if kind == "log_uniform" else ""
        problems.add(
            (*place, kind), f"expected the lowest and the highest value, [low, high]{positive}, got {describe(values)}"
        )
    if type(trials) is not int or trials < 2:
        problems.add(
            (*place, "trials"), f"expected how many values are tried, a whole number above 1, got {describe(trials)}"
        )
    if find_spec("optuna") is None:
        problems.add(
            place,
            f"{kind} draws its values by Optuna, which is not installed; pip install 'segmi[sweep]', or use grid",
            EnvironmentProblem,
        )
