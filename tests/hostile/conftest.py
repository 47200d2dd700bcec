"""One estate in which all is well: images, a study, its finished run, a bundle. Every case spoils a copy of it."""

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


class Estate:
    """Where everything of the estate lies.

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
        """The command that does the study."""
        return ["study", "run", str(self.study), "--runs", str(self.runs), "--root", str(self.data)]


@pytest.fixture(scope="session")
def whole_estate(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    estate = Estate(tmp_path_factory.mktemp("estate"))
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (estate.data / folder).mkdir(parents=True)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(estate.data / f"images/{number}.png")
        Image.fromarray(rng.integers(0, 2, (40, 48), np.uint8)).save(estate.data / f"masks/{number}.png")
    estate.study.write_text(STUDY)
    assert main([*estate.run_command, "--quiet", "--cache", "none"]) == 0
    return estate


@pytest.fixture
def estate(whole_estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    monkeypatch.setenv("SEGMI_CACHE", "none")
    shutil.copytree(whole_estate.root, tmp_path / "estate")
    return Estate(tmp_path / "estate")


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Refused:
    """Give a command and how it must end; what it says on stderr comes back."""

    def run(command: list[str], code: int, *mentions: str) -> str:
        capfd.readouterr()
        ended = main([*command, "--quiet"])
        out, err = capfd.readouterr()
        told = f"\nexit code {ended}\n--- stderr\n{err}\n--- stdout\n{out}"
        assert ended == code, told
        assert "Traceback" not in err + out, told
        assert "unexpected" not in err, told
        for mention in mentions:
            assert mention in err, f"{mention!r} is not said{told}"
        return err

    return run


needs_root_to_step_down = pytest.mark.skipif(os.name == "nt", reason="no users to step down to")
