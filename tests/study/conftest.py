"""A study that runs within a test: networks of width 2, images of 32 × 32, a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TINY = """\
name: tiny
datasets:
  street-scenes: {train: 8, val: 3, height: 40, width: 48}
processing: {resize: 36, crop: 32}
training:
  steps: 6
  batch_size: 2
  learning_rate: 1e-3
  holdout: 0.25
  checkpoint_every: 2
samples: 1
methods:
  model-1:
    label: Model 1
    networks:
      unet: {architecture: unet, width: 2}
    loss:
      cross_entropy: {}
"""


@pytest.fixture(scope="session")
def tiny_text() -> str:
    return TINY


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def check() -> Any:
    """Return the message of a refused study, and fail if the study is accepted."""
    from segmi.errors import SegmiError
    from segmi.study import DataRoots
    from segmi.study.strict_yaml import parse
    from segmi.study.study_file import apply_overrides
    from segmi.study.validation import validated

    def refused(text: str, *overrides: str, data: bool = False, kind: type[SegmiError] = SegmiError) -> str:
        with pytest.raises(kind) as caught:
            validated(apply_overrides(parse(text, "s.yaml"), overrides), roots=DataRoots() if data else None)
        return str(caught.value)

    return refused
