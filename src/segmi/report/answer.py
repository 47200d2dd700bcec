"""What a study found, in words: for every dataset which methods are better, worse or not distinguishable."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from segmi.report.table1 import title_of
from segmi.statistics import LEVEL, PRIMARY, NewImages, StudyRuns, compare, compare_on_new_images
from segmi.statistics.differences import Comparison
from segmi.statistics.pairing import reported_score

MINUS = "\u2212"


@dataclass(frozen=True)
class Statement:
    """One method on one dataset.

    Args:
        dataset: the dataset's title.
        method: the method's label.
        baseline: the label of what it is compared with.
        verdict: ``better``, ``worse``, ``not distinguishable``, or why nothing can be said.
        details: the numbers behind it.
        difference: in mIoU, None without a common seed.
        interval: over retraining, None where it cannot be had.
        seeds: how many seeds are compared.
        new_images: the same question on new images, the networks fixed; None where it was not asked.
    """

    dataset: str
    method: str
    baseline: str
    verdict: str
    details: str
    difference: float | None
    interval: tuple[float, float] | None
    seeds: int
    new_images: NewImages | None

    @property
    def kind(self) -> str:
        """``better``, ``worse``, ``same`` or ``none``: what a mark for it looks like."""
        if self.verdict in ("better", "worse"):
            return self.verdict
        return "same" if self.verdict == "not distinguishable" else "none"


@dataclass(frozen=True)
class Answer:
    """The top of a report.

    Args:
        headline: one sentence.
        preliminary: what is still missing; empty when all runs are finished.
        statements: dataset by dataset, in the plan's order.
    """

    headline: str
    preliminary: str
    statements: Sequence[Statement]

    def by_dataset(self) -> Iterator[tuple[str, list[Statement]]]:
        """The statements under the title of their dataset."""
        for title in dict.fromkeys(one.dataset for one in self.statements):
            yield title, [one for one in self.statements if one.dataset == title]


def answer(study: StudyRuns) -> Answer:
    """The answer of a study as far as its runs are finished; without statements where nothing can be compared."""
    new = {(one.pairing.dataset, one.pairing.method): one for one in compare_on_new_images(study)}
    compared = compare(study)
    family = sum(one.p_holm is not None for one in compared)
    statements = [
        _statement(study, one, new.get((one.pairing.dataset, one.pairing.method)), family) for one in compared
    ]
    left = len(study.runs) - study.finished
    preliminary = f"{study.finished} of {len(study.runs)} runs are finished; this may still change." if left else ""
    return Answer(_headline(study, statements), preliminary, statements if study.results else ())


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign.

    >>> signed(0.0123), signed(-0.5, 2), signed(-0.0001)
    ('+0.012', '−0.50', '0.000')
    """
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def interval_text(interval: tuple[float, float]) -> str:
    """An interval in words.

    >>> interval_text((-0.01, 0.02))
    '−0.010 to +0.020'
    """
    return f"{signed(interval[0])} to {signed(interval[1])}"


def _statement(study: StudyRuns, one: Comparison, new: NewImages | None, family: int) -> Statement:
    pair, found = one.pairing, one.difference
    return Statement(
        dataset=title_of(study, pair.dataset),
        method=study.plan.methods[pair.method],
        baseline=study.plan.methods[pair.baseline],
        verdict=one.verdict,
        details=_details(one, family),
        difference=found.mean if found.n else None,
        interval=found.interval,
        seeds=found.n,
        new_images=new,
    )


def _details(one: Comparison, family: int) -> str:
    found = one.difference
    if not found.n:
        return "no seed has finished in both"
    text = f"{signed(found.mean)} {PRIMARY}"
    if found.interval is None:
        return f"{text}, {'one seed' if found.n == 1 else f'{found.n} seeds that do not differ'}"
    text += f", {100 * (1 - LEVEL):g} % interval {interval_text(found.interval)}, {found.n} seeds"
    alone = found.interval[0] > 0 or found.interval[1] < 0
    if one.verdict == "not distinguishable" and alone and one.p_holm is not None:
        return f"{text}; by itself the interval leaves out 0, among {family} comparisons p is {one.p_holm:.2f} (Holm)"
    if one.verdict == "not distinguishable" and one.detectable is not None and one.detectable <= 1:
        text += f"; a true difference below {one.detectable:.3f} would easily be missed"
    return text


def _headline(study: StudyRuns, statements: Sequence[Statement]) -> str:
    if not study.results:
        return "No run has finished yet."
    if not statements:
        return f"One method, nothing to compare it with: {_reached(study)}."
    baselines = list(dict.fromkeys(one.baseline for one in statements))
    other = baselines[0] if len(baselines) == 1 else "what it is compared with"
    if all(one.kind == "none" for one in statements):
        spread = all(one.verdict == "no test: no spread" for one in statements)
        why = "one seed each" if any(one.seeds == 1 for one in statements) else "too few finished seeds"
        why = "seeds that do not differ" if spread else why
        return f"With {why}, nothing can be said about the differences to {other}: add seeds."
    told = [_counted(kind, statements) for kind in ("better", "worse")]
    told = [text for text in told if text]
    if not told:
        counted = f"in {len(statements)} comparisons" if len(statements) > 1 else "in one comparison"
        return f"No method could be told apart from {other}, {counted}."
    rest = " Nothing else could be told apart." if any(one.kind == "same" for one in statements) else ""
    return f"Compared with {other}: {'; '.join(told)}.{rest}"


def _reached(study: StudyRuns) -> str:
    """What the only method reaches on the datasets that it has finished."""
    scores = {
        title_of(study, dataset): [float(s) for r in found if (s := reported_score(r, PRIMARY)) is not None]
        for dataset in study.plan.datasets
        if (found := study.results_of(dataset))
    }
    places = [f"{statistics.fmean(values):.3f} on {title}" for title, values in scores.items() if values]
    label = next(iter(study.plan.methods.values()), "it")
    return f"{label} reaches {PRIMARY} {', '.join(places)}" if places else f"{label} has no score"


def _counted(kind: str, statements: Sequence[Statement]) -> str:
    found = [one for one in statements if one.kind == kind]
    total = len({one.dataset for one in statements})
    if not found:
        return ""
    if len(found) > 4:
        return f"{len(found)} of {len(statements)} comparisons are {kind}"
    places: dict[str, list[str]] = {}
    for one in found:
        places.setdefault(one.method, []).append(one.dataset)
    shown = [
        method if total == 1 else f"{method} on {' and '.join(where) if len(where) < total else 'all datasets'}"
        for method, where in places.items()
    ]
    return f"{kind}: {', '.join(shown)}"
