"""Estimates of mutual information that a function or a law of one's own enters, on matrices of what it gives for pairs.

A *score matrix* holds ``f(x_i, y_j)`` in row i and column j for N pairs (x_i, y_i) that were drawn independently of
each other; on the diagonal is what belongs together, off it what was drawn apart. A *likelihood* is ``log q(y_j|x_i)``.
Leading dimensions are a batch. ``E`` stands for the mean over the diagonal, ``E_⊗`` for the mean over the rest.

All of this assumes independent pairs. Pixels of one image are not, and then even what is called a bound is none
(Tschannen et al., *On Mutual Information Maximization for Representation Learning*, ICLR 2020, section 4).

No lower bound that holds with high confidence for every law can exceed ``O(log N)`` from N pairs (McAllester and
Stratos, *Formal Limitations on the Measurement of Mutual Information*, AISTATS 2020): those that do pay with their
variance, or with an assumption on the law.
"""

from segmi.information.bounds.likelihoods import (
    barber_agakov,
    contrastive_log_ratio_upper_bound,
    difference_of_entropies,
    leave_one_out_upper_bound,
)
from segmi.information.bounds.scores import (
    donsker_varadhan,
    info_nce,
    jensen_shannon_bound,
    nguyen_wainwright_jordan,
    smile,
    unnormalized_barber_agakov,
)

__all__ = [
    "barber_agakov",
    "contrastive_log_ratio_upper_bound",
    "difference_of_entropies",
    "donsker_varadhan",
    "info_nce",
    "jensen_shannon_bound",
    "leave_one_out_upper_bound",
    "nguyen_wainwright_jordan",
    "smile",
    "unnormalized_barber_agakov",
]
