"""The arrows between the rooms point one way, and the rooms that must stay light do not import PyTorch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import segmi

ROOT = Path(segmi.__file__).parent

BOTTOM = {"errors", "randomness", "arrays"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "randomness": set(),
    "arrays": set(),
    "information": BOTTOM,
    "losses": BOTTOM | {"information"},
    "metrics": BOTTOM | {"information"},
    "data": BOTTOM | {"records"},
    "models": BOTTOM,
    "records": BOTTOM - {"arrays"},
    "training": BOTTOM | {"information", "losses", "metrics", "data", "models", "records"},
    "deploy": BOTTOM | {"models", "data", "records"},
    "comparison": BOTTOM - {"arrays"} | {"records"},
    "report": BOTTOM - {"arrays"} | {"records", "comparison"},
    "study": BOTTOM | {"training", "losses", "metrics", "data", "models", "records", "deploy", "report"},
}
WITHOUT_TORCH = ("errors", "randomness", "records", "comparison", "report", "cli")


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; name the room"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "segmi" else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms.update(name.split(".")[1] for name in names if name and name.startswith("segmi."))
    return rooms - {"__version__", "load", "predict"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_forward(path: Path) -> None:
    here = room(path)
    if here in ("cli", "__init__"):
        return  # the front door may open every room
    assert here in ALLOWED, f"{here} is a room that the plan does not know"
    assert imported_rooms(path) - {here} <= ALLOWED[here]


def test_every_room_is_in_the_plan() -> None:
    rooms = {room(path) for path in ROOT.rglob("*.py")} - {"cli", "__init__"}
    assert rooms == set(ALLOWED)


def test_there_is_no_utils() -> None:
    assert not [path for path in ROOT.rglob("*") if "util" in path.name]


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_light_rooms_leave_torch_alone(name: str) -> None:
    code = f"import sys, segmi.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_tests_mirror_the_source() -> None:
    missing = [
        name
        for name in ALLOWED
        if (ROOT / name).is_dir() and not list((Path(__file__).parent / name).glob("test_*.py"))
    ]
    assert not missing
