"""A run continues only with the code and the images that it started with."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmi.datasets.reader import Sample
from segmi.errors import UsageError
from segmi.study.origin import images_digest
from segmi.study.run import run_study
from segmi.study.strict_yaml import parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

RUN = Path("tiny/street-scenes/model-1/seed0")


class Killed(BaseException):
    """Ends a run as a signal without a handler does."""


@pytest.fixture
def begun(tiny_text: str, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that continues a run with a checkpoint after its origin was changed."""
    study = validated(apply_overrides(parse(tiny_text), ["training.precision=fp32"]))

    def stop(event: Any) -> None:
        if event.kind == "train" and event.done == 3:
            raise Killed

    with pytest.raises(Killed):
        run_study(study, tmp_path, listener=stop)

    def go_on(change: dict[str, Any], **options: Any) -> Any:
        path = tmp_path / RUN / "origin.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        return run_study(study, tmp_path, **options)

    return go_on


def test_other_images_or_version_are_refused_before_start(begun: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        begun({"data": {"train": "other", "val": "other"}, "segmi": "0.0.1"})
    message = str(refused.value)
    for part in ("data: train has other files", "data: val has", "segmi was 0.0.1, is now", str(tmp_path / RUN)):
        assert part in message
    assert "--overwrite" in message
    assert "--allow-changed data --allow-changed segmi" in message
    assert not (tmp_path / RUN / "result.json").exists()
    with pytest.raises(UsageError, match="segmi was"):
        begun({}, allow_changed=["data"])
    outcome = begun({}, allow_changed=["data", "segmi"])
    assert outcome.finished == ["street-scenes/model-1/seed0"]
    assert json.loads((tmp_path / RUN / "origin.json").read_text())["segmi"] != "0.0.1"


def test_other_commit_gives_warning(begun: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        outcome = begun({"commit": "0123abc"})
    assert "commit was 0123abc, is now" in caplog.text
    outcome.raise_if_incomplete()


def test_overwritten_run_can_differ(begun: Callable[..., Any], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / RUN / "checkpoints")
    begun({"segmi": "0.0.1"}).raise_if_incomplete()
    begun({"segmi": "0.0.1"}).raise_if_incomplete()  # finished runs stay, with any origin
    begun({"segmi": "0.0.1"}, overwrite=True).raise_if_incomplete()


def test_images_digest_depends_on_names_and_sizes_only(tmp_path: Path) -> None:
    def samples(folder: str, mask: bytes, name: str = "a") -> list[Sample]:
        (tmp_path / folder).mkdir(exist_ok=True)
        for file, content in (("image.png", b"image"), ("mask.png", mask)):
            (tmp_path / folder / file).write_bytes(content)
        return [Sample(tmp_path / folder / "image.png", tmp_path / folder / "mask.png", name, name)]

    first = images_digest(samples("here", b"mask"))
    assert images_digest(samples("there", b"mask")) == first
    assert images_digest(samples("there", b"masks")) != first
    assert images_digest(samples("there", b"mask", name="b")) != first
    (tmp_path / "here/mask.png").unlink()
    gone = [Sample(tmp_path / "here/image.png", tmp_path / "here/mask.png", "a", "a")]
    assert images_digest(gone) != first
