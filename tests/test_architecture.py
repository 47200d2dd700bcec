"""Imports between packages point one way, and packages that must stay light do not import PyTorch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import segmi

ROOT = Path(segmi.__file__).parent

BOTTOM = {"errors", "randomness", "types"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "randomness": set(),
    "types": set(),
    "information": BOTTOM,
    "losses": BOTTOM | {"information"},
    "metrics": BOTTOM | {"information"},
    "datasets": BOTTOM | {"records"},
    "models": BOTTOM,
    "records": BOTTOM,
    "training": BOTTOM | {"information", "losses", "metrics", "datasets", "models", "records"},
    "deploy": BOTTOM | {"models", "datasets", "records"},
    "statistics": BOTTOM | {"records"},
    "report": BOTTOM | {"records", "statistics"},
    "study": BOTTOM | {"training", "losses", "metrics", "datasets", "models", "records", "deploy", "report"},
}
WITHOUT_TORCH = ("errors", "randomness", "types", "records", "statistics", "report", "cli")


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_packages(path: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; name the package"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "segmi" else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        packages.update(name.split(".")[1] for name in names if name and name.startswith("segmi."))
    return packages - {"__version__", "load", "predict"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_forward(path: Path) -> None:
    here = package_of(path)
    if here in ("cli", "__init__", "_extras"):
        return  # the command line may import every package
    assert here in ALLOWED, f"{here} is not listed in ALLOWED"
    assert imported_packages(path) - {here} <= ALLOWED[here]


def test_every_package_is_listed() -> None:
    packages = {package_of(path) for path in ROOT.rglob("*.py")} - {"cli", "__init__", "_extras"}
    assert packages == set(ALLOWED)


def test_there_is_no_utils() -> None:
    assert not [path for path in ROOT.rglob("*") if "util" in path.name]


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_light_packages_do_not_import_torch(name: str) -> None:
    code = f"import sys, segmi.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tests_mirror_the_source() -> None:
    missing = [
        name
        for name in ALLOWED
        if (ROOT / name).is_dir() and not list((Path(__file__).parent / name).glob("test_*.py"))
    ]
    assert not missing
