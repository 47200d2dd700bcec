"""Summary of a study in words: for every dataset, which methods are better, worse or not distinguishable."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from segmi.statistics import (
    LEVEL,
    PRIMARY,
    Comparison,
    NewImages,
    StudyRuns,
    compare,
    compare_on_new_images,
    pool_datasets,
    reported_score,
)


@dataclass(frozen=True)
class Statement:
    """Conclusion about one method on one dataset."""

    dataset: str  # title of the dataset
    method: str  # label of the method
    baseline: str  # label of the baseline
    verdict: str  # ``better``, ``worse``, ``not distinguishable``, or the reason for a missing test
    details: str  # the numbers
    difference: float | None  # difference in mIoU; None without a common seed
    interval: tuple[float, float] | None  # interval over retraining; None if not available
    seeds: int  # number of common seeds
    new_images: NewImages | None  # the comparison on new images with the networks fixed; None if not available

    @property
    def kind(self) -> str:
        """``better``, ``worse``, ``same`` or ``none``: selects the marker."""
        kinds = {"better": "better", "worse": "worse", "not distinguishable": "same"}
        return kinds.get(self.verdict, "none")


@dataclass(frozen=True)
class Summary:
    """Top section of a report."""

    headline: str  # one sentence
    preliminary: str  # note about missing runs; empty when all runs are finished
    statements: Sequence[Statement]  # conclusions by dataset, in the order of the plan
    pooled: Sequence[Statement] = ()  # mean differences over datasets

    def by_dataset(self) -> Iterator[tuple[str, list[Statement]]]:
        """Yield the title of every dataset with its statements, then the statements over all datasets."""
        every = [*self.statements, *self.pooled]
        for title in dict.fromkeys(one.dataset for one in every):
            yield title, [one for one in every if one.dataset == title]


def summarize_study(study: StudyRuns) -> Summary:
    """Return the summary of the finished runs of a study; without statements if nothing can be compared."""
    new = {(one.pairing.dataset, one.pairing.method): one for one in compare_on_new_images(study)}
    comparisons = compare(study)
    family = sum(one.p_holm is not None for one in comparisons)
    statements = [_statement(study, c, new.get((c.pairing.dataset, c.pairing.method)), family) for c in comparisons]
    missing = len(study.runs) - study.finished
    preliminary = f"Preliminary: {study.finished} of {len(study.runs)} runs are finished." if missing else ""
    return Summary(_headline(study, statements), preliminary, statements if study.results else (), _pooled(study))


def signed(value: float, digits: int = 3) -> str:
    """Format a difference with its sign.

    >>> signed(0.0123), signed(-0.5, 2), signed(-0.0001)
    ('+0.012', '−0.50', '0.000')
    """
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\u2212")


def interval_text(interval: tuple[float, float]) -> str:
    """Format an interval.

    >>> interval_text((-0.01, 0.02))
    '−0.010 to +0.020'
    """
    return f"{signed(interval[0])} to {signed(interval[1])}"


def _statement(study: StudyRuns, one: Comparison, new: NewImages | None, family: int) -> Statement:
    pair, difference, methods = one.pairing, one.difference, study.plan.methods
    mean = difference.mean if difference.n else None
    labels = (study.title(pair.dataset), methods[pair.method], methods[pair.baseline])
    return Statement(*labels, one.verdict, _details(one, family), mean, difference.interval, difference.n, new)


def _pooled(study: StudyRuns) -> list[Statement]:
    statements = []
    for one in pool_datasets(study):
        mean, interval = one.pooled.mean, one.pooled.interval
        details = f"{signed(mean)} {PRIMARY} on average over {one.pooled.n} datasets"
        if interval:
            details += f", {100 * (1 - LEVEL):g} % interval {interval_text(interval)}"
        label = study.plan.methods.get(one.treatment, one.treatment)
        statements.append(Statement("Mean over datasets", label, "", one.verdict, details, mean, interval, 0, None))
    return statements


def _details(one: Comparison, family: int) -> str:
    difference = one.difference
    if not difference.n:
        return "no seed is finished in both methods"
    text = f"{signed(difference.mean)} {PRIMARY}"
    if difference.interval is None:
        return f"{text}, {'one seed' if difference.n == 1 else f'{difference.n} seeds with equal differences'}"
    text += f", {100 * (1 - LEVEL):g} % interval {interval_text(difference.interval)}, {difference.n} seeds"
    if one.verdict != "not distinguishable":
        return text
    if (difference.interval[0] > 0 or difference.interval[1] < 0) and one.p_holm is not None:
        return f"{text}; the unadjusted interval excludes 0, but among {family} comparisons p = {one.p_holm:.2f} (Holm)"
    if one.detectable is not None and one.detectable <= 1:
        text += f"; a true difference below {one.detectable:.3f} would often be missed"
    return text


def _headline(study: StudyRuns, statements: Sequence[Statement]) -> str:
    if not study.results:
        return "No run is finished yet."
    if not statements:
        return _headline_without_comparison(study)
    baselines = list(dict.fromkeys(one.baseline for one in statements))
    other = baselines[0] if len(baselines) == 1 else "its baseline"
    if all(one.kind == "none" for one in statements):
        reason = "One seed" if any(one.seeds == 1 for one in statements) else "Too few finished seeds"
        if all(one.verdict == "no test: no spread" for one in statements):
            reason = "The differences of all seeds are equal"
        return f"{reason}: no statistical comparison with {other} is possible. Add seeds."
    parts = [text for kind in ("better", "worse") if (text := _count(kind, other, statements))]
    if not parts:
        number = f"{len(statements)} comparisons" if len(statements) > 1 else "one comparison"
        return f"No method is distinguishable from {other} ({number})."
    parts += ["No other difference is distinguishable."] if any(one.kind == "same" for one in statements) else []
    return " ".join(parts)


def _headline_without_comparison(study: StudyRuns) -> str:
    texts = []
    for dataset in study.plan.datasets:
        scores = [reported_score(result, PRIMARY) for result in study.results_of(dataset)]
        if known := [float(score) for score in scores if score is not None]:
            texts.append(f"{statistics.fmean(known):.3f} on {study.title(dataset)}")
    reached = f"reaches {PRIMARY} {', '.join(texts)}" if texts else "has no score"
    return f"One method, no comparison: {next(iter(study.plan.methods.values()), 'it')} {reached}."


def _count(kind: str, other: str, statements: Sequence[Statement]) -> str:
    selected = [one for one in statements if one.kind == kind]
    datasets = len({one.dataset for one in statements})
    if not selected:
        return ""
    if len(selected) > 4:
        return f"{len(selected)} of {len(statements)} comparisons: {kind} than {other}."
    texts = []
    for method in dict.fromkeys(one.method for one in selected):
        where = [one.dataset for one in selected if one.method == method]
        on = f" on {' and '.join(where) if len(where) < datasets else 'all datasets'}"
        texts.append(method + (on if datasets > 1 else ""))
    return f"{kind.capitalize()} than {other}: {', '.join(texts)}."
