"""Untrusted study files: refused before anything starts, with the file, the location and the fix."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Mutation = Callable[[Path], object]


def put(content: bytes | str) -> Mutation:
    return lambda file: file.write_bytes(content if isinstance(content, bytes) else content.encode())


def swap(old: str, new: str) -> Mutation:
    def mutate(file: Path) -> None:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return mutate


def setting(section: str, text: str) -> Mutation:
    """Replace or add a value in the flow mapping of a section."""
    name = text.partition(":")[0]

    def mutate(file: Path) -> None:
        lines = file.read_text().splitlines()
        (number,) = [number for number, line in enumerate(lines) if line.strip().startswith(f"{section}:")]
        head, _, body = lines[number].partition("{")
        parts = [part for part in body.rstrip("}").split(", ") if not part.startswith(f"{name}:")]
        lines[number] = f"{head}{{{', '.join([*parts, text])}}}"
        file.write_text("\n".join(lines) + "\n")

    return mutate


def replaced_by(what: str) -> Mutation:
    def mutate(file: Path) -> None:
        file.unlink()
        if what == "folder":
            file.mkdir()
        elif what == "without end":
            file.symlink_to("/dev/zero")
        elif what == "dangling link":
            file.symlink_to(file.parent / "nowhere")
        elif what == "circle of links":
            file.symlink_to(file.parent / "other")
            (file.parent / "other").symlink_to(file)

    return mutate


def bomb(levels: int = 9) -> str:
    lines = [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join(["l0: &l0 [x, x]", *lines])


CANARY = "!!python/object/apply:os.system ['touch canary']"

CASES: dict[str, tuple[Mutation, int, str]] = {
    # defect: (mutation, exit code, part of the message)
    "no file": (replaced_by("nothing"), 2, "there is no study file"),
    "a folder": (replaced_by("folder"), 2, "cannot be read: Is a directory"),
    "a link that leads nowhere": (replaced_by("dangling link"), 2, "there is no study file"),
    "links in a circle": (replaced_by("circle of links"), 2, "cannot be read: Too many levels of symbolic links"),
    "a file without end": (replaced_by("without end"), 2, "more than 1,000,000 bytes"),
    "a file of 2 MB": (put("a: " + "x" * 2_000_000), 2, "more than 1,000,000 bytes"),
    "an empty file": (put(""), 2, "expected a study with name, datasets and methods"),
    "bytes that are not UTF-8": (put(b"name: \xff\xfe"), 3, "is not UTF-8 text (byte 6)"),
    "a zip": (put(b"PK\x03\x04" + bytes(200)), 2, "is not valid YAML"),
    "control characters": (put("name: \x07\x00"), 2, "is not valid YAML"),
    "a tag that runs a command": (swap("name: own", f"name: {CANARY}"), 2, "only plain values are read"),
    "a tag in a flow": (setting("training", "steps: !!python/name:os.system x"), 2, "only plain values are read"),
    "an alias bomb": (put(bomb()), 2, "the anchor &l0"),
    "nested five thousand deep": (put("[" * 5000), 2, "levels of nesting"),
    "two documents": (swap("name: own", "name: own\n---\nname: other"), 2, "a second document"),
    "an equal key": (swap("samples: 1", "samples: 1\nsamples: 2"), 2, "duplicate key 'samples' (first on line 6)"),
    "an unknown key": (swap("samples: 1", "sampels: 1"), 2, "did you mean 'samples'?"),
    "a key that is a number": (swap("samples: 1", "1: 1"), 2, "the key 1 is not text"),
    "a list instead of a study": (put("[a, b]"), 2, "expected a study"),
    "a name that leads out": (swap("name: own", "name: ../../own"), 2, "expected a name of letters"),
    "an absolute name": (swap("name: own", "name: /tmp/own"), 2, "expected a name of letters"),
    "a hidden name": (swap("name: own", "name: .own"), 2, "expected a name of letters"),
    "a name of 5000 letters": (swap("name: own", f"name: {'o' * 5000}"), 2, "expected a name of letters"),
    "a dataset that leads out": (swap("  cells:", "  ../cells:"), 2, "expected a name of letters"),
    "a method that leads out": (swap("  plain:", "  ../../plain:"), 2, "expected a name of letters"),
    "a network that leads out": (swap("      unet:", "      ../unet:"), 2, "expected a name of letters"),
    "a method of NUL": (swap("  plain:", '  "pl\\0ain":'), 2, "expected a name of letters"),
    "a root in the file": (setting("cells", "root: /etc"), 2, "names no folders of one machine"),
    "a subfolder that leads out": (setting("cells", "subfolder: ../.."), 2, "expected a path below the root"),
    "a group that is not a regular expression": (setting("cells", 'group: "("'), 2, "expected a regular expression"),
    "a share that is NaN": (setting("cells", "val: .nan"), 2, "val"),
    "three hundred classes": (swap("[background, cell]", f"[{', '.join(f'c{i}' for i in range(300))}]"), 3,
                                   "expected 1 to 255 classes"),
    "a rate that is NaN": (setting("training", "learning_rate: .nan"), 2, "training.learning_rate"),
    "an infinite rate": (setting("training", "learning_rate: .inf"), 2, "training.learning_rate"),
    "a rate below zero": (setting("training", "learning_rate: -1"), 2, "expected more than 0, got -1"),
    "a rate as text": (setting("training", "learning_rate: fast"), 2, "training.learning_rate"),
    "a flip that is NaN": (setting("processing", "flip: .nan"), 2, "processing.flip"),
    "a scale that is NaN": (setting("processing", "scale: [.nan, 1.0]"), 2, "processing.scale"),
    "an infinite scale": (setting("processing", "scale: [1.0, .inf]"), 2, "processing.scale"),
    "a weight that is NaN": (swap("cross_entropy: {}", "cross_entropy: {weight: .nan}"), 2, "weight"),
    "an absurd resize": (setting("processing", "resize: 1000000000"), 2, "megapixels"),
    "an absurd crop": (swap("{resize: 36, crop: 32}", "{resize: null, crop: 1000000000}"), 2, "megapixels"),
    "an absurd batch": (setting("training", "batch_size: 1000000000000"), 2, "do not fill a batch"),
    "absurdly many readers": (setting("training", "workers: 100000"), 2, "training.workers"),
    "readers below zero": (setting("training", "workers: -1"), 2, "training.workers"),
    "an absurd width": (setting("unet", "width: 1000000000"), 2, "more than the"),
    "a width beyond counting": (setting("unet", f"width: {'9' * 30}"), 2, "methods.plain.networks.unet"),
    "a width as text": (setting("unet", "width: wide"), 2, "methods.plain.networks.unet.width"),
    "an architecture from elsewhere": (setting("unet", "architecture: os.system"), 2, "unknown architecture"),
    "weights from a file": (setting("unet", "encoder_weights: /etc/passwd"), 2, "encoder_weights"),
    "a loss from elsewhere": (swap("cross_entropy", "builtins.eval"), 2, "unknown loss"),
    "an optimizer from elsewhere": (setting("training", "optimizer: os.system"), 2, "training.optimizer"),
    "a schedule of the wrong kind": (setting("training", "schedule: Optimizer"), 2, "training.schedule"),
    "a seed below zero": (swap("samples: 1", "seeds: [-1]"), 2, "seeds"),
    "a seed of 40 digits": (swap("samples: 1", f"seeds: [{'9' * 40}]"), 2, "seeds"),
    "a seed twice": (swap("samples: 1", "seeds: [1, 1]"), 2, "duplicate seeds 1"),
    "no seeds": (swap("samples: 1", "seeds: []"), 2, "at least one entry"),
    "a million samples": (swap("samples: 1", "samples: 1000000"), 2, "samples"),
    "generated images of absurd size": (
        swap("cells: {type: folder, classes: [background, cell], val: 0.34}",
             "street-scenes: {height: 1000000, width: 1000000}"), 2, "megapixels"),
    "absurdly many generated images": (
        swap("cells: {type: folder, classes: [background, cell], val: 0.34}",
             "street-scenes: {train: 1000000000000}"), 2, "at most 1,000,000 images"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_invalid_study_is_refused_before_anything_starts(case, workspace, refused, monkeypatch):
    monkeypatch.chdir(workspace.root)
    mutate, code, message = CASES[case]
    mutate(workspace.study)
    shutil.rmtree(workspace.runs)
    before = sorted(str(path) for path in workspace.root.rglob("*"))
    err = refused(workspace.run_command, code, message, workspace.study.name)
    assert len(err) < 20_000
    assert sorted(str(path) for path in workspace.root.rglob("*")) == before
    assert not Path("canary").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.steps=!!python/object/apply:os.system ['touch canary']", "only plain values are read"),
        ("training.steps=[", "is not valid YAML"),
        ("training.learning_rate=.nan", "training.learning_rate"),
        ("name=../../own", "expected a name of letters"),
        ("trainig.steps=5", "did you mean"),
        ("training.steps.deep=5", "training.steps"),
        ("__class__=5", "__class__"),
    ],
)
def test_overrides_are_checked_too(override, message, workspace, refused, monkeypatch):
    monkeypatch.chdir(workspace.root)
    shutil.rmtree(workspace.runs)
    refused([*workspace.run_command, override], 2, message)
    assert not workspace.runs.exists()
    assert not Path("canary").exists()


def test_an_unreadable_study(workspace, refused):
    workspace.study.chmod(0)
    if os.access(workspace.study, os.R_OK):
        pytest.skip("root may read everything")
    refused(workspace.run_command, 2, "cannot be read: Permission denied", str(workspace.study))
