"""What a run may cost, stated in one unit; and that it is the same for every method of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segmi.study.problems import Problems

BUDGETS: Final = ("steps", "epochs", "images", "minutes")
"""The units in which a budget may be given, one of them."""


def budget_of(training: Mapping[str, Any]) -> dict[str, float]:
    """The budget as stated, by its unit; more or less than one entry is a mistake.

    Example:
        >>> budget_of({"steps": 100, "epochs": None, "batch_size": 8})
        {'steps': 100}
    """
    return {unit: training[unit] for unit in BUDGETS if training.get(unit) is not None}


def in_words(budget: Mapping[str, float]) -> str:
    """A budget as people say it.

    Example:
        >>> in_words({"steps": 1000})
        '1,000 steps'
    """
    return " and ".join(f"{amount:,} {unit}" for unit, amount in budget.items())


def check_equal_budgets(methods: Mapping[str, Mapping[str, Any]], allow_unequal: Any, problems: Problems) -> None:
    """Note that methods have different budgets, unless the study says that they may.

    Budgets are equal as declared: in the one unit that is given, which the study chooses. Methods of other batch sizes
    with equal ``steps`` see different numbers of images, with equal ``images`` they take different numbers of
    steps.
    """
    if allow_unequal is True or problems.found:
        return
    budgets = {name: in_words(budget_of(method["training"])) for name, method in methods.items()}
    if len(set(budgets.values())) > 1:
        told = "; ".join(f"{name}: {budget}" for name, budget in budgets.items())
        problems.add(
            ("methods",),
            f"the budgets differ ({told}), so a difference between methods may be one of budgets; give all methods the "
            "same amount in the same unit, or say allow_unequal: true",
        )
