"""Laws whose mutual information is known: the yardstick of estimators.

A law is sampled from, ``x, y = law.sample(n)``, and says what the truth is, ``law.mutual_information``, in nats.
`GaussianFields` are pairs of images; their windows are samples that are *not* independent of each other, as pixels
are.
"""

from segmi.information.laws.base import Law
from segmi.information.laws.fields import GaussianFields, windows
from segmi.information.laws.gaussian import GaussianLaw
from segmi.information.laws.others import StudentLaw, TableLaw, UniformNoiseLaw

__all__ = ["GaussianFields", "GaussianLaw", "Law", "StudentLaw", "TableLaw", "UniformNoiseLaw", "windows"]
