"""A loss, a dataset and a network for segmi, see the entry points in ``pyproject.toml``."""

__version__ = "0.1.0"
