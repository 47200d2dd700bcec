"""Tables and the forest plot of docs/answer.md."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from answer_records import Answer, Tested

from segmi.report.drawing import style, svg_text
from segmi.report.forest_figure import forest_figure
from segmi.report.statistics_tables import p_cell, verdict_cell
from segmi.report.summary import Statement, Summary
from segmi.report.table import Cell, Row, Table
from segmi.statistics import LEVEL, PRIMARY, StudyRuns

MEAN = "mean over datasets"
INTERVAL = f"{100 * (1 - LEVEL):g} % interval"


class Reading(NamedTuple):
    """A rival explanation on one dataset."""

    question: str
    rival: str
    removed: str  # the property that the rival lacks
    gain: Tested  # the primary method against the rival's baseline
    to_primary: Tested  # the primary method against the rival
    to_baseline: Tested  # the rival against its baseline

    @property
    def text(self) -> str:
        """Whether the gain needs the property that the rival lacks, by the rule of the protocol."""
        if not all(one.settled for one in (self.gain, self.to_primary, self.to_baseline)):
            return "preliminary"
        if not self.gain.conclusion.startswith("better"):
            return "no gain to explain"
        equal = (self.to_primary.difference.p_equivalent or 1.0) < LEVEL
        if self.to_baseline.conclusion.startswith("better") or equal:
            return "not needed"
        return "needed" if self.to_primary.conclusion.startswith("better") else "not decided"


def points(value: float | None, *, sign: bool = True) -> Cell:
    """Return a fraction in points, hundredths of the mIoU."""
    missing = value is None or not math.isfinite(value)
    return Cell() if missing else Cell(value=100 * value, digits=2, signed=sign)


def interval(low: float | None, high: float | None) -> Cell:
    """Return an interval of fractions as text, in points."""
    ends = (points(low).shown, points(high).shown)
    return Cell(f"{ends[0]} to {ends[1]}", is_text=True) if all(ends) else Cell()


def title(runs: StudyRuns, dataset: str) -> str:
    """Return the name of a dataset in tables."""
    return runs.title(dataset) if dataset else MEAN


def cells(one: Tested) -> tuple[Cell, ...]:
    """Return the numbers of a comparison: difference, interval, tests, detectable difference and conclusion."""
    difference = one.difference
    done = f"{one.done} of {one.planned}" + (f", {one.diverged} diverged" if one.diverged else "")
    improvement = f"{difference.improvement:.2f}" if difference.improvement is not None else Cell().text
    if difference.improvement_interval:
        improvement += " ({:.2f} to {:.2f})".format(*difference.improvement_interval)
    return (
        Cell(done, is_text=True), points(difference.mean), interval(*(difference.interval or (None, None))),
        p_cell(one.p_holm), Cell(improvement, is_text=True), p_cell(difference.p_equivalent),
        points(one.detectable, sign=False), verdict_cell(one.conclusion),
    )  # fmt: skip


COLUMNS = (
    "pairs", "difference", INTERVAL, "Holm's p", "P(improvement)", "equivalent, p", "detectable", "conclusion",
)  # fmt: skip


def primary_table(runs: StudyRuns, tests: Sequence[Tested], family: str) -> Table:
    """Return the numbers of a family of comparisons, named ``family`` in the notes."""
    means = not any(one.dataset for one in tests)
    rows = [Row((versus(runs, one), *(() if means else (title(runs, one.dataset),))), cells(one)) for one in tests]
    known = [f"{one.key} {100 * one.tau:.2f}" for one in tests if one.tau is not None]
    tau = f"Standard deviation of the true differences between datasets (tau), in points: {', '.join(known)}."
    notes = (
        "In points of mIoU (hundredths). pairs: pairs of runs with equal seeds, or datasets with all pairs, that are "
        "finished, of those planned. Rows with missing runs are preliminary and have no conclusion.",
        f"Holm's p: t test, adjusted over {family}. Missing comparisons count with p = 1. "
        f"P(improvement), with {INTERVAL}: for another seed; in a mean, for the expected difference on another "
        "dataset.",
        "equivalent, p: two one-sided tests of a difference within ± 1 point, not adjusted. detectable: smallest true "
        "difference that a repetition finds with 80 % probability after adjustment.",
        *([tau] if known else []),
    )
    heading = f"Differences in {PRIMARY}" + (f", {MEAN}." if means else ".")
    labels = ("comparison",) if means else ("comparison", "dataset")
    return Table(heading, labels, (("", COLUMNS),), rows, notes)


def matrix(runs: StudyRuns, tests: Sequence[Tested]) -> Table:
    """Return the difference and the conclusion of every comparison on every dataset."""
    rows = []
    for key in dict.fromkeys(one.key for one in tests):
        own = [one for one in tests if one.key == key]
        texts = [_short(one.difference.mean, one.conclusion, one.done, one.planned) for one in own]
        bold = [one.conclusion.startswith(("better", "worse")) for one in own]
        shown = (Cell(text, is_text=True, bold=strong) for text, strong in zip(texts, bold, strict=True))
        rows.append(Row((versus(runs, own[0]),), tuple(shown)))
    names = tuple(title(runs, dataset) for dataset in runs.plan.datasets)
    return Table("Differences in points and conclusions by dataset.", ("comparison",), (("", names),), rows)


def ladder_matrix(answer: Answer, entries: Sequence[Reading]) -> Table:
    """Return the rivals of all questions: the property that each lacks, and whether the gain needs it."""
    runs, rows = answer.rivals, []
    for key, rival in dict.fromkeys((one.question, one.rival) for one in entries):
        own = [one for one in entries if (one.question, one.rival) == (key, rival)]
        texts = [_short(o.to_primary.difference.mean, o.text, o.to_primary.done, o.to_primary.planned) for o in own]
        shown = (Cell(t, is_text=True, bold=o.text.endswith("needed")) for t, o in zip(texts, own, strict=True))
        rows.append(Row((key, runs.plan.methods[rival], own[0].removed), tuple(shown)))
    names = tuple(title(runs, dataset) for dataset in runs.plan.datasets)
    heading = "Difference of the primary method to each rival in points, and whether the gain needs the property."
    return Table(heading, ("question", "rival", "taken away"), (("", names),), rows)


def _short(mean: float, text: str, done: int, planned: int) -> str:
    number = points(mean).shown
    partial = f" ({done} of {planned})" if done < planned else ""
    return f"{number} {text}{partial}" if number else text


def versus(runs: StudyRuns, one: Tested) -> str:
    """Return a comparison in words."""
    return f"{runs.plan.methods[one.method]} − {runs.plan.methods[one.baseline]}"


def forest(answer: Answer) -> str:
    """Return the forest plot of the primary comparisons as SVG on white; empty without a finished pair."""
    runs, kinds = answer.primary, ("better", "worse", "not d", "no difference")
    statements: dict[bool, list[Statement]] = {False: [], True: []}
    for one in (*answer.primary_tests, *answer.means):
        mean = one.difference.mean if math.isfinite(one.difference.mean) else None
        partial = "" if one.settled else f" ({one.done} of {one.planned})"
        verdict = next((kind for kind in kinds if one.conclusion.startswith(kind)), "")
        verdict = "not distinguishable" if verdict in kinds[2:] else verdict
        label = (title(runs, one.dataset) if one.dataset else MEAN.capitalize()) + partial
        interval = one.difference.interval
        statement = Statement(label, versus(runs, one), "", verdict, "", mean, interval, one.done, None)
        statements[not one.dataset].append(statement)
    with style():
        figure = forest_figure(Summary("", "", statements[False], statements[True]))
        text = svg_text(figure) if figure else ""
    return re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', text, count=1)


def readings(answer: Answer) -> list[Reading]:
    """Return every rival explanation on every dataset of its study."""
    runs, result = answer.rivals, []
    for key, question in answer.registry["questions"].items():
        for dataset in runs.plan.datasets:
            method = question["method"]
            rivals = {name: removed for name, removed in question["rivals"].items() if name in runs.plan.methods}
            others = {rival: runs.plan.compared_with(rival) or "" for rival in rivals}
            cases = [(key, dataset, method, rival) for rival in rivals]
            cases += [(key, dataset, rival, others[rival]) for rival in rivals]
            tests = answer.family(runs, cases)
            for index, (rival, removed) in enumerate(rivals.items()):
                gain = next(
                    one for one in answer.primary_tests
                    if (one.dataset, one.method, one.baseline) == (dataset, method, others[rival])
                )  # fmt: skip
                result.append(Reading(key, rival, removed, gain, tests[index], tests[index + len(rivals)]))
    return result


def ladder(answer: Answer, key: str, entries: Sequence[Reading]) -> Table:
    """Return the rivals of one question: what each lacks, and whether the gain needs it."""
    runs, rows = answer.rivals, []
    for one in (one for one in entries if one.question == key):
        own, base = one.to_primary, one.to_baseline
        numbers = []
        for test in (own, base):
            limits = interval(*(test.difference.interval or (None, None)))
            numbers += [points(test.difference.mean), limits, p_cell(test.p_holm)]
        labels = (title(runs, own.dataset), runs.plan.methods[one.rival], one.removed)
        done = min(own.done, base.done)
        cells = (Cell(f"{done} of {own.planned}", is_text=True), *numbers, p_cell(own.difference.p_equivalent))
        rows.append(Row(labels, (*cells, Cell(one.text, is_text=True, bold=one.text.endswith("needed")))))
    method = runs.plan.methods[answer.registry["questions"][key]["method"]]
    columns = ("difference", INTERVAL, "Holm's p")
    groups = (("", ("seeds",)), (f"{method} − rival:", columns), ("rival − its baseline:", columns),
              ("", ("equivalent, p", "the gain needs it")))  # fmt: skip
    heading = f"{key}: {answer.registry['questions'][key]['text']}"
    return Table(heading, ("dataset", "rival", "taken away"), groups, rows)


def plain_table(answer: Answer, key: str) -> Table:
    """Return the plain comparisons of one further question."""
    runs, question = answer.rivals, answer.registry["plain"][key]
    rows = []
    for dataset in runs.plan.datasets:
        pairs = [pair for pair in question["pairs"] if set(pair) <= set(runs.plan.methods)]
        for one in answer.family(runs, [(key, dataset, *pair) for pair in pairs]):
            rows.append(Row((versus(runs, one), title(runs, dataset)), cells(one)))
    return Table(f"{key}: {question['text']}", ("comparison", "dataset"), (("", COLUMNS),), rows)


def claims_table(answer: Answer, published: Any) -> Table:
    """Return every claim of the paper with its published difference and the comparisons that check it."""
    rows = []
    for claim in answer.registry["claims"]:
        cases = [
            one for one in (*answer.primary_tests, *answer.repeated_tests)
            if one.key == claim["comparison"] and one.dataset in claim["datasets"]
        ]  # fmt: skip
        numbers = [published[d][claim["model"]][PRIMARY] - published[d]["model-1"][PRIMARY] for d in claim["published"]]
        shown = ", ".join(str(points(number).shown) for number in numbers)
        rows.append(Row((claim["text"], shown), (Cell(claim_text(cases, claim["expected"]), is_text=True),)))
    notes = (
        "published: differences of single runs with other learning rates, batch sizes and numbers of steps. here: "
        "equal settings, and region mutual information with the pooling of its authors. A claim is contradicted by the "
        "opposite conclusion or by equivalence.",
    )
    return Table("Claims of Table 1 of the paper.", ("claim", "published, points"), (("", ("here",)),), rows, notes)


def claim_text(cases: Sequence[Tested], expected: str) -> str:
    """Return whether a claim held, from the comparisons of the same methods on similar data."""
    opposite = {"better": "worse", "worse": "better"}[expected]
    conclusions = [one.conclusion for one in cases]
    held = sum(one.startswith(expected) for one in conclusions)
    against = sum(one.startswith((opposite, "no difference larger")) for one in conclusions)
    open_ = sum(one in ("preliminary", "no runs yet") for one in conclusions)
    numbers = f"held in {held}, contradicted in {against}, not decided in {len(cases) - held - against - open_} of "
    numbers += f"{len(cases)} cases (datasets and networks)" + (f"; {open_} have missing runs" if open_ else "")
    if open_:
        return f"preliminary: {numbers}"
    word = "held" if held and not against else "did not hold" if against and not held else "mixed"
    return f"{word if held or against else 'not decided'}: {numbers}"
