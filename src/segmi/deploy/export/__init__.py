"""A bundle as a program that runs without segmi, compared with PyTorch before it is called done."""

from segmi.deploy.export.check import Agreement
from segmi.deploy.export.write import FORMATS, Exported, export

__all__ = ["FORMATS", "Agreement", "Exported", "export"]
