"""Options of region mutual information: documented, given defaults and checked in one place."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache, wraps
from typing import Any, Final, Literal, TypedDict, TypeVar, cast, get_args, get_type_hints

from segmi.losses.option_checks import check_choice, unknown_option

__all__ = ["RMIConfig"]

Variant = Literal["published", "corrected"]
Probability = Literal["sigmoid", "softmax"]
Pooling = Literal["none", "average", "max", "interpolation"]
IgnoredHandling = Literal["zero", "drop"]
ClassReduction = Literal["sum", "mean", "present"]
Kernel = Literal["auto", "numba", "triton", "torch"]
Quantity = Literal[
    "information", "diagonal", "own_pixel", "error_determinant", "log_mse", "cca_trace", "cka", "covariance_matching"
]
Shuffle = Literal["none", "pixels", "labels"]

F = TypeVar("F", bound=Callable[..., Any])


class RMIOptions(TypedDict, total=False):
    """Keyword arguments of every RMI loss, as a type; see `RMIConfig`."""

    radius: int
    variant: Variant
    probability: Probability
    pooling: Pooling
    stride: int
    legacy_interpolation: bool
    ignored: IgnoredHandling | None
    class_reduction: ClassReduction | None
    alpha: float
    relative_ridge: float


@dataclass(frozen=True)
class RMIConfig:
    """Options of region mutual information.

    Every function and module of this package takes them as keyword arguments. ``quantity``, ``shuffle`` and ``seed``
    select an ablation and are set by the ablations only.

    Args:
        radius: R, the side of the window in pixels of the feature grid.
        variant: ``published``, the formula of the paper and its code, or ``corrected``, which is 0 for a constant
            prediction and does not depend on the number of windows; see `region_mutual_information`.
        probability: ``sigmoid``, or ``softmax`` over two or more classes.
        pooling: ``none``; ``average`` or ``max`` over squares of ``stride`` pixels, which start ``stride // 2`` pixels
            outside the image as published; or ``interpolation``, ``H // stride`` samples from corner to corner.
        stride: pixels per cell of the feature grid, on each side; at least 2 with pooling, 1 without. 4 is published.
        legacy_interpolation: whether interpolation samples the label at the nearest pixels of a different grid, as
            published. A perfect prediction is then worse than a constant one.
        ignored: ``zero`` sets label and probability to 0 in ignored pixels; ``drop`` excludes windows that contain an
            ignored pixel, or, with pooling, a cell that extends beyond the border. None: ``zero`` for the variant
            ``published``, ``drop`` for ``corrected``.
        class_reduction: ``sum`` or ``mean`` over the classes of an image, then the mean over images; or ``present``,
            the mean over the (image, class) pairs whose label varies. None: ``sum`` for the variant ``published``,
            ``present`` for ``corrected``.
        alpha: α, the ridge of the variant ``published``.
        relative_ridge: ε of the variant ``corrected`` over the mean variance of the label window.
        quantity: the function of the covariances; ``information`` is region mutual information.
        shuffle: which maps have their cells in random order: none, the labels, or labels and probabilities alike.
        seed: seed of that order.

    Raises:
        ValueError: an option out of range, or two options that exclude each other.

    Example:
        >>> config = RMIConfig(radius=5, variant="corrected")
        >>> config.ignored, config.class_reduction, config.dimension
        ('drop', 'present', 25)
    """

    radius: int = 3
    variant: Variant = "published"
    probability: Probability = "sigmoid"
    pooling: Pooling = "none"
    stride: int = 1
    legacy_interpolation: bool = False
    ignored: IgnoredHandling | None = None
    class_reduction: ClassReduction | None = None
    alpha: float = 5e-4
    relative_ridge: float = 1e-3
    quantity: Quantity = "information"
    shuffle: Shuffle = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        published = self.variant == "published"
        object.__setattr__(self, "ignored", self.ignored or ("zero" if published else "drop"))
        object.__setattr__(self, "class_reduction", self.class_reduction or ("sum" if published else "present"))
        if not _is_integer(self.radius) or self.radius < 1:
            raise ValueError(
                f"radius: expected an integer of at least 1, the side of the window, got {self.radius!r}. Fix: use 3."
            )
        for name, kind in _CHOICES.items():
            check_choice(name, getattr(self, name), get_args(kind))
        for name in ("alpha", "relative_ridge"):
            value = getattr(self, name)
            if isinstance(value, str) or not value > 0:
                raise ValueError(f"{name}: expected a number above 0, got {value!r}. Fix: omit it for the default.")
        if not _is_integer(self.seed):
            raise ValueError(f"seed: expected an integer, got {self.seed!r}. Fix: omit it for 0.")
        self._check_pooling()

    def _check_pooling(self) -> None:
        if self.pooling == "none" and self.stride != 1:
            raise ValueError(f"stride: expected 1 without pooling, got {self.stride!r}. Fix: set pooling as well.")
        if self.pooling != "none" and not (_is_integer(self.stride) and self.stride >= 2):
            raise ValueError(
                f"stride: expected an integer of at least 2 with pooling {self.pooling!r}, got {self.stride!r}. "
                "Fix: use 4, as published."
            )
        if self.legacy_interpolation and self.pooling != "interpolation":
            raise ValueError(
                f"legacy_interpolation: expected pooling 'interpolation', which has two grids, got {self.pooling!r}. "
                "Fix: omit it."
            )

    @property
    def text(self) -> str:
        """All options as the text that `of_text` reads, which the operators of PyTorch take as an argument."""
        return ", ".join([repr(getattr(self, name)) for name in _NAMES])  # traced by TorchDynamo

    @staticmethod
    @lru_cache
    def of_text(text: str) -> RMIConfig:
        """Return the config with this `text`."""
        return RMIConfig(*ast.literal_eval(text))

    @property
    def dimension(self) -> int:
        """d = R², the number of pixels of a window."""
        return self.radius**2

    @property
    def needs_cells(self) -> bool:
        """Whether the maps are not the probability of a sigmoid, in place."""
        return (self.probability, self.pooling, self.shuffle) != ("sigmoid", "none", "none")

    @property
    def is_ablation(self) -> bool:
        """Whether this is a different quantity, or the information of shuffled maps."""
        return self.quantity != "information" or self.shuffle != "none"

    @property
    def ridge(self) -> float:
        """α, added to sums, of the variant ``published``; else the ridge over the mean variance of the label window."""
        return self.alpha if self.variant == "published" else self.relative_ridge

    @property
    def absent_value(self) -> float:
        """The term of a pair whose label does not vary: d log(√α + 1e-8) as published, else 0."""
        return self.dimension * math.log(math.sqrt(self.alpha) + 1e-8) if self.variant == "published" else 0.0


_CHOICES: Final[dict[str, Any]] = {
    "variant": Variant,
    "probability": Probability,
    "pooling": Pooling,
    "ignored": IgnoredHandling,
    "class_reduction": ClassReduction,
}
_NAMES: Final = [item.name for item in fields(RMIConfig)]
_OPTIONS: Final = [item for item in fields(RMIConfig) if item.name in RMIOptions.__annotations__]


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def read_options(options: RMIOptions, **ablation: Any) -> RMIConfig:
    """Return the config of keyword arguments; ``ablation`` sets ``quantity``, ``shuffle`` and ``seed``.

    Raises:
        TypeError: an unknown name.
        ValueError: as `RMIConfig`.
    """
    names = [item.name for item in _OPTIONS]
    for name in options:
        if name not in names:
            raise unknown_option(name, names)
    return RMIConfig(**options, **ablation)


def expand_options(function: F) -> F:
    """Replace ``**options`` by the options of `RMIConfig` in the signature and type hints that Python reports.

    Study files, the command line and help texts read names, types and defaults of options from signatures.
    """
    hints = get_type_hints(RMIConfig)
    signature = inspect.signature(function)
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.name == "ignore_index":  # the options come before it
            parameters += [
                inspect.Parameter(item.name, parameter.kind, default=item.default, annotation=item.type)
                for item in _OPTIONS
            ]
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            parameters.append(parameter)
    names = [parameter.name for parameter in parameters]

    @wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        for name in options:
            if name not in names:
                raise unknown_option(name, [one.name for one in parameters if one.kind is one.KEYWORD_ONLY])
        return function(*arguments, **options)

    checked.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect
    annotations = {name: hint for name, hint in function.__annotations__.items() if name != "options"}
    checked.__annotations__ = annotations | {item.name: hints[item.name] for item in _OPTIONS}
    return cast(F, checked)
