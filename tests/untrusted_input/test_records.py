"""Damaged and malicious records, checkpoints and reports: reported and never used."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from segmi.cli import main, study
from segmi.errors import DataError
from segmi.records import evaluation_counts, read_confusion

Mutation = Callable[[Path], object]


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the report, which takes longer than the rest of these tests."""
    monkeypatch.setattr(study, "print_report", lambda *_: None)


def put(content: bytes | str) -> Mutation:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def fields(**changes: Any) -> Mutation:
    def mutate(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return mutate


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


DAMAGED: dict[str, Mutation] = {
    "empty": put(""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "no UTF-8": put(b"\xff\xfe\x00"),
    "a list": put("[]"),
    "nested deeply": put("[" * 100_000),
    "17 MB": put('{"schema_version": 1, "x": "' + "x" * 17_000_000 + '"}'),
    "without a version": put("{}"),
    "of a version that is true": fields(schema_version=True),
    "of a later version": fields(schema_version=99),
    "a folder": folder_instead,
    "a circle of links": circle,
}

WRONG_RESULTS: dict[str, Mutation] = {
    "networks that are numbers": fields(networks={"unet": 5}),
    "networks without scores": fields(networks={"unet": {}}),
    "scores that are a list": fields(networks={"unet": {"scores": []}}),
    "scores that are words": fields(networks={"unet": {"scores": {"full": {"mIoU": "<script>", "IoU": "much"}}}}),
    "artifacts that lead out": fields(artifacts={"../../../../../../../../etc/passwd": 1}),
    "artifacts of another size": fields(artifacts={"confusion/unet.full.npz": 1}),
    "artifacts that are a list": fields(artifacts=["a"]),
    "a dataset that is a word": fields(dataset="cells"),
    "a reported network that is not there": fields(reported_network="evil"),
    "a training that is a number": fields(training=5),
}


@pytest.mark.parametrize("case", [*DAMAGED, *WRONG_RESULTS])
def test_a_damaged_result_is_an_unfinished_run(case, workspace, capfd):
    path = workspace.run / "result.json"
    (DAMAGED | WRONG_RESULTS)[case](path)
    assert main(["study", "status", str(workspace.study), "--runs", str(workspace.runs), "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)
    assert row["state"] == "interrupted"


@pytest.mark.parametrize("case", ["cut short", "a folder", "scores that are words"])
def test_a_run_with_a_damaged_result_is_completed(case, workspace, refused, no_report):
    path = workspace.run / "result.json"
    before = json.loads(path.read_text())
    (DAMAGED | WRONG_RESULTS)[case](path)
    refused(workspace.run_command, 0)
    after = json.loads(path.read_text())
    assert after["networks"] == before["networks"]
    assert after["artifacts"] == before["artifacts"]


PLANS: dict[str, Mutation] = {
    **DAMAGED,
    "datasets that are a list": fields(datasets=["cells"]),
    "seeds that are words": fields(seeds=["zero"]),
    "a method that leads out": fields(methods={"../../../etc": "x"}),
}


@pytest.mark.parametrize("case", PLANS)
def test_a_damaged_plan_is_named(case, workspace, refused):
    path = workspace.runs / "own/plan.json"
    PLANS[case](path)
    refused(["report", str(workspace.runs / "own")], 3, str(path), "Fix:")


def test_the_next_run_rewrites_the_plan(workspace, refused, no_report):
    path = workspace.runs / "own/plan.json"
    before = json.loads(path.read_text())
    path.write_text("[")
    refused(workspace.run_command, 0)
    assert json.loads(path.read_text())["methods"] == before["methods"]
    path.unlink()
    path.mkdir()  # a folder is never removed to write a file
    refused(workspace.run_command, 5, f"cannot write {path}: Is a directory", "move away the file or folder")


class Canary:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {os.environ['SEGMI_CANARY']}",)


def sealed(checkpoint: Path) -> None:
    """Update the checksums to the current content, as an attacker with write access can."""
    manifest = json.loads((checkpoint / "checkpoint.json").read_text())
    for name in manifest["sha256"]:
        manifest["sha256"][name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    (checkpoint / "checkpoint.json").write_text(json.dumps(manifest))


def state(change: Callable[[dict[str, Any]], Any]) -> Mutation:
    def mutate(checkpoint: Path) -> None:
        content = torch.load(checkpoint / "state.pt", weights_only=True)
        torch.save(change(content), checkpoint / "state.pt")
        sealed(checkpoint)

    return mutate


def manifest(**changes: Any) -> Mutation:
    return lambda checkpoint: fields(**changes)(checkpoint / "checkpoint.json")


def inside(name: str, mutation: Mutation, *, seal: bool = False) -> Mutation:
    def mutate(checkpoint: Path) -> None:
        mutation(checkpoint / name)
        if seal:
            sealed(checkpoint)

    return mutate


def pickled(path: Path) -> None:
    torch.save({"x": Canary()}, path, pickle_module=pickle)


CHECKPOINTS: dict[str, Mutation] = {
    **{f"a manifest {case}": inside("checkpoint.json", mutation) for case, mutation in DAMAGED.items()},
    "a manifest without checksums": manifest(sha256={}),
    "a manifest that reads elsewhere": manifest(sha256={"../../../config.yaml": "0" * 64}),
    "a manifest of a later step": manifest(step=10**9),
    "a manifest of a step in words": manifest(step="two"),
    "a pickled state": inside("state.pt", pickled, seal=True),
    "a plain pickle as state": inside("state.pt", lambda path: path.write_bytes(pickle.dumps(Canary())), seal=True),
    "an empty state": inside("state.pt", put(b""), seal=True),
    "a state that is a list": state(lambda content: [1, 2]),
    "a state without an optimizer": state(lambda content: {k: v for k, v in content.items() if k != "optimizer"}),
    "a flipped byte": inside("networks.safetensors", lambda path: path.write_bytes(
        path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))),
    "no weights": inside("networks.safetensors", Path.unlink),
}  # fmt: skip


OFTEN = ("a manifest cut short", "a manifest nested deeply", "a manifest without checksums", "a pickled state",
         "a flipped byte")  # fmt: skip


@pytest.mark.parametrize(
    "case", [case if case in OFTEN else pytest.param(case, marks=pytest.mark.slow) for case in CHECKPOINTS]
)
def test_a_damaged_checkpoint_is_skipped_and_executes_nothing(
    case, workspace, tmp_path, monkeypatch, refused, caplog, no_report
):
    monkeypatch.setenv("SEGMI_CANARY", str(tmp_path / "canary"))
    weights = (workspace.bundle / "model.safetensors").read_bytes()
    (workspace.run / "result.json").unlink()
    newest = max(workspace.checkpoints.glob("step-*"))
    CHECKPOINTS[case](newest)
    refused(workspace.run_command, 0)
    assert f"checkpoint {newest}" in caplog.text
    assert f"is damaged; continuing from {newest.with_name('step-00000001')} instead" in caplog.text
    assert (workspace.bundle / "model.safetensors").read_bytes() == weights
    assert not (tmp_path / "canary").exists()


STRANGE: dict[str, Mutation] = {
    "a history of words": state(lambda content: {**content, "history": "long"}),
    "another optimizer": state(lambda content: {**content, "optimizer": {"state": {}, "param_groups": []}}),
    "weights of another network": inside("networks.safetensors", put(save({"x": torch.zeros(1)})), seal=True),
    "an unknown precision": state(lambda content: {**content, "precision": {"dtype": "fp7"}}),
}  # fmt: skip


@pytest.mark.parametrize("case", STRANGE)
def test_a_checkpoint_of_another_run_is_a_failure_with_a_reason(case, workspace, refused, no_report):
    (workspace.run / "result.json").unlink()
    for checkpoint in workspace.checkpoints.glob("step-*"):
        STRANGE[case](checkpoint)
    refused(workspace.run_command, 4, "does not fit this run")
    assert "--overwrite" in json.loads((workspace.run / "failure.json").read_text())["remedy"]


def test_only_damaged_checkpoints_are_a_failure_without_restart(workspace, refused, no_report):
    (workspace.run / "result.json").unlink()
    for checkpoint in workspace.checkpoints.glob("step-*"):
        (checkpoint / "state.pt").write_bytes(b"")
    refused(workspace.run_command, 4, "every checkpoint is damaged")
    assert "--overwrite" in json.loads((workspace.run / "failure.json").read_text())["remedy"]


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "web page"])
def test_damaged_selected_weights_are_named(harm, workspace, refused, no_report):
    (workspace.run / "result.json").unlink()
    best = workspace.checkpoints / "best.safetensors"
    content = bytearray(best.read_bytes())
    content[-3] ^= 1
    best.unlink()
    if harm != "remove":
        best.write_bytes({"flip": content, "cut": content[: len(content) // 2], "web page": b"<html>" * 9}[harm])
    refused(workspace.run_command, 4, str(best))
    assert "--overwrite" in json.loads((workspace.run / "failure.json").read_text())["remedy"]


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def absurd_header() -> bytes:
    """A compressed array whose header claims 10¹⁵ numbers."""
    buffer = io.BytesIO()
    header = b"{'descr': '<u4', 'fortran_order': False, 'shape': (1000000000000000,), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("counts.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        for name in ("names", "groups"):
            archive.writestr(f"{name}.npy", b"")
        version = io.BytesIO()
        np.save(version, np.int64(1))
        archive.writestr("schema_version.npy", version.getvalue())
    return buffer.getvalue()


NPZ: dict[str, Mutation] = {
    "empty": put(b""),
    "a web page": put(b"<html>" * 99),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "pickled": lambda path: path.write_bytes(pickle.dumps(Canary())),
    "an array of objects": lambda path: path.write_bytes(npz(counts=np.array([Canary()], dtype=object))),
    "of an absurd size": put(absurd_header()),
    "counts below zero": put(npz(schema_version=np.int64(1), counts=np.full((2, 2, 2), -1), names=np.array(["a", "b"]),
                                 groups=np.array(["a", "b"]))),
    "counts of another form": put(npz(schema_version=np.int64(1), counts=np.zeros((2, 3)), names=np.array(["a"]),
                                      groups=np.array(["a"]))),
    "counts of NaN": put(npz(schema_version=np.int64(1), counts=np.full((2, 2, 2), np.nan), names=np.array(["a", "b"]),
                             groups=np.array(["a", "b"]))),
}  # fmt: skip


def test_archives_that_unpack_to_large_sizes_are_refused(workspace, monkeypatch):
    monkeypatch.setattr(evaluation_counts, "LARGEST", 10)
    with pytest.raises(DataError, match=r"unet.full.npz is damaged: it unpacks to [\d,]+ bytes, more than 10"):
        read_confusion(workspace.run / "confusion/unet.full.npz")


@pytest.mark.parametrize("case", NPZ)
def test_damaged_counts_are_refused(case, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGMI_CANARY", str(tmp_path / "canary"))
    path = workspace.run / "confusion/unet.full.npz"
    NPZ[case](path)
    with pytest.raises(DataError) as caught:
        read_confusion(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert not (tmp_path / "canary").exists()


OTHERS: dict[str, tuple[str, Mutation]] = {
    "a configuration that is a bomb": ("config.yaml", put("a: &a [x, x]\nb: [*a, *a]\n")),
    "a configuration that runs": ("config.yaml", put("a: !!python/object/apply:os.system ['touch canary']\n")),
    "a configuration in binary": ("config.yaml", put(b"\xff\xfe")),
}


@pytest.mark.parametrize(
    "case",
    [
        "a configuration that runs",
        *(pytest.param(case, marks=pytest.mark.slow) for case in OTHERS if "runs" not in case),
    ],
)
def test_a_damaged_configuration_is_named(case, workspace, refused, monkeypatch):
    monkeypatch.chdir(workspace.root)
    name, mutation = OTHERS[case]
    mutation(workspace.run / name)
    refused(workspace.run_command, 3 if "binary" in case else 2, str(workspace.run / name), "Fix:")
    refused(["report", str(workspace.runs / "own")], 0)  # a report works without it
    refused([*workspace.run_command, "--overwrite"], 0)
    assert not Path("canary").exists()


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"step\n1e999\n", b"step\nnan\n", b"step,x\n" + b"x" * 200_000, b"\0" * 99]
)
def test_damaged_metrics_do_not_affect_the_status(content, workspace, capfd):
    (workspace.run / "metrics.csv").write_bytes(content)
    assert main(["study", "status", str(workspace.study), "--runs", str(workspace.runs), "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)
    assert row["state"] == "finished"
    assert row["step"] is None
    assert main(["report", str(workspace.runs / "own"), "--quiet"]) in (0, 3)
    assert "unexpected" not in capfd.readouterr().err


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n" + b"x" * 99])
def test_damaged_samples_are_marked_unreadable(content, workspace, refused):
    path = next((workspace.run / "samples").glob("*.image.png"))
    result = json.loads((workspace.run / "result.json").read_text())
    path.write_bytes(content)
    result["artifacts"][f"samples/{path.name}"] = len(content)
    (workspace.run / "result.json").write_text(json.dumps(result))
    refused(["report", str(workspace.runs / "own")], 0)
    assert "unreadable" in (workspace.runs / "own/report/index.html").read_text()


@pytest.mark.parametrize("holder", [b"", b"\xff\xfe", b"[]", b'{"pid": "x"}', b'{"pid": -1}', b"[" * 5000])
def test_an_invalid_lock_file_does_not_block(holder, workspace, refused, no_report):
    (workspace.run / "run.lock").write_bytes(holder)
    refused(workspace.run_command, 0)
    refused(["study", "status", str(workspace.study), "--runs", str(workspace.runs)], 0)


def test_a_folder_as_lock(workspace, refused):
    shutil.rmtree(workspace.run)
    (workspace.run / "run.lock").mkdir(parents=True)
    refused(workspace.run_command, 5, str(workspace.run / "run.lock"), "Fix:")
