"""The base installation: losses, metrics and information measures need PyTorch, NumPy and Numba only."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from segmi._extras import EXTRAS, extra_of, missing_package

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]
BLOCKED = sorted({package for packages in EXTRAS.values() for package in packages})
BLOCK = f"""
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)


def test_losses_metrics_and_information_need_no_extra() -> None:
    done = run("""
import torch, segmi
import segmi.testing
from segmi.losses import Dice, RMILoss
logits = torch.randn(1, 3, 12, 12, requires_grad=True)
labels = torch.randint(0, 3, (1, 12, 12))
segmi.testing.check_loss(Dice)
RMILoss(kernel="torch")(logits, labels).backward()
print(segmi.metrics.__name__, segmi.information.__name__, float(logits.grad.abs().sum()) > 0)
""")
    assert done.stdout.split() == ["segmi.metrics", "segmi.information", "True"], done.stderr


def test_star_imports_need_no_other_package() -> None:
    for package in ("losses", "metrics", "information"):
        done = run(f"import sys; sys.modules['torchmetrics'] = None\nfrom segmi.{package} import *\nprint('ok')")
        assert done.stdout == "ok\n", done.stderr


def test_the_base_installation_has_three_requirements() -> None:
    names = {requirement.partition(">")[0] for requirement in PROJECT["dependencies"]}
    assert names == {"torch", "numpy", "numba"}


def test_the_command_names_the_extra_to_install() -> None:
    done = run("from segmi._extras import main; sys.exit(main())")
    assert done.returncode == 5
    assert done.stderr.endswith("which is not installed\n  Fix: pip install 'segmi[train]'\n")
    assert "Traceback" not in done.stderr


def test_functions_in_python_name_the_extra_to_install() -> None:
    for name in ("train", "predict", "datasets"):
        done = run(f"import segmi; segmi.{name}")
        last = done.stderr.splitlines()[-2:]
        assert last[0].startswith(f"ModuleNotFoundError: segmi.{name} needs the package "), done.stderr
        assert last[1] == "  Fix: pip install 'segmi[train]'"


@pytest.mark.parametrize(("package", "extra"), [("matplotlib.pyplot", "report"), ("optuna", "sweep"), ("numpy", None)])
def test_packages_belong_to_extras(package: str, extra: str | None) -> None:
    error = ModuleNotFoundError(f"No module named {package!r}", name=package)
    assert extra_of(error) == extra
    assert extra is None or f"'segmi[{extra}]'" in missing_package(error)
    assert extra_of(ImportError("other")) is None


def test_every_extra_lists_what_it_installs() -> None:
    """The import names in the table belong to the distributions in pyproject.toml."""
    distributions = {package: {one.lower() for one in names} for package, names in packages_distributions().items()}
    for extra, packages in EXTRAS.items():
        required = {requirement.partition(">")[0].lower() for requirement in PROJECT["optional-dependencies"][extra]}
        for package in packages:
            if package in distributions:
                assert {name.replace("_", "-") for name in distributions[package]} & required, (extra, package)
