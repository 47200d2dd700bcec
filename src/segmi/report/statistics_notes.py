"""Notes below the table of differences to the baseline."""

from __future__ import annotations

from collections.abc import Sequence

from segmi.statistics import LEVEL, Comparison, least_p
from segmi.statistics.paired_tests import MARGIN, POWER


def notes_on_differences(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the notes below the table of differences: unit, tests, and seeds that are left out."""
    tests = sum(one.p_holm is not None for one in comparisons)
    seeds = sorted({one.difference.n for one in comparisons})
    notes = [
        "The unit is the seed: the run of a method is compared with the run of the baseline with the same seed, on the "
        "same images. New images are a separate question."
    ]
    if any(n < 2 for n in seeds):
        notes.append(
            "One seed gives no p value: a single difference has no spread, so the effect of the method cannot be "
            "separated from the effect of the seed. Add seeds and run the study again; finished runs are kept."
        )
    if tests:
        notes += _test_notes(tests, [n for n in seeds if n > 1])
    left_out = [
        f"{pair.dataset}/{pair.method} without " + ", ".join(f"seed {seed} ({why})" for seed, why in missing.items())
        for pair in (one.pairing for one in comparisons)
        if (missing := pair.left_out)
    ]
    only = f"Only seeds that finished in both methods are compared: {'; '.join(left_out)}."
    return [*notes, only] if left_out else notes


def _test_notes(tests: int, seeds: Sequence[int]) -> list[str]:
    family = f"adjusted over the {tests} comparisons of this table" if tests > 1 else "one comparison, not adjusted"
    blunt = [n for n in seeds if least_p(n) >= LEVEL]
    too_few = f" With {blunt[-1]} seeds it is above {LEVEL:g}, so the test is not conclusive." if blunt else ""
    return [
        f"paired t: two-sided test of the differences of the seeds. Holm: p value {family}. Better and worse require "
        f"Holm's p below {LEVEL:g}; not distinguishable does not mean equal.",
        f"sign flip: exact test without assumption of a normal distribution. least: its smallest possible p.{too_few}",
        "P(improvement): probability that the method scores higher than the baseline for another seed, with its "
        f"{100 * (1 - LEVEL):g} % interval, for normal differences.",
        "effect: mean difference in standard deviations of the differences of the seeds (Cohen's d_z with Hedges' "
        "correction), from three seeds on.",
        f"detectable: the smallest true difference that a repetition with as many new seeds finds with probability "
        f"{POWER:g} at the level {LEVEL:g}/{tests} (Holm's first step), including the uncertainty of the standard "
        "deviation.",
        f"equivalent: p value of two one-sided tests of a difference within ± {MARGIN:g}, not adjusted. Only a small "
        "value supports that the methods are equally good.",
    ]
