"""The values that a trial tries: a pure function of the spaces, its number, the seed and the scores before it."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from segmi.randomness import key
from segmi.study.search import Space

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

SPREAD: Final = 10
"""So many trials are spread evenly over the ranges before scores steer the next ones."""


def steered(spaces: Sequence[Space], number: int) -> bool:
    """Whether the values of a trial depend on the scores of those before it."""
    return number >= SPREAD and any(space.grid is None for space in spaces)


def suggest(
    spaces: Sequence[Space], number: int, before: Sequence[tuple[Mapping[str, Any], float | None]], seed: int
) -> dict[str, Any]:
    """The values of trial ``number``, by the names of the spaces.

    Grids alone are tried in every combination. With a range, Optuna draws: the first `SPREAD` trials from a scrambled
    Sobol sequence, the others by its tree-structured Parzen estimator from the scores so far.

    Args:
        spaces: what is searched for.
        number: of the trial, from 0.
        before: values and score of all trials before it, None for one that ended without a score; looked at where the
            trial is `steered`.
        seed: keys what is drawn. Methods that search alike try the same first values.

    Example:
        >>> rate, radius = (Space(place=(name,), grid=values) for name, values in (("a", (1, 2)), ("b", (3, 5))))
        >>> [suggest([rate, radius], number, [], 0) for number in range(3)]
        [{'a': 1, 'b': 3}, {'a': 1, 'b': 5}, {'a': 2, 'b': 3}]
    """
    if all(space.grid is not None for space in spaces):
        combinations = itertools.product(*(space.grid or () for space in spaces))
        chosen: Sequence[Any] = next(itertools.islice(combinations, number, None))
        return {space.name: value for space, value in zip(spaces, chosen, strict=True)}
    drawn = (
        _steered(spaces, number, before, seed) if steered(spaces, number) else _spread(spaces, number, seed)
    ).params
    return {
        space.name: space.grid[drawn[space.name]] if space.grid is not None else drawn[space.name] for space in spaces
    }


def _spread(spaces: Sequence[Space], number: int, seed: int) -> optuna.Trial:
    import optuna

    ranges = _ranges(spaces)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(
            scramble=True, seed=key(seed, "trials") % 2**32, warn_independent_sampling=False
        )
    study = _study(sampler)
    # The sampler learns from a finished trial what it samples.
    first = {space.name: 0 if space.grid is not None else space.edges[0] for space in spaces}
    study.add_trial(optuna.create_trial(params=first, distributions=ranges, value=0.0))
    for _ in range(number):
        study.tell(study.ask(ranges), 0.0)
    return study.ask(ranges)


def _steered(
    spaces: Sequence[Space], number: int, before: Sequence[tuple[Mapping[str, Any], float | None]], seed: int
) -> optuna.Trial:
    import optuna

    ranges = _ranges(spaces)
    study = _study(optuna.samplers.TPESampler(seed=key(seed, "trial", number) % 2**32, n_startup_trials=1))
    for values, score in before:
        params = {
            space.name: space.grid.index(values[space.name]) if space.grid is not None else values[space.name]
            for space in spaces
        }
        ended = {"state": optuna.trial.TrialState.FAIL} if score is None or math.isnan(score) else {"value": score}
        study.add_trial(optuna.create_trial(params=params, distributions=ranges, **ended))
    return study.ask(ranges)


def _study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _ranges(spaces: Sequence[Space]) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        space.name: CategoricalDistribution(range(len(space.grid)))
        if space.grid is not None
        else FloatDistribution(space.edges[0], space.edges[1], log=space.log_uniform is not None)
        for space in spaces
    }
