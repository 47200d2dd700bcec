"""Code and images that a run was begun with: the same, or the run does not go on unasked."""

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
    """Ends a run as a signal would, without its handlers."""


@pytest.fixture
def begun(tiny_text: str, tmp_path: Path) -> Callable[..., Any]:
    """A run that has a checkpoint, whose origin is then rewritten; a function that goes on with it."""
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


def test_other_images_and_another_version_are_refused_before_anything_starts(
    begun: Callable[..., Any], tmp_path: Path
) -> None:
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


def test_another_commit_is_told_and_goes_on(begun: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        outcome = begun({"commit": "0123abc"})
    assert "commit was 0123abc, is now" in caplog.text
    outcome.raise_if_incomplete()


def test_what_is_begun_anew_may_differ(begun: Callable[..., Any], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / RUN / "checkpoints")
    begun({"segmi": "0.0.1"}).raise_if_incomplete()
    begun({"segmi": "0.0.1"}).raise_if_incomplete()  # finished runs stay, whatever they were begun with
    begun({"segmi": "0.0.1"}, overwrite=True).raise_if_incomplete()


def test_images_are_told_by_names_and_sizes_wherever_they_lie(tmp_path: Path) -> None:
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
