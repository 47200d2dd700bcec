"""A folder of one's own with a file beside it that says how it is read; `segmi data init` writes that file."""

from segmi.datasets.custom.dataset import CustomDataset
from segmi.datasets.custom.description import FILE_NAME, Description, LabelClass, Part
from segmi.datasets.custom.file import read_description, written

__all__ = ["FILE_NAME", "CustomDataset", "Description", "LabelClass", "Part", "read_description", "written"]
