"""Imports between packages point one way, and packages that must stay light do not import PyTorch."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import segmi

ROOT = Path(segmi.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))

BOTTOM = {"errors", "plugins", "randomness", "types"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "plugins": {"errors"},
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
    "testing": BOTTOM | {"losses", "datasets", "models"},
}
WITHOUT_TORCH = ("errors", "plugins", "randomness", "types", "records", "statistics", "report", "cli")


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


def test_no_file_has_more_than_300_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): count for path in SOURCES if (count := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_packages_have_few_basenames_in_common() -> None:
    """A name that occurs in two packages says too little about either file."""
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        if path.name not in ("__init__.py", "__main__.py"):
            places.setdefault(path.name, []).append(str(path.parent.relative_to(ROOT)))
    shared = {name: folders for name, folders in places.items() if len(folders) > 1}
    assert len(shared) <= 8, shared


def test_every_package_lists_its_public_names() -> None:
    """``__all__`` is complete in the sense that everything in it can be imported."""
    for path in SOURCES:
        if path.name == "__init__.py":
            name = ".".join(("segmi", *path.parent.relative_to(ROOT).parts))
            if any(part.startswith("_") for part in name.split(".")):
                continue
            package = importlib.import_module(name)
            assert isinstance(getattr(package, "__all__", None), list), f"{name} has no __all__"
            missing = [one for one in package.__all__ if not hasattr(package, one)]
            assert not missing, f"{name}.__all__ has {missing}"


def test_functions_have_at_most_15_arguments() -> None:
    long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                count = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
                if count > 15:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {count}")
    assert not long


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
