"""Joint distributions of known mutual information, to test estimators.

``x, y = law.sample(n)`` draws pairs, and ``law.mutual_information`` is the exact value in nats. `GaussianFields` are
pairs of images, whose windows are dependent samples, as pixels are.
"""

from segmi.information.laws.law import GaussianFields, GaussianLaw, Law, windows
from segmi.information.laws.other_laws import StudentLaw, TableLaw, UniformNoiseLaw

__all__ = ["GaussianFields", "GaussianLaw", "Law", "StudentLaw", "TableLaw", "UniformNoiseLaw", "windows"]
