"""Fixtures for all rooms."""

from __future__ import annotations

import os
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


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Commands that are tested, in other processes too, leave the user's cache alone."""
    os.environ["SEGMI_CACHE"] = str(tmp_path_factory.mktemp("cache"))
