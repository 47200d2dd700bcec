"""Label maps in the values of the masks that a network was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from segmi.errors import UsageError, unknown_name

Values: TypeAlias = Literal["index", "original"]
VALUES: Final[tuple[str, ...]] = get_args(Values)
"""``index``: class indices; ``original``: values, or colors, of the masks of the dataset."""


def value_converter(card: Mapping[str, Any], values: str) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """Return the function from class indices to the values of a bundle's masks.

    Shapes: H×W uint8 to H×W uint8 (uint16 for values above 255), or H×W×3 uint8 for masks of colors.

    Args:
        card: of the bundle; its ``values`` have a number or a color per class.
        values: ``index`` changes nothing; ``original``.

    Raises:
        UsageError: for another name, or a bundle without values.

    Example:
        >>> value_converter({"values": [7, 8, 11]}, "original")(np.array([[2, 0]], np.uint8)).tolist()
        [[11, 7]]
    """
    if values not in VALUES:
        raise unknown_name("kind of mask values", values, VALUES)
    if values == "index":
        return lambda labels: labels
    if "values" not in card:
        raise UsageError(
            "this bundle does not contain the values of the masks that it was trained on",
            "use --values index, or train it again: bundles of `segmi train` and `segmi study run` contain them",
        )
    table = _table(card["values"])
    return lambda labels: table[labels]


def _table(values: Sequence[int | Sequence[int]]) -> NDArray[Any]:
    table = np.array(values)
    return table.astype(np.uint16 if table.max() > np.iinfo(np.uint8).max else np.uint8)


def values_problem(values: Any, classes: int) -> str | None:
    """Return the problem of the values of a card; None for a valid number or color per class."""
    if not isinstance(values, list) or len(values) != classes:
        return f"the mask values should be a list of {classes} entries"
    numbers = all(type(value) is int and 0 <= value <= np.iinfo(np.uint16).max for value in values)
    if not numbers and not all(is_color(value) for value in values):
        return "the mask values should be numbers from 0 to 65535, or colors of three numbers from 0 to 255"
    return None


def is_color(color: Any) -> bool:
    """Return whether a value of a JSON file is a color, three numbers from 0 to 255."""
    return isinstance(color, list) and len(color) == 3 and all(type(c) is int and 0 <= c <= 255 for c in color)
