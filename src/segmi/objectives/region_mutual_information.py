"""Region mutual information: how much the windows of a predicted map tell about the windows of the label map.

The default ridge of the mode ``sound``, 1e-3 of the variance of the label, stands where the value hardly depends on it
any more, except for sharp predictions, and where maps that are still nearly constant are not thrown about. On three
label maps of CamVid (224×224, void pixels left out), the value, and the norm of the gradient by the logits in 1e-4:

=====================  ======  ======  ======  ======  ======  ======  ======
relative ridge          1e-7    1e-6    1e-5    1e-4    1e-3    1e-2    1e-1
=====================  ======  ======  ======  ======  ======  ======  ======
blurred, noisy         -0.189  -0.189  -0.189  -0.189  -0.187  -0.177  -0.138
less so                -0.735  -0.735  -0.734  -0.727  -0.674  -0.485  -0.246
sharp, noisy           -2.168  -2.164  -2.133  -1.961  -1.481  -0.786  -0.295
one pixel off          -4.368  -3.600  -2.833  -2.067  -1.314  -0.654  -0.256
the truth              -6.455  -5.304  -4.153  -3.004  -1.875  -0.889  -0.314
gradient, near flat     37.10   25.18   13.75    6.18    1.85    0.31    0.03
gradient, less so       63.72   63.69   63.40   60.78   45.83   18.31    3.62
=====================  ======  ======  ======  ======  ======  ======  ======
"""

from __future__ import annotations

import torch
from torch import Tensor

from segmi.arrays import VOID, Labels, Logits
from segmi.objectives._region_terms import Mode, RegionKnobs, RegionTerms, counted_pairs, region_terms
from segmi.objectives.contract import Loss, Term
from segmi.objectives.targets import Targets, read_targets, widened


def region_mutual_information(
    logits: Logits,
    labels: Labels,
    *,
    radius: int = 3,
    mode: Mode = "reference",
    alpha: float = 5e-4,
    relative_ridge: float = 1e-3,
    ignore_index: int = VOID,
) -> Tensor:
    """A lower bound, up to constants and sign, on the mutual information of label and prediction regions.

    Every R×R window of one picture and one class is a point with d = R² coordinates, Y of the label map (0 or 1), P of
    the probability map σ(z). With S the sums of products over the centred points,

    ``M = S_yy - S_yp (S_pp + αI)⁻¹ S_ypᵀ,   L = 1/(N d) Σ_n Σ_c ½ log det(M + αI)``  (eq. 14-16)

    is the uncertainty about the label window that a linear regression on the predicted window leaves.

    The mode ``reference`` is the published formula: label and probability are set to 0 in void pixels, 1e-6 is added to
    the probability and 1e-8 to the diagonal of the Cholesky factor in its logarithm. A class that is absent from a
    picture adds the constant ½ log α and no gradient.

    The mode ``sound`` takes only windows without void pixels, divides S by their number, replaces α by
    ``ε = relative_ridge · tr(S_yy) / d``, which depends on the label alone, and returns ``-I_G / d`` averaged over the
    (picture, class) pairs whose label varies, with ``I_G = ½ log det(S_yy + εI) - ½ log det(M + εI)``.

    Neither sees what a linear map of the window can undo: P and 1 - P have the same value. So it is no loss of its own;
    add a pixel-wise one. It does not enforce registration: a shift by one pixel keeps most of the value at R = 3.

    Args:
        logits: N×C×H×W, any float type, C = 1 for a binary problem; H and W at least R.
        labels: N×H×W, any integer type.
        radius: R, the side of the window.
        mode: ``reference`` or ``sound``.
        alpha: α of the mode ``reference``.
        relative_ridge: ε over the mean variance of the label window, in the mode ``sound``.
        ignore_index: the label of void pixels.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is a scalar.

    Unit and sign: nats per window pixel, minimised. ``reference`` is of either sign, with C ½ log α ≈ -3.8 C for a
    picture without any class and ½ log 2α at the perfect prediction of a class; ``sound`` is at most 0. An empty batch
    (and, where ``sound``, one without anything to predict) gives 0, attached to the graph.

    Raises:
        TypeError: logits that are not float, labels that are not integer.
        ValueError: shapes that do not match, a picture smaller than the window, knobs out of range; on the CPU, ids
            that are neither class nor void. On other devices those give NaN, and so do NaN logits everywhere.
        RuntimeError: a second derivative; `region_mutual_information_plain` has it.

    Source: Zhao, Wang, Yang and Cai, *Region Mutual Information Loss for Semantic Segmentation*, NeurIPS 2019.

    Example:
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> perfect = 30 * (2.0 * torch.nn.functional.one_hot(labels).movedim(-1, 1) - 1)
        >>> region_mutual_information(perfect, labels) < region_mutual_information(0 * perfect, labels)
        tensor(True)
    """
    knobs = _knobs(radius, mode, alpha, relative_ridge)
    return region_mutual_information_term(logits, labels, knobs, ignore_index)[0].value


def region_information(logits: Logits, labels: Labels, *, radius: int = 3, ignore_index: int = VOID) -> Tensor:
    """How much the prediction tells about the label, by picture and class, as the reference mode sees it.

    ``I_G = ½ log det(S_yy + αI) - ½ log det(M + αI) = -½ Σ_i log(1 - ρ_i²)``, α = 5e-4, ρ the canonical correlations of
    the windows under that ridge. Its gradient is that of the loss with the sign turned, but it is 0 for an absent class
    and for a constant prediction: the number to look at.

    Shapes:
        logits: N×C×H×W; labels: N×H×W; the result is N×C, without gradient.

    Unit and sign: nats per window (not per pixel), at least 0.

    Raises:
        TypeError, ValueError: as `region_mutual_information`.

    Source: the Gaussian mutual information; see `segmi.information.gaussian_mutual_information`.

    Example:
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.long)
        >>> labels[:, 4:12, 5:13] = 1
        >>> region_information(torch.stack([labels, 1 - labels, labels], 1).float(), labels).round(decimals=1)
        tensor([[30.5000, 30.5000,  0.0000]])
    """
    targets = _region_targets(logits, labels, radius, ignore_index)
    found = region_terms(logits.detach(), targets, RegionKnobs(radius, "reference", 5e-4, 1e-3))
    return found.information.clamp(min=0) + targets.poison


def region_mutual_information_term(
    logits: Logits, labels: Labels, knobs: RegionKnobs, ignore_index: int
) -> tuple[Term, RegionTerms]:
    """The loss as a ratio (its denominator counts pictures, or pairs where sound), and what it was made from."""
    targets = _region_targets(logits, labels, knobs.radius, ignore_index)
    found = region_terms(logits, targets, knobs)
    numerator = found.terms.sum() / knobs.dimension + targets.poison
    return Term(numerator, _denominator(logits, targets, knobs)), found


def region_denominator(logits: Logits, labels: Labels, knobs: RegionKnobs, ignore_index: int) -> Tensor:
    """The denominator of `region_mutual_information_term` alone."""
    return _denominator(logits, _region_targets(logits, labels, knobs.radius, ignore_index), knobs)


def _denominator(logits: Tensor, targets: Targets, knobs: RegionKnobs) -> Tensor:
    dtype = widened(logits).dtype
    if knobs.mode == "reference":
        return torch.full((), float(len(logits)), dtype=dtype, device=logits.device)
    return counted_pairs(targets, logits.shape[1], knobs).sum().to(dtype)


def _region_targets(logits: Tensor, labels: Tensor, radius: int, ignore_index: int) -> Targets:
    targets = read_targets(logits, labels, ignore_index)
    if min(logits.shape[2:]) < radius:
        height, width = logits.shape[2:]
        raise ValueError(
            f"logits: expected pictures of at least {radius}×{radius} pixels, the window, got {height}×{width}; "
            "use larger crops or a smaller radius"
        )
    return targets


def _knobs(radius: int, mode: Mode, alpha: float, relative_ridge: float) -> RegionKnobs:
    if isinstance(radius, bool) or not isinstance(radius, int) or radius < 1:
        raise ValueError(f"radius: expected an integer of at least 1, the side of the window, got {radius!r}; try 3")
    if mode not in ("reference", "sound"):
        raise ValueError(f"mode: expected 'reference' or 'sound', got {mode!r}; choose one of the two")
    for name, value in (("alpha", alpha), ("relative_ridge", relative_ridge)):
        if not value > 0:
            raise ValueError(f"{name}: expected a number above 0, got {value!r}; leave it out for the default")
    return RegionKnobs(radius, mode, float(alpha), float(relative_ridge))


class RegionMutualInformation(Loss):
    """`region_mutual_information` as a module.

    Args:
        radius: the side of the window.
        mode: ``reference`` or ``sound``.
        alpha: the ridge of the mode ``reference``.
        relative_ridge: the ridge of the mode ``sound``, over the mean variance of the label window.
        ignore_index: the label of void pixels.

    Attributes:
        jittered: how many covariances so far needed more than their ridge to be factored.

    Example:
        >>> loss = RegionMutualInformation(radius=3)
        >>> loss(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8))  # 2 log(√α + 1e-8)
        tensor(-7.6009)
    """

    def __init__(
        self,
        *,
        radius: int = 3,
        mode: Mode = "reference",
        alpha: float = 5e-4,
        relative_ridge: float = 1e-3,
        ignore_index: int = VOID,
    ) -> None:
        super().__init__()
        self.knobs = _knobs(radius, mode, alpha, relative_ridge)
        self.ignore_index = ignore_index
        self.jittered = 0

    def term(self, logits: Logits, labels: Labels) -> Term:
        """The sum over pictures and their number; over varying (picture, class) pairs where sound."""
        term, found = region_mutual_information_term(logits, labels, self.knobs, self.ignore_index)
        self.jittered += found.jittered
        return term

    def denominators(self, logits: Logits, labels: Labels) -> dict[str, Tensor]:
        """The number of pictures, or of varying pairs."""
        return {"": region_denominator(logits, labels, self.knobs, self.ignore_index)}
