"""Table 1 against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from segmi.errors import RunError
from segmi.records import RunFolder, read_plan, write_plan
from segmi.report.table1 import PAPER, table1
from segmi.statistics import SCORES, collect

module = import_module("segmi.report.table1")


def test_means_spreads_and_bold_by_hand(demo_runs: Any) -> None:
    table = table1(collect(demo_runs)[0])
    assert [row.labels for row in table.rows] == [("Street scenes",), ("Object scenes",)]
    assert table.columns == [f"Model {m} {s}" for m in (1, 2, 3) for s in ("IoU", "Acc")]
    # Street scenes, Model 1: mIoU 0.50 and 0.52, sd = 0.02 / √2; Acc 0.80 twice.
    assert [cell.plain() for cell in table.rows[0].cells[:2]] == ["0.5100 ± 0.0141", "0.8000 ± 0.0000"]
    assert [cell.plain() for cell in table.rows[1].cells[4:]] == ["0.6300 ± 0.0141", "0.8200 ± 0.0000"]
    assert [[cell.bold for cell in row.cells] for row in table.rows] == [[False] * 4 + [True] * 2] * 2
    assert table.notes[-1] == "12/12 runs finished."


def test_notes_describe_each_model(demo_runs: Any) -> None:
    notes = table1(collect(demo_runs)[0]).notes
    assert "Mean ± standard deviation over 2 seeds" in notes[0]
    assert "Evaluation protocol: full" in notes[0]
    assert notes[3] == (
        "Model 3: unet (width 16, 1.94 M parameters, reported) and deeplabv3_resnet50 (39.63 M parameters); "
        "cross_entropy + mutual_learning (temperature 2); 400 steps of 8 images, Adam at learning rate 0.001, fp32."
    )


def test_one_seed_has_no_spread(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    table = table1(collect(made.all())[0])
    assert table.rows[0].cells[0].plain() == "0.5000"


def test_missing_failed_and_partial_cells(fabricate: Callable[..., Any]) -> None:
    made = fabricate()
    made.plan()
    made.run("street-scenes", "model-1", 0)
    made.run("street-scenes", "model-2", 0)
    made.run("street-scenes", "model-2", 1)
    made.fail("street-scenes", "model-3", 0, RunError("no"))
    RunFolder(made.root / "demo" / "object-scenes" / "model-2" / "seed1").path.mkdir(parents=True)
    table = table1(collect(made.root)[0])
    assert [cell.plain() for cell in table.rows[0].cells] == [
        "0.5000 (1 of 2)", "0.8000 (1 of 2)", "0.5200 ± 0.0141", "0.8100 ± 0.0000", "failed", "failed",
    ]  # fmt: skip
    assert [cell.plain() for cell in table.rows[1].cells[::2]] == ["missing", "unfinished", "missing"]
    assert table.notes[-1].startswith("3/12 runs finished.")
    assert "Failed: street-scenes/model-3/seed0." in table.notes[-1]
    assert "object-scenes/model-1/seed0" in table.notes[-1]


def test_a_run_whose_result_is_damaged_is_not_counted(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    made.all()
    (made.root / "demo" / "object-scenes" / "model-3" / "seed0" / "result.json").write_text('{"schema_version"')
    table = table1(collect(made.root)[0])
    assert table.rows[1].cells[4].plain() == "unfinished"
    assert table.rows[1].cells[2].bold  # the best of those that remain
    assert "5/6 runs finished" in table.notes[-1]


def test_published_numbers_of_the_paper(fabricate: Callable[..., Any]) -> None:
    table = table1(collect(fabricate("paper", seeds=(0,)).all())[0])
    published = [row for row in table.rows if row.muted]
    assert [row.labels[0] for row in published] == ["Cityscapes, as published", "PASCAL VOC 2012, as published"]
    assert [cell.number for cell in published[1].cells] == ["0.1965", "0.7367", "0.0607", "0.6893", "0.2203", "0.7539"]
    assert [cell.bold for cell in published[0].cells] == [True, True, False, False, False, False]
    assert [cell.bold for cell in published[1].cells] == [False, False, False, False, True, True]
    assert sum(len(methods) for methods in PAPER.values()) == 6


def test_other_published_numbers(fabricate: Callable[..., Any]) -> None:
    study = collect(fabricate(seeds=(0,)).all())[0]
    assert len(table1(study).rows) == 2
    rows = table1(study, reference={"object-scenes": {"model-2": {"mIoU": 0.5, "pixel_accuracy": 0.9}}}).rows
    assert [cell.plain() for cell in rows[2].cells] == ["–", "–", "0.5000", "0.9000", "–", "–"]


def test_a_third_column_needs_one_entry_in_the_list_of_scores(
    fabricate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [replace(score, table1="mAcc") if score.name == "mean_accuracy" else score for score in SCORES]
    monkeypatch.setattr(module, "SCORES", scores)
    study = collect(fabricate("paper", seeds=(0,)).all())[0]
    table = table1(study)
    assert table.columns[:3] == ["Model 1 IoU", "Model 1 Acc", "Model 1 mAcc"]
    ours, published = table.rows[:2]
    assert [cell.plain() for cell in ours.cells[:3]] == ["0.5000", "0.8000", "0.5500"]
    assert [cell.plain() for cell in published.cells[:3]] == ["0.5931", "0.9388", "–"]
    assert "mAcc is the mean over classes of the recall" in table.notes[1]


def test_notes_list_only_options_that_differ_from_their_defaults(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    made.all()
    plan = read_plan(made.root / "demo")
    assert plan is not None
    defaults = {"rmi_loss": {"radius": 3}, "mutual_learning": {"temperature": 1}}
    write_plan(made.root / "demo", replace(plan, loss_defaults=defaults))
    notes = table1(collect(made.root)[0]).notes
    assert "; rmi_loss; 400 steps" in notes[2]
    assert "cross_entropy + mutual_learning (temperature 2);" in notes[3]


@pytest.mark.parametrize(("accuracy", "bold"), [(0.82, [True, True]), (0.8201, [False, True])])
def test_ties_are_both_bold(fabricate: Callable[..., Any], accuracy: float, bold: list[bool]) -> None:
    made = fabricate(seeds=(0,))
    made.all()
    for method, value in (("model-2", 0.82), ("model-3", accuracy)):
        run = RunFolder(made.root / "demo" / "street-scenes" / method / "seed0")
        result = run.result()
        assert result is not None
        result["networks"]["unet"]["scores"]["full"]["pixel_accuracy"] = value
        run.write_result(result)
    cells = table1(collect(made.root)[0]).rows[0].cells
    assert [cells[3].bold, cells[5].bold] == bold


def test_many_models_are_rows(fabricate: Callable[..., Any]) -> None:
    made = fabricate("paper", seeds=(0,))
    plain = table1(collect(made.all())[0])
    made.methods |= {f"further-{i}": f"Further {i}" for i in range(4)}
    made.plan()
    table = table1(collect(made.root)[0])
    assert [row.labels[0] for row in table.rows] == list(made.methods.values())
    assert [title for title, _ in table.groups] == [
        "Cityscapes", "Cityscapes, as published", "PASCAL VOC 2012", "PASCAL VOC 2012, as published",
    ]  # fmt: skip
    for place, row in enumerate(plain.rows):  # the same cells, turned
        turned = [cell for line in table.rows[:3] for cell in line.cells[2 * place : 2 * place + 2]]
        assert turned == list(row.cells)
    assert [cell.plain() for cell in table.rows[3].cells] == ["missing", "missing", "–", "–"] * 2


def test_the_source_of_published_numbers_is_named(fabricate: Callable[..., Any]) -> None:
    made = fabricate("paper", seeds=(0,))
    assert "Table 1 of Gonçalves" in table1(collect(made.all())[0]).notes[0]
    made.methods = {"other": "Other"}
    made.plan()
    table = table1(collect(made.root)[0])
    assert [row.muted for row in table.rows] == [False, False]
    assert "Gonçalves" not in "".join(table.notes)


def test_only_some_missing_runs_are_named(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=tuple(range(4)))
    made.plan()
    note = table1(collect(made.root)[0]).notes[-1]
    assert note.count("/seed") == 12
    assert note.endswith("/seed3 and 12 more.")
