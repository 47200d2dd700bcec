"""A valid workspace: images, a study, its finished run and a bundle. Every case damages a copy of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.cli import main

STUDY = """\
name: own
datasets:
  cells: {type: folder, classes: [background, cell], val: 0.34}
processing: {resize: 36, crop: 32}
training: {steps: 2, batch_size: 2, holdout: 0.25, checkpoint_every: 1, precision: fp32}
samples: 1
methods:
  plain:
    networks:
      unet: {architecture: unet, width: 2}
    loss:
      cross_entropy: {}
"""

Refused = Callable[..., str]


class Workspace:
    """Paths of the workspace.

    Args:
        root: its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data, self.study, self.runs = root / "data", root / "own.yaml", root / "runs"
        self.run = self.runs / "own/cells/plain/seed0"
        self.bundle, self.checkpoints = self.run / "bundles/unet", self.run / "checkpoints"
        self.photo = self.data / "images/0.png"

    @property
    def run_command(self) -> list[str]:
        """The command that runs the study."""
        return ["study", "run", str(self.study), "--runs", str(self.runs), "--root", str(self.data)]


@pytest.fixture(scope="session")
def finished_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (workspace.data / folder).mkdir(parents=True)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(workspace.data / f"images/{number}.png")
        Image.fromarray(rng.integers(0, 2, (40, 48), np.uint8)).save(workspace.data / f"masks/{number}.png")
    workspace.study.write_text(STUDY)
    assert main([*workspace.run_command, "--quiet", "--cache", "none"]) == 0
    return workspace


@pytest.fixture
def workspace(finished_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SEGMI_CACHE", "none")
    shutil.copytree(finished_workspace.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Refused:
    """Run a command, check its exit code and messages, and return its stderr."""

    def run(command: list[str], code: int, *mentions: str) -> str:
        capfd.readouterr()
        ended = main([*command, "--quiet"])
        out, err = capfd.readouterr()
        output = f"\nexit code {ended}\n--- stderr\n{err}\n--- stdout\n{out}"
        assert ended == code, output
        assert "Traceback" not in err + out, output
        assert "unexpected" not in err, output
        for mention in mentions:
            assert mention in err, f"{mention!r} is missing{output}"
        return err

    return run


requires_unprivileged_user = pytest.mark.skipif(os.name == "nt", reason="no users to step down to")
