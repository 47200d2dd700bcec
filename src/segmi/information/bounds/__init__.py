"""Bounds and estimates of mutual information from matrices of pairs.

A *score matrix* has ``f(x_i, y_j)`` in row i and column j for N independent pairs (x_i, y_i): the diagonal holds the
pairs, the rest independent combinations. A *likelihood* is ``log q(y_j|x_i)``. Leading dimensions are a batch. ``E`` is
the mean over the diagonal, ``E_⊗`` the mean over the rest.

All functions assume independent pairs. The pixels of an image are dependent, and then even the bounds do not hold
(Tschannen et al., *On Mutual Information Maximization for Representation Learning*, ICLR 2020, section 4).

No lower bound that holds with high confidence for every distribution can exceed ``O(log N)`` from N pairs (McAllester
and Stratos, *Formal Limitations on the Measurement of Mutual Information*, AISTATS 2020): the others have a large
variance or assume something about the distribution.
"""

from segmi.information.bounds.critic_bounds import (
    donsker_varadhan,
    info_nce,
    jensen_shannon_bound,
    nguyen_wainwright_jordan,
    smile,
    unnormalized_barber_agakov,
)
from segmi.information.bounds.likelihood_bounds import (
    barber_agakov,
    contrastive_log_ratio_upper_bound,
    difference_of_entropies,
    leave_one_out_upper_bound,
)

__all__ = [
    "barber_agakov", "contrastive_log_ratio_upper_bound", "difference_of_entropies", "donsker_varadhan", "info_nce",
    "jensen_shannon_bound", "leave_one_out_upper_bound", "nguyen_wainwright_jordan", "smile",
    "unnormalized_barber_agakov",
]  # fmt: skip
