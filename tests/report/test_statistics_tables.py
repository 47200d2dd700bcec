"""Tables of the statistical comparison as a reader sees them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from segmi.errors import RunError
from segmi.records import read_plan, write_plan
from segmi.report import write_report
from segmi.report.forest_figure import forest_figure
from segmi.report.statistics_tables import (
    statistics_tables,
    table_class_differences,
    table_interaction,
    table_new_images,
    table_over_datasets,
    table_ranks,
    table_statistics,
)
from segmi.report.summary import summarize_study
from segmi.report.table import Table, csv_text, latex, markdown
from segmi.statistics import collect

JITTER = {0: 0.000, 1: 0.002, 2: 0.001}


@pytest.fixture
def three_seeds(fabricate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Street scenes: Model 2 better by 0.100 to 0.102. Object scenes: the same difference for every seed."""
    made = fabricate(seeds=(0, 1, 2))
    plain = made.miou

    def miou(dataset: int, method: int, seed: int) -> float:
        gain = {1: 0.09 + JITTER[seed], 2: (0.03, -0.04, 0.0)[seed]}.get(method, 0.0) if dataset == 0 else 0.0
        return float(plain(dataset, method, seed) + gain)

    monkeypatch.setattr(made, "miou", miou)
    made.all()
    return made


def by_row(table: Table) -> dict[tuple[str, ...], dict[str, str]]:
    return {
        row.labels: dict(zip(table.columns, (cell.plain() for cell in row.cells), strict=True)) for row in table.rows
    }


def test_the_main_table_by_hand(three_seeds: Any) -> None:
    table = table_statistics(collect(three_seeds.root)[0])
    assert table.title == "Differences in mIoU to Model 1, expected over retraining on these images."
    rows = by_row(table)
    assert list(rows) == [(d, m) for d in ("Street scenes", "Object scenes") for m in ("Model 2", "Model 3")]
    # Differences 0.100, 0.102, 0.101: t = 0.101 / (0.001 / √3) = 174.9, p = 3.3e-5, twice that by Holm.
    assert rows["Street scenes", "Model 2"] == {
        "seeds": "3", "difference": "+0.1010", "95 % interval from": "+0.0985", "95 % interval to": "+0.1035",
        "paired t p": "< 0.001", "paired t Holm": "< 0.001", "sign flip p": "0.250", "sign flip least": "0.250",
        "P(improvement) estimate": "1.00", "P(improvement) from": "1.00", "P(improvement) to": "1.00",
        "effect": "+56.98", "detectable": "0.0072", "equivalent, p": "1.000", "verdict": "better",
    }  # fmt: skip
    third = rows["Street scenes", "Model 3"]
    assert (third["difference"], third["verdict"]) == ("+0.0167", "not distinguishable")
    assert third["95 % interval from"].startswith("−")
    same = rows["Object scenes", "Model 2"]
    assert (same["difference"], same["paired t p"], same["verdict"]) == ("+0.0100", "–", "no test: no spread")
    text = " ".join(table.notes)
    assert "The unit is the seed" in text
    assert "adjusted over the 2 comparisons of this table" in text
    assert "With 3 seeds it is above 0.05, so the test is not conclusive." in text
    assert "at the level 0.05/2 (Holm's first step)" in text


def test_one_seed_has_no_p_value_and_the_reason(fabricate: Callable[..., Any]) -> None:
    table = table_statistics(collect(fabricate(seeds=(0,)).all())[0])
    for row in by_row(table).values():
        assert (row["paired t p"], row["sign flip p"], row["paired t Holm"], row["effect"]) == ("–",) * 4
        assert row["verdict"] == "no test: one seed"
    assert "One seed gives no p value: a single difference has no spread" in table.notes[1]
    assert not any("Holm" in note for note in table.notes)


def test_seeds_that_are_missing_are_named(three_seeds: Any) -> None:
    (three_seeds.root / "demo" / "street-scenes" / "model-2" / "seed1" / "result.json").unlink()
    three_seeds.fail("street-scenes", "model-2", 1, RunError("no"))
    table = table_statistics(collect(three_seeds.root)[0])
    assert by_row(table)["Street scenes", "Model 2"]["seeds"] == "2"
    assert table.notes[-1] == (
        "Only seeds that finished in both methods are compared: street-scenes/model-2 without seed 1 "
        "(model-2 is failed)."
    )


def test_the_study_names_the_baseline(three_seeds: Any) -> None:
    folder = three_seeds.root / "demo"
    plan = read_plan(folder)
    assert plan is not None
    write_plan(folder, replace(plan, baseline="model-2"))
    rows = by_row(table_statistics(collect(three_seeds.root)[0]))
    assert rows["Street scenes", "Model 1"]["verdict"] == "worse"
    assert ("Street scenes", "Model 2") not in rows


def test_formats(three_seeds: Any) -> None:
    table = table_statistics(collect(three_seeds.root)[0])
    assert "| **better** |" in markdown(table)
    assert r"\multicolumn{2}{c}{95 \% interval}" in latex(table, "tab:x")
    assert r"\textbf{better}" in latex(table, "tab:x")
    assert "$-$0." in latex(table, "tab:x")
    rows = list(csv.DictReader(csv_text(table).splitlines()))
    assert float(rows[0]["difference"]) == pytest.approx(0.101)
    assert float(rows[1]["95 % interval from"]) < 0  # a hyphen, which programs read


def test_new_images_of_too_few_groups(demo_runs: Any) -> None:
    table = table_new_images(collect(demo_runs)[0])
    assert {row["verdict"] for row in by_row(table).values()} == {"not possible: one group"}
    assert "of 4 intervals, 0.2 are expected to exclude 0" in table.notes[1]


def test_by_dataset_class_and_rank(three_seeds: Any) -> None:
    study = collect(three_seeds.root)[0]
    table = table_interaction(study, "dataset")
    assert table is not None
    row = by_row(table)[("Model 2",)]
    assert row["difference on Street scenes"] == "+0.1010 ± 0.0010"
    assert (row["equal differences p"], row["verdict"]) == ("< 0.001", "depends on the dataset")
    assert table_interaction(study, "network") is None
    classes = table_class_differences(study, "street-scenes")
    assert classes is not None
    assert "Exploratory" in classes.notes[0]
    assert by_row(classes)[("pole",)] == dict.fromkeys(classes.columns, "–")  # absent
    ranks = table_ranks(study)
    assert ranks is not None
    assert [row["mean rank"] for row in by_row(ranks).values()] == ["3", "1.5", "1.5"]
    assert ranks.notes[0].endswith("Friedman's test needs 3 datasets and 3 methods, got 2 and 3.")


def test_one_method_has_no_comparison_and_stale_tables_are_removed(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0,))
    folder = write_report(made.all())
    assert (folder / "statistics.md").is_file()
    assert "Statistical comparison" in (folder / "index.html").read_text()
    plan = read_plan(made.root / "demo")
    assert plan is not None
    write_plan(made.root / "demo", replace(plan, methods={"model-1": "Model 1"}))
    study = collect(made.root)[0]
    assert statistics_tables(study) == []
    write_report(made.root)
    assert not list(folder.glob("statistics.*")) + list(folder.glob("class_differences_*"))
    assert "Statistical comparison" not in (folder / "index.html").read_text()


def test_three_datasets_have_a_mean(fabricate: Callable[..., Any]) -> None:
    made = fabricate(seeds=(0, 1, 2))
    assert table_over_datasets(collect(made.all())[0]) is None
    made.datasets["third"] = ("Third", made.datasets["object-scenes"][1])
    gains = {0: 0.01, 1: 0.02, 2: 0.03}
    made.miou = lambda d, m, seed: 0.5 + 0.02 * seed + m * (gains[d] + 0.001 * (-1) ** seed)
    study = collect(made.all())[0]
    table = table_over_datasets(study)
    assert table is not None
    # Means 0.02 + (1 - 1 + 1) / 3000: mean 0.0203 of 0.0103, 0.0203, 0.0303; t = 0.0203 / (0.01 / √3) = 3.52.
    row = by_row(table)[("Model 2",)]
    assert (row["datasets"], row["difference"], row["t p"]) == ("3", "+0.0203", "0.072")
    assert (row["t Holm"], row["verdict"]) == ("0.144", "not distinguishable")
    assert (row["95 % interval from"], row["95 % interval to"]) == ("−0.0045", "+0.0452")
    pooled = summarize_study(study).pooled
    assert [(one.dataset, one.method) for one in pooled] == [("Mean over datasets", f"Model {m}") for m in (2, 3)]
    assert forest_figure(summarize_study(study)) is not None
