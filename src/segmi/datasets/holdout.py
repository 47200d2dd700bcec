"""Parts of a training split in whole groups: held-out images, missing splits, and subsets that differ by seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence, Set

from segmi.datasets.reader import Sample
from segmi.errors import UsageError
from segmi.randomness import key

FEWEST_GROUPS = 5  # whole groups are held out if there are at least this many; with fewer, that would hold out too much


def hold_out(samples: Sequence[Sample], fraction: float, seed: int = 0) -> tuple[list[Sample], list[Sample]]:
    """Split ``samples`` into a training part and a held-out part, keeping dependent images together.

    With at least five groups (cities, clips, patients), whole groups are held out in an order keyed by ``seed``, until
    ``fraction`` is reached. With fewer, the end of every group is held out: the last frames of a clip, not frames
    between those used for training.

    Args:
        samples: the images of a training split.
        fraction: the share to hold out, at least one image.
        seed: chooses the groups.

    Raises:
        UsageError: nothing would be left to train on or to hold out.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"expected a held-out fraction between 0 and 1, got {fraction}", "use 0.1 for a tenth")
    if len(samples) < 2:
        raise UsageError(
            f"expected at least 2 images to hold out a part of, got {len(samples)}",
            "add images, or train and evaluate on the same ones: training.holdout=0 training.select_by=last "
            "training.weight_average=false evaluation.split=train",
        )
    groups: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        groups[sample.group].append(index)
    wanted = max(1, round(fraction * len(samples)))
    held = _whole_groups(groups, wanted, seed) if len(groups) >= FEWEST_GROUPS else _tails(groups, fraction)
    return (
        [sample for index, sample in enumerate(samples) if index not in held],
        [sample for index, sample in enumerate(samples) if index in held],
    )


def _whole_groups(groups: dict[str, list[int]], wanted: int, seed: int) -> set[int]:
    held: set[int] = set()
    order = sorted(groups, key=lambda group: key(seed, "holdout", group))
    for group in order[:-1]:  # one group always remains for training
        if len(held) >= wanted:
            break
        held.update(groups[group])
    return held


def _tails(groups: dict[str, list[int]], fraction: float) -> set[int]:
    held = {i for indices in groups.values() for i in indices[len(indices) - round(fraction * len(indices)) :]}
    return held or {max(groups.values(), key=len)[-1]}


def draw_subset(samples: Sequence[Sample], fraction: float, seed: int) -> list[Sample]:
    """Return ``fraction`` of the images, drawn by ``seed``, in their order.

    With at least five groups (clips, places, patients), whole groups are drawn; a group that crosses the fraction is
    drawn if at least half of it fits. With fewer groups, a contiguous part of each is drawn, as frames of one clip
    resemble their neighbors. Images without groups are drawn individually.

    Example:
        >>> from pathlib import Path
        >>> clip = [Sample(Path(), Path(), f"{n}", "clip") for n in range(10)]
        >>> [sample.name for sample in draw_subset(clip, 0.5, seed=1)]
        ['3', '4', '5', '6', '7']
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        groups[sample.group].append(index)
    kept: set[int] = set()
    if len(groups) >= FEWEST_GROUPS:
        wanted = fraction * len(samples)
        for group in sorted(groups, key=lambda group: key(seed, "subset", group)):
            if not kept or len(kept) + len(groups[group]) / 2 <= wanted:
                kept.update(groups[group])
    else:
        for group, indices in groups.items():
            count = max(1, round(fraction * len(indices)))
            start = key(seed, "subset", group) % (len(indices) - count + 1)
            kept.update(indices[start : start + count])
    return [sample for index, sample in enumerate(samples) if index in kept]


def draw_splits(groups: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, set[str]]:
    """Return the groups of each split that is drawn from train: at least one group per split, and never all.

    ``groups`` has the group of each image. The group that crosses a split's share is drawn if at least half of it fits;
    a group of more than twice the share is drawn only if the others have less than half of it.
    """
    drawn: dict[str, set[str]] = {}
    rest = groups
    for name, share in shares.items():  # each split is drawn from the groups that the former ones leave
        sizes = Counter(rest)
        wanted = share * len(groups) / max(len(rest), 1) * len(rest)
        drawn[name], held = set(), 0
        order = sorted(sizes, key=lambda group: key(seed, "folder val", group))
        for group in sorted(order, key=lambda group: sizes[group] > 2 * wanted)[:-1]:  # the largest groups last
            if 2 * held >= wanted and held + sizes[group] / 2 > wanted:
                break
            drawn[name].add(group)
            held += sizes[group]
        rest = [group for group in rest if group not in drawn[name]]
    return drawn


def seed_with_all_classes(
    groups: Sequence[str], classes: Sequence[Set[Hashable]], shares: Mapping[str, float], tries: int = 100
) -> int | None:
    """Return the first seed whose draw gives train and every drawn split all classes; None if none of them does.

    ``groups`` and ``classes`` have the group and the classes of each image.
    """
    everything = set().union(*classes)
    for seed in range(tries):
        drawn = draw_splits(groups, shares, seed)
        elsewhere = set().union(*drawn.values())
        parts = [set(groups) - elsewhere, *drawn.values()]
        found = [set().union(*(c for g, c in zip(groups, classes, strict=True) if g in part)) for part in parts]
        if all(one == everything for one in found):
            return seed
    return None


def draw_tails(groups: Mapping[str, str], shares: Mapping[str, float]) -> dict[str, set[str]]:
    """Return the images of each split that is drawn from train: the end of every group, the last split last.

    ``groups`` has the group of each image, in the order of the images. Short groups lose no image; the longest one
    loses at least one to every split.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for name, group in groups.items():
        members[group].append(name)
    sizes = {group: len(names) for group, names in members.items()}
    drawn: dict[str, set[str]] = {name: set() for name in shares}
    for split in list(shares)[::-1]:
        longest = max(members, key=lambda group: len(members[group]), default=None)
        for group, names in members.items():
            count = max(round(shares[split] * sizes[group]), group == longest)
            if 0 < count < len(names):
                drawn[split].update(names[-count:])
                del names[-count:]
    return drawn
