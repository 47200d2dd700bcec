"""Untrusted bundles are loaded as written, or rejected with their name."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import segmi
from segmi.errors import DataError

CARD, WEIGHTS = "model.json", "model.safetensors"

Mutation = Callable[[Path], object]


def card(**changes: Any) -> Mutation:
    """Change fields of the card; ``specification__width`` is a nested field."""

    def mutate(bundle: Path) -> None:
        content = json.loads((bundle / CARD).read_text())
        for name, value in changes.items():
            *path, last = name.split("__")
            target = content
            for key in path:
                target = target[key]
            target[last] = value
        (bundle / CARD).write_text(json.dumps(content))

    return mutate


def text(content: bytes | str) -> Mutation:
    return lambda bundle: (bundle / CARD).write_bytes(content if isinstance(content, bytes) else content.encode())


def weights(change: Callable[[bytes], bytes], *, sealed: bool = True) -> Mutation:
    """Change the bytes of the weights; ``sealed`` also updates the checksum."""

    def mutate(bundle: Path) -> None:
        data = change((bundle / WEIGHTS).read_bytes())
        (bundle / WEIGHTS).write_bytes(data)
        if sealed:
            card(sha256=hashlib.sha256(data).hexdigest())(bundle)

    return mutate


def arrays(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Mutation:
    """Change the arrays in the weights, and the checksum."""

    def mutate(bundle: Path) -> None:
        save_file(change(load_file(bundle / WEIGHTS)), bundle / WEIGHTS)
        weights(lambda data: data)(bundle)

    return mutate


class Canary:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {os.environ['SEGMI_CANARY']}",)


def pickled(name: str) -> Mutation:
    def mutate(bundle: Path) -> None:
        (bundle / name).write_bytes(pickle.dumps(Canary()))
        if name != WEIGHTS:
            (bundle / WEIGHTS).unlink()
        else:
            weights(lambda data: data)(bundle)

    return mutate


def replaced_by(what: str, name: str = CARD) -> Mutation:
    """Replace a file with a folder, a dangling or circular link, or nothing."""

    def mutate(bundle: Path) -> None:
        path = bundle / name
        path.unlink()
        if what == "folder":
            path.mkdir()
        elif what == "dangling link":
            path.symlink_to(bundle / "nowhere")
        elif what == "circular link":
            path.symlink_to(bundle / "other")
            (bundle / "other").symlink_to(path)

    return mutate


FIX = "Fix: "
HUGE = 10**9

CASES: dict[str, tuple[Mutation, str]] = {
    "no description": (replaced_by("nothing"), "missing"),
    "no weights": (replaced_by("nothing", WEIGHTS), "missing"),
    "a folder as description": (replaced_by("folder"), CARD),
    "a folder as weights": (replaced_by("folder", WEIGHTS), WEIGHTS),
    "a description that is a dangling link": (replaced_by("dangling link"), CARD),
    "a description that is a circular link": (replaced_by("circular link"), CARD),
    "weights that are a circular link": (replaced_by("circular link", WEIGHTS), WEIGHTS),
    "an empty description": (text(""), "is not JSON"),
    "a description that is not UTF-8": (text(b"\xff\xfe{}"), "is not JSON"),
    "half a description": (text('{"schema_version": 2, "spec'), "is not JSON"),
    "a list": (text("[1, 2]"), "schema_version"),
    "a description nested a hundred thousand deep": (text("[" * 100_000), "is not JSON"),
    "a number of five thousand digits": (text('{"schema_version": ' + "9" * 5000 + "}"), "is not JSON"),
    "a description of 20 MB": (text('{"schema_version": 2, "x": "' + "x" * 20_000_000 + '"}'), "more than 16,777"),
    "a newer schema": (card(schema_version=999), "install a newer segmi"),
    "a schema that is true": (card(schema_version=True), "schema_version"),
    "an unknown architecture": (card(specification__architecture="os.system"), "os.system"),
    "an unknown option": (card(specification__evil="x"), "evil"),
    "an option of another type": (card(specification__width="two"), "cannot build"),
    "a network of absurd width": (card(specification__width=HUGE), "do not fit"),
    "a network wider than its weights": (card(specification__width=4096), "do not fit"),
    "no classes": (card(classes=[]), "classes"),
    "a hundred thousand classes": (card(classes=["x"] * 100_000), "classes"),
    "classes that are not text": (card(classes=[1, None]), "classes"),
    "a palette of strings": (card(palette=["red"] * 256), "palette"),
    "a palette of NaN": (card(palette=[[float("nan")] * 3] * 256), "palette"),
    "preprocessing to an absurd size": (card(preprocessing__resize=HUGE), "resize"),
    "preprocessing to no size": (card(preprocessing__resize=-5), "resize"),
    "preprocessing to a word": (card(preprocessing__resize="big"), "resize"),
    "preprocessing in an unknown mode": (card(preprocessing__resize_mode="melt"), "resize_mode"),
    "a checksum of another file": (card(sha256="0" * 64), "SHA-256 differs"),
    "statistics that are NaN": (card(specification__normalize={"mean": [float("nan")] * 3, "std": [1.0] * 3}), "norm"),
    "statistics without spread": (card(specification__normalize={"mean": [0.0] * 3, "std": [0.0] * 3}), "norm"),
    "a feature that is not there": (card(specification__features=["__class__"]), "__class__"),
    "cut weights": (weights(lambda data: data[: len(data) // 2]), "damaged"),
    "empty weights": (weights(lambda data: b""), "damaged"),
    "a flipped byte": (weights(lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], sealed=False), "SHA-256"),
    "a header longer than the file": (weights(lambda data: struct.pack("<Q", 2**60) + data[8:]), "damaged"),
    "weights that are a web page": (weights(lambda data: b"<!DOCTYPE html><html>" * 99), "damaged"),
    "pickled weights under the right name": (pickled(WEIGHTS), "damaged"),
    "pickled weights under another name": (pickled("model.pt"), "pickled"),
    "an array of NaN": (arrays(lambda state: {k: v * float("nan") if v.dtype.is_floating_point else v
                                              for k, v in state.items()}), "not finite"),
    "an array too few": (arrays(lambda state: {k: v for k, v in state.items() if "head.bias" not in k}), "do not fit"),
    "an array too many": (arrays(lambda state: {**state, "evil": torch.zeros(1)}), "do not fit"),
    "an array of another shape": (arrays(lambda state: {k: v[..., :1].clone() if v.ndim else v
                                                        for k, v in state.items()}), "do not fit"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_invalid_bundle_is_rejected(case, workspace, refused, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMI_CANARY", str(tmp_path / "canary"))
    mutate, message = CASES[case]
    mutate(workspace.bundle)
    out = tmp_path / "masks"
    code = 3 if (workspace.bundle / CARD).exists() else 2
    printed = message if code == 3 else "is not a bundle"
    refused(["predict", str(workspace.bundle), str(workspace.photo), "--output", str(out)], code, printed, FIX)
    with pytest.raises(DataError) as caught:
        segmi.load(workspace.bundle)
    assert message in str(caught.value)
    assert caught.value.remedy
    assert not out.exists()
    assert not (tmp_path / "canary").exists()


def test_a_valid_bundle_is_accepted(workspace, refused, tmp_path):
    refused(["predict", str(workspace.bundle), str(workspace.photo), "--output", str(tmp_path / "masks")], 0)
    assert (tmp_path / "masks/0.png").is_file()


def test_checkpoints_of_other_programs_are_rejected(workspace, refused, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMI_CANARY", str(tmp_path / "canary"))
    for name in ("last.ckpt", "model.pt", "weights.pth"):
        (tmp_path / name).write_bytes(pickle.dumps(Canary()))
        with pytest.raises(DataError, match="pickled weights, which can execute any code"):
            segmi.load(tmp_path / name)
        refused(["predict", str(tmp_path / name), str(workspace.photo)], 2, name, "is not a bundle")
    assert not (tmp_path / "canary").exists()


def test_training_cannot_start_from_other_folders(workspace, refused):
    shutil.rmtree(workspace.runs)
    card(sha256="0" * 64)
    refused([*workspace.run_command, "--init-from", str(workspace.data)], 2, "is not a bundle", str(workspace.data))
