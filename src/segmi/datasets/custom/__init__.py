"""A folder of images and masks described by ``segmi.toml``, which `segmi data init` writes."""

from segmi.datasets.custom.config_file import format_config, read_config
from segmi.datasets.custom.dataset import CustomDataset
from segmi.datasets.custom.dataset_config import FILE_NAME, CustomConfig, LabelClass, SplitFolders

__all__ = ["FILE_NAME", "CustomConfig", "CustomDataset", "LabelClass", "SplitFolders", "format_config", "read_config"]
