"""Information quantities in nats on plain tensors, independent of the rest of segmi.

`discrete`: distributions, tables, counts and labeled predictions. `gaussian`: Gaussian vectors. `neighbors` and
`kernels`: estimates without a model. `bounds`: estimates from matrices of pairs. `segmi.information.estimation` has
trained estimates, `segmi.information.laws` joint distributions of known mutual information.

All functions raise ``TypeError`` for tensors that are not floating point, and ``ValueError`` for invalid shapes,
values, options or ``base``.
"""

# ruff: noqa: F403 — the subpackages list their public names
from segmi.information.bounds import *
from segmi.information.bounds import __all__ as _bounds
from segmi.information.discrete import *
from segmi.information.discrete import __all__ as _discrete
from segmi.information.gaussian import (
    canonical_correlations,
    conditional_cholesky,
    gaussian_conditional_entropy,
    gaussian_entropy,
    gaussian_mutual_information,
)
from segmi.information.kernels import (
    gaussian_kernel,
    hilbert_schmidt_independence,
    renyi_matrix_entropy,
    renyi_matrix_mutual_information,
)
from segmi.information.neighbors import ksg_mutual_information

__all__ = [
    *_bounds, *_discrete, "canonical_correlations", "conditional_cholesky", "gaussian_conditional_entropy",
    "gaussian_entropy", "gaussian_kernel", "gaussian_mutual_information", "hilbert_schmidt_independence",
    "ksg_mutual_information", "renyi_matrix_entropy", "renyi_matrix_mutual_information",
]  # fmt: skip
