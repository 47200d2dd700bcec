"""A folder of one's own with a file beside it that says how it is read; `segmi data init` writes that file."""

from segmi.data.described.dataset import Described
from segmi.data.described.description import FILE_NAME, Description, LabelClass, Part
from segmi.data.described.file import read_description, written

__all__ = ["FILE_NAME", "Described", "Description", "LabelClass", "Part", "read_description", "written"]
