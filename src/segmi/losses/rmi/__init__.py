"""Region mutual information: the loss, its options, its reference, and ablations.

`loss` and `combined_loss` have the public losses, `rmi_config` their options. `dispatch` selects the routine: `torch`
(PyTorch), `cpu` (Numba) or `cuda` (Triton).
"""

# ruff: noqa: F403, I001 — the order of imports sets the order of `LOSSES`
from segmi.losses import exports
from segmi.losses.rmi.loss import *
from segmi.losses.rmi.combined_loss import *
from segmi.losses.rmi.ablations import *
from segmi.losses.rmi.ablation_controls import *
from segmi.losses.rmi.reference import *
from segmi.losses.rmi.rmi_config import *
from segmi.losses.rmi.dispatch import *

exports.set_all(globals())
