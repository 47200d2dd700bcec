"""The options of region mutual information, checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict, get_args

from segmi.losses.options import check_choice

Variant = Literal["published", "corrected"]
Probability = Literal["sigmoid", "softmax"]
Pooling = Literal["none", "average", "max", "interpolation"]
IgnoredHandling = Literal["zero", "drop"]
ClassReduction = Literal["sum", "mean", "present"]
Quantity = Literal[
    "information", "diagonal", "own_pixel", "error_determinant", "log_mse", "cca_trace", "cka", "covariance_matching"
]
Shuffle = Literal["none", "pixels", "labels"]

_CHOICES: Final[dict[str, Any]] = {
    "variant": Variant,
    "probability": Probability,
    "pooling": Pooling,
    "ignored": IgnoredHandling,
    "class_reduction": ClassReduction,
}


class RegionOptions(TypedDict, total=False):
    """The options that all losses on regions share, for those who pass them on; see `RMIConfig`."""

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
    """The parameters of `region_mutual_information`, under their names there.

    ``ignored`` and ``class_reduction`` may be given as None, and then hold what the mode makes of it. The last three are
    not for users: they make its surrogates.

    Args:
        quantity: what is read off the covariances; ``information`` is region mutual information.
        shuffle: whether the cells of the label, or of label and probability alike, are put into another order.
        seed: of that order.

    Raises:
        ValueError: a option out of range, or two that do not go together.
    """

    radius: int = 3
    variant: Variant = "published"
    alpha: float = 5e-4
    relative_ridge: float = 1e-3
    probability: Probability = "sigmoid"
    pooling: Pooling = "none"
    stride: int = 1
    legacy_interpolation: bool = False
    ignored: IgnoredHandling | None = None
    class_reduction: ClassReduction | None = None
    quantity: Quantity = "information"
    shuffle: Shuffle = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        reference = self.variant == "published"
        object.__setattr__(self, "ignored", self.ignored or ("zero" if reference else "drop"))
        object.__setattr__(self, "class_reduction", self.class_reduction or ("sum" if reference else "present"))
        if not _whole(self.radius) or self.radius < 1:
            raise ValueError(
                f"radius: expected an integer of at least 1, the side of the window, got {self.radius!r}; try 3"
            )
        for name, kind in _CHOICES.items():
            check_choice(name, getattr(self, name), get_args(kind))
        for name in ("alpha", "relative_ridge"):
            value = getattr(self, name)
            if isinstance(value, str) or not value > 0:
                raise ValueError(f"{name}: expected a number above 0, got {value!r}; leave it out for the default")
        if not _whole(self.seed):
            raise ValueError(f"seed: expected an integer, got {self.seed!r}; leave it out for 0")
        self._check_pooling()

    def _check_pooling(self) -> None:
        if self.pooling == "none" and self.stride != 1:
            raise ValueError(f"stride: expected 1 without pooling, got {self.stride!r}; choose a pooling as well")
        if self.pooling != "none" and not (_whole(self.stride) and self.stride >= 2):
            raise ValueError(
                f"stride: expected an integer of at least 2 with pooling {self.pooling!r}, got {self.stride!r}; "
                "4 is published"
            )
        if self.legacy_interpolation and self.pooling != "interpolation":
            raise ValueError(
                f"legacy_interpolation: expected pooling 'interpolation', the only one with two grids, got {self.pooling!r}; "
                "leave it out"
            )

    @property
    def dimension(self) -> int:
        """d, the number of pixels of a window."""
        return self.radius**2

    @property
    def surrogate(self) -> bool:
        """Whether this is another quantity than region mutual information, or that of maps in disorder."""
        return self.quantity != "information" or self.shuffle != "none"


def absent_value(config: RMIConfig) -> float:
    """The term of a pair without variation: d log(√α + 1e-8) as published, 0 where sound."""
    return config.dimension * math.log(math.sqrt(config.alpha) + 1e-8) if config.variant == "published" else 0.0


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
