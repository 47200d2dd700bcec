from __future__ import annotations

import pytest
import torch

from segmi.errors import RunError
from segmi.training.checkpoints import Checkpoints


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(step, {"w": torch.full((3,), float(step))}, {"step": step, "optimizer": {"lr": 0.1}})


def test_newest_is_returned_and_two_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.newest() is None
    for step in (10, 20, 30):
        save(checkpoints, step)
    checkpoint = checkpoints.newest()
    assert checkpoint.step == 30
    assert checkpoint.weights["w"].tolist() == [30, 30, 30]
    assert checkpoint.state["optimizer"] == {"lr": 0.1}
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000020", "step-00000030"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_damaged_checkpoint_is_skipped(tmp_path, caplog, damage):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    save(checkpoints, 2)
    target = tmp_path / "step-00000002" / ("checkpoint.json" if damage == "manifest" else "networks.safetensors")
    content = bytearray(target.read_bytes())
    if damage == "flip":
        content[-3] ^= 1
        target.write_bytes(content)
    elif damage == "remove":
        target.unlink()
    else:
        target.write_bytes(content[: len(content) // 2])
    assert checkpoints.newest().step == 1
    assert "step-00000002" in caplog.text
    assert "step-00000001" in caplog.text
    save(checkpoints, 2)  # the resumed run writes it again
    assert checkpoints.newest().step == 2


def test_only_damaged_checkpoints_are_an_error(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    (tmp_path / "step-00000001" / "state.pt").write_bytes(b"")
    with pytest.raises(RunError, match="every checkpoint is damaged"):
        checkpoints.newest()


def test_pickled_state_is_refused(tmp_path):
    import hashlib
    import json
    import pickle

    class Canary:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (open, (str(tmp_path / "canary"), "w"))

    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    folder = tmp_path / "step-00000001"
    torch.save({"x": Canary()}, folder / "state.pt", pickle_module=pickle)
    manifest = json.loads((folder / "checkpoint.json").read_text())
    manifest["sha256"]["state.pt"] = hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()
    (folder / "checkpoint.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError):
        checkpoints.newest()
    assert not (tmp_path / "canary").exists()
