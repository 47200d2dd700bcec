"""Fixtures for all rooms."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    # Tiny tensors lose more to hand-overs between threads than they gain.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """The folder of the real CamVid, in ``SEGMI_DATA`` or in ``shared/data`` beside the repository."""
    root = Path(os.environ.get("SEGMI_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "CamVid"
    if not (root / "trainannot").is_dir():
        pytest.skip("CamVid is not installed: set SEGMI_DATA to the folder that holds CamVid/")
    return root


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own, of 16 MB or, by an indirect parameter, of another size as `mount` writes it."""
    folder = tmp_path / "runs"  # where the tests of whole commands keep theirs
    folder.mkdir()
    size = getattr(request, "param", "16m")
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("mounting a small tmpfs needs root and the mount capability")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Commands that are tested, in other processes too, leave the user's cache alone."""
    os.environ["SEGMI_CACHE"] = str(tmp_path_factory.mktemp("cache"))
