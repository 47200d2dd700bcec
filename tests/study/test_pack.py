"""Packed runs: small, complete for reports, finished for further runs, and refused where weights are needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from segmi.cli import main
from segmi.errors import DataError, Diverged, UsageError
from segmi.records import RunFolder, RunKey, find_runs
from segmi.records.pack import pack_runs
from segmi.report import write_report
from segmi.study.run import run_study
from segmi.study.strict_yaml import parse
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated

TAUGHT = """methods.taught={networks: {unet: {architecture: unet, width: 2}, teacher: {architecture: unet, width: 2}},
    frozen: [teacher], weights_from: {teacher: {method: model-1}}, loss: {cross_entropy: {}, distillation: {}},
    reported: unet}"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Path:
    root = tmp_path_factory.mktemp("runs")
    run_study(validated(apply_overrides(parse(tiny_text), ["seeds=[0, 1]"])), root)
    return root


def test_packed_runs_are_small_and_give_the_same_report(runs: Path, tmp_path: Path) -> None:
    packed = pack_runs(runs, tmp_path / "records")
    assert [one.size <= 60_000 for one in packed] == [True, True]
    names = {path.name for path in (tmp_path / "records").rglob("*") if path.is_file()}
    assert not any(name.endswith((".safetensors", ".pt", ".png")) for name in names)
    assert all(run.finished for run in find_runs(tmp_path / "records"))
    whole = write_report(runs / "tiny", tmp_path / "whole", images=False)
    small = write_report(tmp_path / "records/tiny", tmp_path / "small", images=False)
    tables = sorted(path.name for path in whole.glob("*.csv"))
    assert "table1.csv" in tables
    for name in tables:
        assert (small / name).read_bytes() == (whole / name).read_bytes()


def test_packing_again_adds_runs_and_keeps_the_others(runs: Path, tmp_path: Path, tiny_text: str) -> None:
    pack_runs(runs, tmp_path / "records")
    other = tmp_path / "other"
    run_study(validated(apply_overrides(parse(tiny_text), ["seeds=[2]"])), other)
    pack_runs(other, tmp_path / "records")
    assert [run.key.seed for run in find_runs(tmp_path / "records")] == [0, 1, 2]


def test_a_study_continues_from_packed_runs(runs: Path, tmp_path: Path, tiny_text: str) -> None:
    records = tmp_path / "records"
    pack_runs(runs, records)
    before = (RunFolder.of(records, RunKey("tiny", "street-scenes", "model-1", 0)).path / "result.json").read_bytes()
    outcomes = run_study(validated(apply_overrides(parse(tiny_text), ["seeds=[0, 1, 2]"])), records)
    assert [run.key.seed for run in find_runs(records) if run.finished] == [0, 1, 2]
    assert outcomes is not None
    after = RunFolder.of(records, RunKey("tiny", "street-scenes", "model-1", 0))
    assert (after.path / "result.json").read_bytes() == before
    assert not (after.path / "bundles").exists()


def test_weights_of_a_packed_run_are_refused_with_the_command(runs: Path, tmp_path: Path, tiny_text: str) -> None:
    records = tmp_path / "records"
    pack_runs(runs, records)
    study = validated(apply_overrides(parse(tiny_text), [TAUGHT]))
    run_study(study, records)
    failure = RunFolder.of(records, RunKey("tiny", "street-scenes", "taught", 0)).failure()
    assert failure is not None
    assert "is a packed run, which has no weights" in failure["message"]
    assert "--only 'street-scenes/model-1/seed0' --overwrite" in failure["remedy"]
    assert failure["exit_code"] == DataError.exit_code


def test_trials_are_packed_until_their_search_ends(tmp_path: Path, tiny_text: str) -> None:
    study = validated(apply_overrides(parse(tiny_text), ["training.learning_rate={grid: [1e-3, 1e-2]}"]))
    source, records = tmp_path / "runs", tmp_path / "records"
    run_study(study, source)
    cell = Path("tiny/street-scenes/model-1")
    selection = (source / cell / "selection.json").read_bytes()
    (source / cell / "selection.json").unlink()
    assert [run.folder.parent.name for run in pack_runs(source, records)] == [
        "model-1", "model-1+trial0", "model-1+trial1",
    ]  # fmt: skip
    (source / cell / "selection.json").write_bytes(selection)
    assert [run.folder.parent.name for run in pack_runs(source, records)] == ["model-1"]
    assert [run.key.method for run in find_runs(records, trials=True)] == ["model-1"]
    assert run_study(study, records).skipped == ["street-scenes/model-1/seed0"]


def test_a_diverged_run_is_packed_with_its_error(runs: Path, tmp_path: Path) -> None:
    source, records = tmp_path / "runs", tmp_path / "records"
    shutil.copytree(runs / "tiny", source / "tiny")
    lost = [RunFolder.of(source, RunKey("tiny", "street-scenes", "model-1", seed)) for seed in (2, 3)]
    for run in lost:
        run.path.mkdir()
    lost[0].write_failure(Diverged("the loss is NaN at step 3"))
    lost[1].write_failure(MemoryError())
    assert len(pack_runs(source, records)) == 2
    packed = [RunFolder.of(records, run.key) for run in lost]
    assert [run.state() for run in packed] == ["failed", "missing"]
    failure = packed[0].failure() or {}
    assert (failure["type"], failure["message"], failure["traceback"]) == ("Diverged", "the loss is NaN at step 3", "")


def test_the_command_prints_number_and_sizes(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "pack", str(runs / "tiny"), "--output", str(tmp_path / "records")]) == 0
    assert capsys.readouterr().out.startswith(f"2 finished runs in {tmp_path / 'records'}, ")
    assert main(["study", "pack", str(tmp_path / "records"), "--output", str(tmp_path / "records/again")]) == 2
    assert "is inside" in capsys.readouterr().err


def test_without_finished_runs_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "runs/tiny/street-scenes/model-1/seed0").mkdir(parents=True)
    with pytest.raises(UsageError, match="no finished run"):
        pack_runs(tmp_path / "runs", tmp_path / "records")
    assert not (tmp_path / "records").exists()
