"""Sentences of docs/answer.md, written from the numbers by rules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from answer_records import Answer, Tested
from answer_tables import INTERVAL, Reading, title, versus

from segmi.report.summary import signed
from segmi.statistics import StudyRuns

PHRASES = {
    "better": "improves on",
    "better, by less than 1 point": "improves, by less than one point, on",
    "worse": "is worse than",
    "worse, by less than 1 point": "is worse, by less than one point, than",
    "no difference larger than 1 point": "differs by less than one point from",
    "not decided": "is not distinguishable at this scale from",
}
MOST_NAMES = 4  # comparisons that a sentence names
COUNTS = {
    "better": "are better", "worse": "are worse", "no difference": "differ by less than one point",
    "not decided": "are not decided",
}  # fmt: skip


def sentences(answer: Answer, entries: Sequence[Reading]) -> list[str]:
    """Return the answer: the region term, mutual learning and single datasets, and the reason of a gain."""
    runs, parts = answer.primary, []
    for keys in answer.registry["sentences"]:
        shown = [one for one in answer.means if one.key in keys]
        texts = [
            f"{runs.plan.methods[method]} {_clauses(runs, [one for one in shown if one.method == method])}"
            for method in dict.fromkeys(one.method for one in shown)
        ]
        parts.append("; ".join(texts))
    first = f"On average over {len(runs.plan.datasets)} datasets, {parts[0]}."
    second = f"{'; '.join(parts[1:])}; of all {len(answer.primary_tests)} comparisons on single datasets, "
    return [first, f"{second}{counts(runs, answer.primary_tests)}.", explanation(answer, entries)]


def counts(runs: StudyRuns, tests: Sequence[Tested]) -> str:
    """Return the number of comparisons with each conclusion, and the names of a few that are better or worse."""
    open_ = sum(not one.settled for one in tests)
    named = {
        text: [f"{versus(runs, one)} on {title(runs, one.dataset)}" for one in tests if one.conclusion.startswith(kind)]
        for kind, text in list(COUNTS.items())[:2]
    }
    numbers = {
        text: sum(one.conclusion.startswith(kind) for one in tests if one.settled) for kind, text in COUNTS.items()
    }
    texts = [
        _counted(number, text) + (f" ({', '.join(named[text])})" if 0 < len(named.get(text, ())) <= MOST_NAMES else "")
        for text, number in numbers.items()
        if number or text in named
    ]
    rest = len(tests) - open_ - sum(numbers.values())
    texts += [_counted(rest, "have no test")] if rest else []
    texts += [_counted(open_, "have missing runs and no conclusion")] if open_ else []
    return _listed(texts)


def _counted(number: int, text: str) -> str:
    verb, _, rest = text.partition(" ")
    singular = {"are": "is", "differ": "differs", "have": "has"}
    return f"{number} {singular[verb] if number == 1 else verb} {rest}"


def explanation(answer: Answer, entries: Sequence[Reading]) -> str:
    """Return which properties the gains of the primary methods need."""
    numbers = Counter(one.text for one in entries)
    if numbers["preliminary"] == len(entries):
        return "There is no conclusion about the reason of a gain yet: runs of the rival explanations are missing."
    partial = f" ({numbers['preliminary']} of {len(entries)} have missing runs)" if numbers["preliminary"] else ""
    if not {"needed", "not needed", "not decided"} & numbers.keys():
        where = "In the comparisons with rival explanations that are finished" + partial
        return f"{where}, no primary method is better than its baseline, so there is no gain to explain."
    texts = []
    for kind, verb in (("not needed", "remains with"), ("needed", "is lost with"), ("not decided", "may remain with")):
        found: dict[str, list[str]] = {}
        for one in entries:
            if one.text == kind:
                found.setdefault(answer.rivals.plan.methods[one.rival], []).append(one.gain.dataset)
        names = [f"{_lower(name)} ({', '.join(datasets)})" for name, datasets in found.items()]
        texts += [f"{verb} {_listed(names)}"] if names else []
    return (
        f"Where a primary method is better than its baseline and has rivals, the gain {'; it '.join(texts)}{partial}."
    )


def recommendation(answer: Answer) -> str:
    """Return the loss that follows from the means over datasets."""
    against = [one for one in answer.means if one.baseline == answer.primary.plan.baseline]
    better = [one for one in against if one.settled and one.conclusion.startswith("better")]
    if not all(one.settled for one in against):
        return "No recommendation yet: it needs all primary comparisons."
    if not better:
        label = answer.primary.plan.methods[str(answer.primary.plan.baseline)]
        return f"{label}: no other method is better on average over the datasets."
    best = max(better, key=lambda one: one.difference.mean)
    return f"{answer.primary.plan.methods[best.method]}, the largest mean gain over {versus_baseline(answer, best)}."


def versus_baseline(answer: Answer, one: Tested) -> str:
    """Return the baseline and the difference of a mean over datasets."""
    return f"{_lower(answer.primary.plan.methods[one.baseline])} ({signed(100 * one.difference.mean, 2)} points)"


def limits(answer: Answer, entries: Sequence[Reading]) -> list[str]:
    """Return the conclusions that the numbers do not support."""
    items = []
    runs = answer.primary
    for one in answer.means:
        if one.settled and one.conclusion == "not decided" and one.detectable:
            items.append(
                f"{versus(runs, one)}, mean over datasets: neither a difference nor its absence. A repetition finds "
                f"only differences of {100 * one.detectable:.2f} points or more with 80 % probability."
            )
    undecided = [one for one in answer.primary_tests if one.settled and one.conclusion == "not decided"]
    if undecided:
        sizes = sorted(100 * one.detectable for one in undecided if one.detectable)
        items.append(
            f"{len(undecided)} of {len(answer.primary_tests)} primary comparisons on single datasets are not decided; "
            f"a repetition may miss true differences of up to {sizes[-1]:.2f} points."
        )
    open_ = [one for one in answer.primary_tests if not one.settled]
    if open_:
        names = list(dict.fromkeys(title(runs, one.dataset) for one in open_))
        items.append(
            f"{len(open_)} primary comparisons have missing runs ({_listed(names)}); they support nothing yet."
        )
    if any(one.text == "no gain to explain" for one in entries):
        items.append("Where a primary method has no gain, the rival explanations say nothing about mutual information.")
    items.append(
        "Images have at most 320 pixels, training is short, and networks are light: nothing here holds for Cityscapes "
        "and VOC at full size, for large networks, or for training until convergence."
    )
    items.append("All claims are about retraining on images of the same kind, on the same evaluated images.")
    return items


def _clauses(runs: StudyRuns, tests: Sequence[Tested]) -> str:
    open_ = [_lower(runs.plan.methods[one.baseline]) for one in tests if not one.settled]
    texts = [_clause(runs, one) for one in tests if one.settled]
    done = min((one.done for one in tests if not one.settled), default=0)
    planned = tests[0].planned
    texts += (
        [f"has no conclusion yet against {_listed(open_)} ({done} of {planned} datasets complete)"] if open_ else []
    )
    return _listed(texts)


def _clause(runs: StudyRuns, one: Tested) -> str:
    baseline = _lower(runs.plan.methods[one.baseline])
    low, high = one.difference.interval or (math.nan, math.nan)
    numbers = (
        f"{signed(100 * one.difference.mean, 2)} points, {INTERVAL} {signed(100 * low, 2)} to {signed(100 * high, 2)}"
    )
    return f"{PHRASES.get(one.conclusion, 'cannot be compared with')} {baseline} ({numbers})"


def _lower(label: str) -> str:
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:-1]) + (" and " if len(texts) > 1 else "") + texts[-1] if texts else ""
